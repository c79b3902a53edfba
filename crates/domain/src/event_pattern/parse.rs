//! From text to [`EventPattern`](super::EventPattern). The sentences are those of the matcher that EventBridge uses.

use serde_json::{Map, Value};

use super::filter::{Bound, Cidr, Filter, Range, TextFilter};
use super::{Members, Node, PatternError, TEXT_LENGTH_MAX};

/// Numbers that `numeric` takes.
const NUMBER_MAX: f64 = 5e9;

pub(super) fn pattern(text: &str) -> Result<Members, PatternError> {
    if text.chars().count() > TEXT_LENGTH_MAX {
        return fail(format!("Event pattern is longer than {TEXT_LENGTH_MAX} characters"));
    }
    let value: Value = serde_json::from_str(text).map_err(|error| PatternError(format!("Invalid JSON: {error}")))?;
    match value {
        Value::Object(object) => members(&object),
        _ => fail("Filter is not an object"),
    }
}

fn fail<T>(reason: impl Into<String>) -> Result<T, PatternError> {
    Err(PatternError(reason.into()))
}

fn members(object: &Map<String, Value>) -> Result<Members, PatternError> {
    if object.is_empty() {
        return fail("Empty objects are not allowed");
    }
    let mut found = Members::default();
    for (name, value) in object {
        match value {
            Value::Array(items) if name == "$or" => found.alternatives.push(alternatives(items)?),
            Value::Array(items) if items.is_empty() => return fail("Empty arrays are not allowed"),
            Value::Array(items) => {
                let filters = items.iter().map(filter).collect::<Result<_, _>>()?;
                found.fields.push((name.clone(), Node::Leaf(filters)));
            }
            Value::Object(object) => found.fields.push((name.clone(), Node::Object(members(object)?))),
            _ => return fail(format!("\"{name}\" must be an object or an array")),
        }
    }
    Ok(found)
}

fn alternatives(items: &[Value]) -> Result<Vec<Members>, PatternError> {
    if items.len() < 2 {
        return fail("There must have at least 2 Objects in $or relationship.");
    }
    let one = |item: &Value| match item {
        Value::Object(object) => members(object),
        _ => fail("Only Objects are allowed in array of $or relationship."),
    };
    items.iter().map(one).collect()
}

fn filter(item: &Value) -> Result<Filter, PatternError> {
    match item {
        Value::Object(object) => {
            let mut entries = object.iter();
            match (entries.next(), entries.next()) {
                (Some((name, value)), None) => content_filter(name, value),
                _ => fail("Only one key allowed in match expression"),
            }
        }
        Value::Array(_) => fail("Arrays are not allowed in an array of match expressions"),
        value => Ok(Filter::Equals(value.clone())),
    }
}

fn content_filter(name: &str, value: &Value) -> Result<Filter, PatternError> {
    match name {
        "anything-but" => anything_but(value),
        "numeric" => range(value).map(Filter::Numeric),
        "cidr" => match value.as_str() {
            Some(text) => cidr(text).map(Filter::Cidr),
            None => fail("prefix match pattern must be a string"),
        },
        "exists" => match value {
            Value::Bool(wanted) => Ok(Filter::Exists(*wanted)),
            _ => fail("exists match pattern must be either true or false."),
        },
        _ => text_filter(name, value).map(Filter::Text),
    }
}

fn text_filter(name: &str, value: &Value) -> Result<TextFilter, PatternError> {
    let ignoring_case = || match value.as_object().map(|object| (object.len(), object.get("equals-ignore-case"))) {
        Some((1, Some(Value::String(text)))) => Ok(text.to_lowercase()),
        _ => fail(format!("{name} match pattern must be a string")),
    };
    let text = || match value {
        Value::String(text) => Ok(text.clone()),
        _ => fail(format!("{name} match pattern must be a string")),
    };
    match name {
        "prefix" if value.is_object() => ignoring_case().map(TextFilter::PrefixIgnoringCase),
        "suffix" if value.is_object() => ignoring_case().map(TextFilter::SuffixIgnoringCase),
        "prefix" => text().map(TextFilter::Prefix),
        "suffix" => text().map(TextFilter::Suffix),
        "equals-ignore-case" => text().map(|text| TextFilter::EqualsIgnoringCase(text.to_lowercase())),
        "wildcard" => text().and_then(|text| wildcard(&text)).map(TextFilter::Wildcard),
        _ => fail(format!("Unrecognized match type {name}")),
    }
}

