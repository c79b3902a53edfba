//! The values that a policy compares with.

use std::net::IpAddr;

use super::operator::Comparison;
use crate::policy::{
    error::Problem,
    evaluate::Asked,
    template::{Syntax, Template, end_of_variable},
};
use crate::{iso8601, time::Timestamp};

/// One value of a condition, read as its operator needs it.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::policy) enum Value {
    Text(Template),
    Number(f64),
    Date(Timestamp),
    /// Base64 without its padding.
    Binary(String),
    Network {
        address: IpAddr,
        prefix: u32,
    },
    /// The six parts of an ARN.
    Arn(Box<[Template; 6]>),
    /// Something that is no ARN, and therefore like none.
    NoArn,
    /// `Null`: the key has no value.
    Absent(bool),
}

impl Value {
    /// A value that its operator cannot read is refused: it would never fit, and nobody means that.
    pub(super) fn parse(comparison: Comparison, text: &str, variables: bool) -> Result<Self, Problem> {
        let template = |wildcards| Template::parse(text, Syntax { variables, wildcards }).map(Self::Text);
        let (value, expected) = match comparison {
            Comparison::Text | Comparison::TextIgnoreCase => return template(false),
            Comparison::Pattern => return template(true),
            Comparison::Arn => return arn(text, variables),
            Comparison::Bool => {
                let value = template(false)?;
                let open = matches!(&value, Self::Text(template) if template.is_open());
                ((open || flag(text).is_some()).then_some(value), "Bool")
            }
            Comparison::Number(_) => (number(text).map(Self::Number), "a Numeric operator"),
            Comparison::Date(_) => (date(text).map(Self::Date), "a Date operator"),
            Comparison::Binary => (base64(text).map(Self::Binary), "BinaryEquals"),
            Comparison::Address => (network(text), "IpAddress"),
            Comparison::Null => (flag(text).map(Self::Absent), "Null"),
        };
        value.ok_or_else(|| Problem::ConditionValue(expected.to_owned(), text.to_owned()))
    }

    /// Whether `value`, from the request, fits.
    pub(super) fn fits(&self, comparison: Comparison, value: &str, asked: &Asked<'_>) -> bool {
        match (self, comparison) {
            (Self::Text(template), Comparison::TextIgnoreCase | Comparison::Bool) => {
                template.resolve(asked).is_some_and(|glob| glob.to_lowercase().matches(&value.to_lowercase()))
            }
            (Self::Text(template), _) => template.matches(value, asked),
            (Self::Number(expected), Comparison::Number(order)) => {
                number(value).is_some_and(|value| order.holds(value, *expected))
            }
            (Self::Date(expected), Comparison::Date(order)) => {
                date(value).is_some_and(|value| order.holds(value, *expected))
            }
            (Self::Binary(expected), _) => base64(value).is_some_and(|value| value == *expected),
            (Self::Network { address, prefix }, _) => {
                value.parse().is_ok_and(|value: IpAddr| same_network(value.to_canonical(), *address, *prefix))
            }
            (Self::Arn(patterns), _) => {
                let parts: Vec<&str> = value.splitn(6, ':').collect();
                parts.len() == 6 && patterns.iter().zip(parts).all(|(pattern, part)| pattern.matches(part, asked))
            }
            (Self::Number(_) | Self::Date(_) | Self::NoArn | Self::Absent(_), _) => false,
        }
    }
}

fn flag(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

fn number(text: &str) -> Option<f64> {
    let plausible = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'));
    text.parse().ok().filter(|number: &f64| plausible && number.is_finite())
}

/// ISO 8601, or seconds since the epoch.
fn date(text: &str) -> Option<Timestamp> {
    match number(text) {
        // Years before 2100 fit in a hundredth of this; beyond it a cast would not be exact.
        Some(seconds) if seconds.abs() < 1e12 => Some(Timestamp::from_millis((seconds * 1000.0) as i64)),
        Some(_) => None,
        None => iso8601::parse(text),
    }
}

fn base64(text: &str) -> Option<String> {
    let digits = text.trim_end_matches('=');
    let valid = digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    (valid && text.len() - digits.len() <= 2 && digits.len() % 4 != 1).then(|| digits.to_owned())
}

fn network(text: &str) -> Option<Value> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => prefix.parse().ok()?,
        Some(_) => return None,
        None => longest,
    };
    (prefix <= longest).then_some(Value::Network { address, prefix })
}

fn same_network(value: IpAddr, network: IpAddr, prefix: u32) -> bool {
    let differing = match (value, network) {
        (IpAddr::V4(value), IpAddr::V4(network)) => (value.to_bits() ^ network.to_bits()).leading_zeros(),
        (IpAddr::V6(value), IpAddr::V6(network)) => (value.to_bits() ^ network.to_bits()).leading_zeros(),
        _ => return false,
    };
    differing >= prefix
}

/// Takes the pattern of an ARN apart at its colons, leaving those within variables.
fn arn(text: &str, variables: bool) -> Result<Value, Problem> {
    let mut parts = Vec::new();
    let (mut from, mut at) = (0, 0);
    while at < text.len() && parts.len() < 5 {
        if variables && text[at..].starts_with("${") {
            let end = end_of_variable(&text[at + 2..]).ok_or_else(|| Problem::Variable(text.to_owned()))?;
            at += 2 + end + 1;
            continue;
        }
        let character = text[at..].chars().next().map_or(1, char::len_utf8);
        if text.as_bytes()[at] == b':' {
            parts.push(&text[from..at]);
            from = at + 1;
        }
        at += character;
    }
    parts.push(&text[from..]);
    let templates: Vec<Template> = parts
        .iter()
        .map(|part| Template::parse(part, Syntax { variables, wildcards: true }))
        .collect::<Result<_, _>>()?;
    Ok(<[Template; 6]>::try_from(templates).map_or(Value::NoArn, |parts| Value::Arn(Box::new(parts))))
}
