//! Tags between the wire, which has a list of pairs, and rows, which have a map.

use std::collections::BTreeMap;

use gantry_api::{Fault, ecs::Tag};
use gantry_domain::tags::Tags;

use crate::fault;

/// The tags of a request that makes something.
pub(crate) fn parse(tags: Option<&[Tag]>) -> Result<Tags, Fault> {
    let pairs = tags.unwrap_or_default().iter().map(|tag| (tag.key.as_deref(), tag.value.as_deref()));
    Tags::parse(pairs).map_err(|error| fault::tags(&error))
}

/// Tags as a list, in the order of their keys.
pub(crate) fn wire(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag { key: Some(key.clone()), value: Some(value.clone()) }).collect()
}
