//! The few members of a request's input that say which resources it is for, before the input is decoded.
//!
//! What is read here must be what the operation will read: JSON with a member given twice, or of another type, is
//! refused by the decoder afterwards, so that nothing is carried out for it.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::query::Form;
use crate::services::Input;

/// Members that may be large and never name a resource.
const SKIPPED: &[&str] = &["logEvents", "layerPartBlob", "imageManifest"];

/// The members of an input.
pub(super) enum Fields<'a> {
    Json(BTreeMap<String, Value>),
    Form(&'a Form),
}

impl<'a> Fields<'a> {
    /// Reads an input; one that is malformed has no members.
    pub(super) fn read(input: Input<'a>) -> Self {
        match input {
            Input::Json(body) => {
                Self::Json(serde_json::from_slice::<Members>(body).map(|members| members.0).unwrap_or_default())
            }
            Input::Query(form) => Self::Form(form),
        }
    }

    /// A member of a JSON input.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Json(members) => members.get(name).filter(|value| !value.is_null()),
            Self::Form(_) => None,
        }
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self {
            Self::Json(members) => members.get(name)?.as_str(),
            Self::Form(form) => form.get(name),
        }
    }

    /// A list of texts.
    pub(super) fn texts(&self, name: &str) -> Vec<&str> {
        match self {
            Self::Json(_) => self.list(name).filter_map(Value::as_str).collect(),
            Self::Form(form) => form.list(name).into_iter().filter_map(Form::text).collect(),
        }
    }

    /// The elements of a list of a JSON input.
    pub(super) fn list(&self, name: &str) -> impl Iterator<Item = &Value> {
        self.value(name).and_then(Value::as_array).into_iter().flatten()
    }

    /// A switch; absent is off.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.value(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// The request's tags, whatever form the service gives them.
    pub(super) fn tags(&self) -> Vec<(String, String)> {
        let owned = |key: Option<&str>, value: Option<&str>| {
            (key.unwrap_or_default().to_owned(), value.unwrap_or_default().to_owned())
        };
        match self {
            Self::Form(form) => {
                let pair = |tag: &Form| owned(tag.get("Key"), tag.get("Value"));
                form.list("Tags").into_iter().map(pair).collect()
            }
            // EventBridge writes its members in capitals.
            Self::Json(_) => match self.value("tags").or_else(|| self.value("Tags")) {
                Some(Value::Array(tags)) => {
                    let member = |tag: &Value, small: &str, capital: &str| {
                        tag.get(small).or_else(|| tag.get(capital)).and_then(Value::as_str).map(str::to_owned)
                    };
                    let pair = |tag: &Value| {
                        owned(member(tag, "key", "Key").as_deref(), member(tag, "value", "Value").as_deref())
                    };
                    tags.iter().map(pair).collect()
                }
                Some(Value::Object(tags)) => tags.iter().map(|(key, value)| owned(Some(key), value.as_str())).collect(),
                _ => Vec::new(),
            },
        }
    }
}

/// A JSON object without its [`SKIPPED`] members.
struct Members(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    if SKIPPED.contains(&name.as_str()) {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        members.insert(name, map.next_value()?);
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}
