//! The few members of a request's input that say which resources it is for, before the input is decoded.
//!
//! What is read here must be what the operation will read. Members that the model does not give it are not seen: a
//! caller could name a resource, a tag or a boundary that the operation knows nothing of, and be allowed for its sake.
//! JSON with a member given twice, or of another type, is refused by the decoder afterwards, so that nothing is carried
//! out for it.

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
    Form {
        form: &'a Form,
        /// Those that the operation has.
        members: &'static [&'static str],
    },
}

impl<'a> Fields<'a> {
    /// Reads those `members` that an operation has of its input; one that is malformed has none.
    pub(super) fn read(input: Input<'a>, members: &'static [&'static str]) -> Self {
        match input {
            Input::Json(body) => {
                let mut given = serde_json::from_slice::<Members>(body).map(|given| given.0).unwrap_or_default();
                given.retain(|name, _| members.contains(&&**name));
                Self::Json(given)
            }
            Input::Query(form) => Self::Form { form, members },
        }
    }

    /// A member of a JSON input.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Json(members) => members.get(name).filter(|value| !value.is_null()),
            Self::Form { .. } => None,
        }
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self {
            Self::Json(members) => members.get(name)?.as_str(),
            Self::Form { form, members } => form.get(name).filter(|_| members.contains(&name)),
        }
    }

    /// A list of texts.
    pub(super) fn texts(&self, name: &str) -> Vec<&str> {
        match self {
            Self::Json(_) => self.list(name).filter_map(Value::as_str).collect(),
            Self::Form { form, members } => {
                let elements = if members.contains(&name) { form.list(name) } else { Vec::new() };
                elements.into_iter().filter_map(Form::text).collect()
            }
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
            Self::Form { form, members } => {
                let pair = |tag: &Form| owned(tag.get("Key"), tag.get("Value"));
                let tags = if members.contains(&"Tags") { form.list("Tags") } else { Vec::new() };
                tags.into_iter().map(pair).collect()
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
