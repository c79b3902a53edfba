//! Event patterns: which events a rule is about. The grammar is EventBridge's with all its content filters.
//!
//! A pattern has the shape of the events that it matches: objects stand for objects, and each leaf is a list of which
//! one entry has to match ([`filter`]). Where an event has a list, one element has to match, and what a pattern says
//! of several members of an object in a list has to hold for the same element. `$or` is a list of patterns of which
//! one has to match.
//!
//! A pattern is bounded ([`TEXT_LENGTH_MAX`]) and is held against an event in time proportional to the product of
//! both lengths at worst; nothing is expanded beforehand.

mod filter;
mod parse;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use filter::Filter;

/// Characters that a pattern may have.
pub const TEXT_LENGTH_MAX: usize = 4096;

/// A pattern that was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPattern(Members);

/// What has to hold for an object.
#[derive(Debug, Clone, Default, PartialEq)]
struct Members {
    fields: Vec<(String, Node)>,
    /// One pattern of each of these has to match.
    alternatives: Vec<Vec<Members>>,
}

/// What has to hold for a member.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    Object(Members),
    /// One of them has to match.
    Leaf(Vec<Filter>),
}

/// Why a text is no pattern; the sentence that a client reads after `Reason: `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(String);

impl EventPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is too long or not in the grammar.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        parse::pattern(text).map(Self)
    }

    /// Whether `event`, in the form in which it is delivered, matches.
    pub fn matches(&self, event: &Value) -> bool {
        event.as_object().is_some_and(|event| self.0.matches(event))
    }
}

impl Members {
    fn matches(&self, object: &Map<String, Value>) -> bool {
        self.fields.iter().all(|(name, node)| node.matches(object.get(name)))
            && self.alternatives.iter().all(|either| either.iter().any(|members| members.matches(object)))
    }
}

impl Node {
    fn matches(&self, value: Option<&Value>) -> bool {
        match self {
            Self::Object(members) => match value {
                Some(Value::Object(object)) => members.matches(object),
                Some(Value::Array(items)) => items.iter().any(|item| self.matches(Some(item))),
                // Members of what is not an object are absent, which a pattern may ask for.
                _ => members.matches(&Map::new()),
            },
            Self::Leaf(filters) => filters.iter().any(|filter| filter.matches(value)),
        }
    }
}
