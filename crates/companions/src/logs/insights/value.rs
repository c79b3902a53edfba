//! Values in a query, and the records that hold them.

use std::cmp::Ordering;

use time::OffsetDateTime;
use time::macros::format_description;

/// What an expression comes to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(f64),
    /// Milliseconds since the epoch.
    Time(f64),
    Text(String),
}

/// One event or one row of a `stats`, with what commands added to it.
#[derive(Debug, Clone, Default)]
pub(super) struct Record {
    /// Fields that begin with `@`, and those that commands computed; later ones hide earlier ones.
    pub(super) fields: Vec<(String, Value)>,
    /// The message as JSON, if it is.
    pub(super) document: Option<serde_json::Value>,
}

impl Record {
    pub(super) fn get(&self, name: &str) -> Value {
        if let Some((_, value)) = self.fields.iter().rev().find(|(field, _)| field == name) {
            return value.clone();
        }
        self.document.as_ref().map_or(Value::Null, |document| member(document, name))
    }

    pub(super) fn set(&mut self, name: &str, value: Value) {
        self.fields.push((name.to_owned(), value));
    }
}

impl Value {
    pub(super) fn is_true(&self) -> bool {
        match self {
            Value::Null => false,
            Value::Bool(value) => *value,
            Value::Number(value) | Value::Time(value) => *value != 0.0,
            Value::Text(text) => !text.is_empty(),
        }
    }

    /// As a number, also when it is a text that reads like one.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Value::Number(value) | Value::Time(value) => Some(*value),
            Value::Text(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
            Value::Bool(value) => Some(f64::from(u8::from(*value))),
            Value::Null => None,
        }
    }

    /// As the results show it; nothing when absent.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Value::Null => None,
            Value::Bool(value) => Some(u8::from(*value).to_string()),
            Value::Number(value) => Some(show_number(*value)),
            Value::Time(millis) => Some(show_time(*millis)),
            Value::Text(text) => Some(text.clone()),
        }
    }

    /// Compares as numbers when both sides are, else as texts; nothing when one is absent.
    pub(super) fn compare(&self, other: &Value) -> Option<Ordering> {
        if let (Some(left), Some(right)) = (self.number(), other.number()) {
            return left.partial_cmp(&right);
        }
        Some(self.text()?.cmp(&other.text()?))
    }

    /// The order of `sort`: what is absent comes first, numbers before texts.
    pub(super) fn sort_order(&self, other: &Value) -> Ordering {
        let rank = |value: &Value| match value {
            Value::Null => 0,
            value if value.number().is_some() => 1,
            _ => 2,
        };
        rank(self).cmp(&rank(other)).then_with(|| self.compare(other).unwrap_or(Ordering::Equal))
    }
}

/// `a.b.0.c` in a document; a member whose name has dots is found, too.
fn member(document: &serde_json::Value, name: &str) -> Value {
    if let Some(found) = document.get(name) {
        return scalar(found);
    }
    let mut found = document;
    for part in name.split('.') {
        let next = match part.parse::<usize>() {
            Ok(index) if found.is_array() => found.get(index),
            _ => found.get(part),
        };
        let Some(next) = next else { return Value::Null };
        found = next;
    }
    scalar(found)
}

fn scalar(found: &serde_json::Value) -> Value {
    match found {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => number.as_f64().map_or(Value::Null, Value::Number),
        serde_json::Value::String(text) => Value::Text(text.clone()),
        other => Value::Text(other.to_string()),
    }
}

fn show_number(value: f64) -> String {
    // Up to four decimals, as the service shows averages.
    let rounded = (value * 10_000.0).round() / 10_000.0;
    if rounded.is_finite() { format!("{rounded}") } else { String::new() }
}

#[expect(clippy::cast_possible_truncation, reason = "saturates, and then is no date")]
fn show_time(millis: f64) -> String {
    let nanos = (millis as i128).saturating_mul(1_000_000);
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:3]");
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok().and_then(|time| time.format(format).ok());
    time.unwrap_or_else(|| show_number(millis))
}