fn anything_but(value: &Value) -> Result<Filter, PatternError> {
    match value {
        Value::String(_) | Value::Number(_) => Ok(Filter::AnythingBut(vec![value.clone()])),
        Value::Array(items) if items.is_empty() => fail("Empty arrays are not allowed"),
        Value::Array(items) => match items.iter().all(|item| item.is_string() || item.is_number()) {
            true => Ok(Filter::AnythingBut(items.clone())),
            false => fail("Inside anything but list, start|null|boolean is not supported."),
        },
        Value::Object(object) => {
            let mut entries = object.iter();
            let (Some((name, value)), None) = (entries.next(), entries.next()) else {
                return fail("Only one key allowed in match expression");
            };
            match value {
                Value::Array(items) if items.is_empty() => fail("Empty arrays are not allowed"),
                Value::Array(items) => items.iter().map(|item| text_filter(name, item)).collect(),
                value => text_filter(name, value).map(|filter| vec![filter]),
            }
            .map(Filter::AnythingButText)
        }
        _ => fail("Value of anything-but must be an array or single string/number value."),
    }
}

/// What stands between the asterisks; a backslash makes an asterisk, or a backslash, stand for itself.
fn wildcard(text: &str) -> Result<Vec<String>, PatternError> {
    let mut pieces = vec![String::new()];
    let mut characters = text.chars().enumerate().peekable();
    let push = |pieces: &mut Vec<String>, character| {
        if let Some(piece) = pieces.last_mut() {
            piece.push(character);
        }
    };
    while let Some((position, character)) = characters.next() {
        match character {
            '*' if characters.peek().is_some_and(|(_, next)| *next == '*') => {
                return fail(format!("Consecutive wildcard characters at pos {position}"));
            }
            '*' => pieces.push(String::new()),
            '\\' => match characters.next() {
                Some((_, escaped @ ('*' | '\\'))) => push(&mut pieces, escaped),
                _ => return fail(format!("Invalid escape character at pos {position}")),
            },
            other => push(&mut pieces, other),
        }
    }
    Ok(pieces)
}

fn range(value: &Value) -> Result<Range, PatternError> {
    let Value::Array(items) = value else { return fail("Value of numeric must be an array.") };
    let mut range = Range { low: None, high: None };
    let (pairs, rest) = items.as_chunks::<2>();
    if !rest.is_empty() || pairs.is_empty() {
        return fail(format!("Invalid member in numeric match: {}", items.last().unwrap_or(&Value::Null)));
    }
    for [operator, number] in pairs {
        let Value::String(operator) = operator else {
            return fail(format!("Invalid member in numeric match: {operator}"));
        };
        let Some(number) = number.as_f64() else { return fail(format!("Value of {operator} must be numeric")) };
        if !(-NUMBER_MAX..=NUMBER_MAX).contains(&number) {
            return fail(format!("Value must be between {:e} and {NUMBER_MAX:e}, inclusive", -NUMBER_MAX));
        }
        let bound = Some(Bound { value: number, inclusive: operator.ends_with('=') });
        match operator.as_str() {
            "=" if pairs.len() == 1 => range = Range { low: bound, high: bound },
            ">" | ">=" if range.low.is_none() && range.high.is_none() => range.low = bound,
            "<" | "<=" if range.high.is_none() => range.high = bound,
            "=" | ">" | ">=" | "<" | "<=" => return fail("Too many elements in numeric expression"),
            other => return fail(format!("Unrecognized numeric range operator: {other}")),
        }
    }
    match (range.low, range.high) {
        (Some(low), Some(high)) if pairs.len() == 2 && low.value >= high.value => fail("Bottom must be less than top"),
        _ => Ok(range),
    }
}

fn cidr(text: &str) -> Result<Cidr, PatternError> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<std::net::IpAddr>() else {
        return fail(format!("Nonstandard IP address: {address}"));
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    let Ok(bits) = bits.map_or(Ok(most), str::parse::<u32>) else {
        return fail("Malformed CIDR, mask bits must be an integer");
    };
    if bits > most {
        return fail(format!("IPv{} mask bits must be at most {most}", if most == 32 { 4 } else { 6 }));
    }
    Ok(Cidr { address, bits })
}
