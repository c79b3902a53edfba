//! One entry of a leaf: a value, or a content filter.

use std::net::IpAddr;

use serde_json::Value;

use crate::wildcard;

/// What a value is held against.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Filter {
    /// The value itself: text, number, boolean or null. A number and the same number as text are different.
    Equals(Value),
    Text(TextFilter),
    /// Any value of the kinds that can be listed, but those.
    AnythingBut(Vec<Value>),
    /// Any text that none of these matches.
    AnythingButText(Vec<TextFilter>),
    Numeric(Range),
    Cidr(Cidr),
    /// Whether there is a value at all.
    Exists(bool),
}

/// What a text is held against.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TextFilter {
    Prefix(String),
    Suffix(String),
    /// In lower case.
    PrefixIgnoringCase(String),
    SuffixIgnoringCase(String),
    EqualsIgnoringCase(String),
    /// What stands between the asterisks.
    Wildcard(Vec<String>),
}

/// A range of numbers; `None` is no bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    pub(super) low: Option<Bound>,
    pub(super) high: Option<Bound>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bound {
    pub(super) value: f64,
    pub(super) inclusive: bool,
}

/// A block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cidr {
    pub(super) address: IpAddr,
    pub(super) bits: u32,
}

impl Filter {
    pub(super) fn matches(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (Self::Exists(wanted), value) => *wanted == value.is_some_and(is_leaf),
            (_, None) => false,
            (_, Some(Value::Array(items))) => items.iter().any(|item| self.matches(Some(item))),
            (_, Some(value)) => self.matches_one(value),
        }
    }

    fn matches_one(&self, value: &Value) -> bool {
        match self {
            Self::Equals(wanted) => wanted == value,
            Self::AnythingBut(listed) => !value.is_object() && !listed.contains(value),
            Self::Text(filter) => value.as_str().is_some_and(|text| filter.matches(text)),
            Self::AnythingButText(filters) => {
                value.as_str().is_some_and(|text| !filters.iter().any(|filter| filter.matches(text)))
            }
            Self::Numeric(range) => value.as_f64().is_some_and(|number| range.contains(number)),
            Self::Cidr(block) => {
                value.as_str().and_then(|text| text.parse().ok()).is_some_and(|address| block.contains(address))
            }
            Self::Exists(_) => false,
        }
    }
}

/// Only leaves exist: an object is there by its members, a list by its elements.
fn is_leaf(value: &Value) -> bool {
    match value {
        Value::Object(_) => false,
        Value::Array(items) => items.iter().any(is_leaf),
        _ => true,
    }
}

impl TextFilter {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => text.ends_with(suffix.as_str()),
            Self::PrefixIgnoringCase(prefix) => text.to_lowercase().starts_with(prefix.as_str()),
            Self::SuffixIgnoringCase(suffix) => text.to_lowercase().ends_with(suffix.as_str()),
            Self::EqualsIgnoringCase(wanted) => text.to_lowercase() == *wanted,
            Self::Wildcard(pieces) => wildcard::pieces_match(pieces.iter().map(String::as_str), text),
        }
    }
}

impl Range {
    fn contains(self, number: f64) -> bool {
        let above = |bound: Bound| number > bound.value || (bound.inclusive && number >= bound.value);
        let below = |bound: Bound| number < bound.value || (bound.inclusive && number <= bound.value);
        self.low.is_none_or(above) && self.high.is_none_or(below)
    }
}

impl Cidr {
    fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(block), IpAddr::V4(address)) => {
                let shift = 32 - self.bits.min(32);
                let cut = |bits: u32| bits.checked_shr(shift).unwrap_or(0);
                cut(block.to_bits()) == cut(address.to_bits())
            }
            (IpAddr::V6(block), IpAddr::V6(address)) => {
                let shift = 128 - self.bits.min(128);
                let cut = |bits: u128| bits.checked_shr(shift).unwrap_or(0);
                cut(block.to_bits()) == cut(address.to_bits())
            }
            _ => false,
        }
    }
}
