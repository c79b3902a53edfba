//! JSON as policies need it: an object that names a member twice is refused, not merged.

use std::{collections::BTreeSet, fmt};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::error::Problem;

/// A value. Numbers and booleans are kept as text, which is how policies compare them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Json {
    Null,
    Scalar(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Reads `text`, at most 128 levels deep.
pub(super) fn parse(text: &str) -> Result<Json, Problem> {
    let json: Json = serde_json::from_str(text).map_err(|error| Problem::NotJson(error.to_string()))?;
    refuse_duplicates(&json)?;
    Ok(json)
}

fn refuse_duplicates(json: &Json) -> Result<(), Problem> {
    match json {
        Json::List(items) => items.iter().try_for_each(refuse_duplicates),
        Json::Object(members) => {
            let mut seen = BTreeSet::new();
            members.iter().try_for_each(|(name, value)| {
                if !seen.insert(name) {
                    return Err(Problem::DuplicateElement(name.clone()));
                }
                refuse_duplicates(value)
            })
        }
        Json::Null | Json::Scalar(_) | Json::Text(_) => Ok(()),
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Scalar(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        while let Some(member) = members.next_entry()? {
            object.push(member);
        }
        Ok(Json::Object(object))
    }
}
