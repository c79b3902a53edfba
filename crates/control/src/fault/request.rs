//! Refusals of what every operation has: tags, page sizes.

use gantry_api::Fault;
use gantry_domain::{limits::TAGS_PER_RESOURCE_MAX, query::QueryError, tags::TagError};

use super::invalid;

/// `maxResults` is out of its range.
pub fn max_results(max: usize) -> Fault {
    invalid(format!("maxResults must be between 1 and {max}."))
}

/// A constraint or filter that is not of the cluster query language.
pub fn expression(text: &str, error: &QueryError) -> Fault {
    invalid(format!("Invalid expression: {text} ({error})"))
}

/// Tags that break a rule.
pub fn tags(error: &TagError) -> Fault {
    match error {
        TagError::Key(key) => invalid(format!("Invalid tag key '{key}'.")),
        TagError::Value(key) => invalid(format!("Invalid value for tag key '{key}'.")),
        TagError::Reserved(_) => invalid("aws: prefixed tag key names are not allowed for external use."),
        TagError::Duplicate(_) => invalid("Duplicate tag keys provided. Tag keys must be unique."),
        TagError::TooMany => invalid(format!("The maximum number of tags is {TAGS_PER_RESOURCE_MAX}.")),
    }
}
