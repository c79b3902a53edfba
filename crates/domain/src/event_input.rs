//! What a target is given: the event, a part of it, a constant, or a template filled with parts of it.
//!
//! In a template, `<name>` stands for what `name`'s path finds in the event. Inside a JSON text it becomes part of the
//! text; outside it becomes the JSON value. A path that finds nothing gives an empty text, or null.
//! What comes out is bounded ([`INPUT_BYTES_MAX`]): a short template may name a large event many times.

mod path;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::Value;

pub use path::{BadPath, Path};

/// Largest input of a target; also the largest event.
pub const INPUT_BYTES_MAX: usize = 256 * 1024;

/// Names that need no path.
const RESERVED: &str = "aws.events.";

/// How a target's input is made.
#[derive(Debug, Clone, PartialEq)]
pub enum EventInput {
    /// The event.
    Whole,
    /// A part of it; null when there is none.
    Part(Path),
    /// This JSON, whatever the event is.
    Constant(String),
    /// A template.
    Template {
        /// What its names stand for.
        paths: BTreeMap<String, Path>,
        /// The template.
        template: String,
    },
}

/// Why an input cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// A template names what has no path.
    #[error("the template names <{0}>, which has no path")]
    Undefined(String),
    /// It would be too large.
    #[error("the input is larger than {INPUT_BYTES_MAX} bytes")]
    TooLarge,
}

/// What a template may name besides the event's parts.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The rule.
    pub rule_arn: &'a str,
    /// Its name.
    pub rule_name: &'a str,
    /// When the event came, ISO 8601.
    pub ingestion_time: &'a str,
}

impl EventInput {
    /// Whether every name of a template is defined.
    ///
    /// # Errors
    /// [`InputError::Undefined`].
    pub fn check(&self) -> Result<(), InputError> {
        let Self::Template { paths, template } = self else { return Ok(()) };
        for piece in pieces(template) {
            if let Piece::Name { name, .. } = piece
                && !name.starts_with(RESERVED)
                && !paths.contains_key(name)
            {
                return Err(InputError::Undefined(name.to_owned()));
            }
        }
        Ok(())
    }

    /// The input for `event`, in the form in which events are delivered.
    ///
    /// # Errors
    /// [`InputError::TooLarge`].
    pub fn of(&self, event: &Value, about: About<'_>) -> Result<String, InputError> {
        let input = match self {
            Self::Whole => event.to_string(),
            Self::Part(path) => path.find(event).unwrap_or_default().to_string(),
            Self::Constant(text) => text.clone(),
            Self::Template { paths, template } => fill(template, paths, event, about)?,
        };
        if input.len() > INPUT_BYTES_MAX { Err(InputError::TooLarge) } else { Ok(input) }
    }
}

fn fill(template: &str, paths: &BTreeMap<String, Path>, event: &Value, about: About<'_>) -> Result<String, InputError> {
    let mut filled = String::with_capacity(template.len());
    for piece in pieces(template) {
        match piece {
            Piece::Plain(text) => filled.push_str(text),
            Piece::Name { name, in_text } => {
                let value = value_of(name, paths, event, about);
                match (in_text, value) {
                    (true, Some(Value::String(text))) => filled.push_str(&escaped(&text)),
                    (true, Some(value)) => filled.push_str(&escaped(&value.to_string())),
                    (true, None) => {}
                    (false, value) => filled.push_str(&value.unwrap_or_default().to_string()),
                }
            }
        }
        if filled.len() > INPUT_BYTES_MAX {
            return Err(InputError::TooLarge);
        }
    }
    Ok(filled)
}

fn value_of(name: &str, paths: &BTreeMap<String, Path>, event: &Value, about: About<'_>) -> Option<Value> {
    match name.strip_prefix(RESERVED) {
        Some("rule-arn") => Some(about.rule_arn.into()),
        Some("rule-name") => Some(about.rule_name.into()),
        Some("event.ingestion-time") => Some(about.ingestion_time.into()),
        Some("event.json") => Some(event.clone()),
        // The event without its detail.
        Some("event") => {
            let mut event = event.clone();
            event.as_object_mut().map(|members| members.remove("detail"));
            Some(event)
        }
        _ => paths.get(name)?.find(event),
    }
}

/// A text as it stands inside the quotes of a JSON text.
fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
}

enum Piece<'a> {
    Plain(&'a str),
    Name { name: &'a str, in_text: bool },
}

/// A template taken apart at its names.
fn pieces(template: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    let mut in_text = false;
    while let Some((start, end)) = next_name(rest) {
        in_text ^= ends_in_text(&rest[..start]);
        pieces.push(Piece::Plain(&rest[..start]));
        pieces.push(Piece::Name { name: &rest[start + 1..end], in_text });
        rest = &rest[end + 1..];
    }
    pieces.push(Piece::Plain(rest));
    pieces
}

/// Where the first `<name>` begins and ends.
fn next_name(text: &str) -> Option<(usize, usize)> {
    let mut from = 0;
    loop {
        let start = from + text[from..].find('<')?;
        let length = text[start + 1..].find(|character: char| !is_of_name(character))?;
        if length > 0 && text[start + 1 + length..].starts_with('>') {
            return Some((start, start + 1 + length));
        }
        from = start + 1;
    }
}

fn is_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.')
}

/// Whether a text has an odd number of quotes that no backslash stands before.
fn ends_in_text(text: &str) -> bool {
    let (mut odd, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            b'"' if !escaped => odd = !odd,
            b'\\' => escaped = !escaped,
            _ => {}
        }
        escaped &= byte == b'\\';
    }
    odd
}
