//! A registered document as the view keeps it: the JSON it was stored as, read when somebody first looks.
//!
//! Most revisions are history that nobody looks at again. Read into its structures a document of one small container
//! takes some 3 KiB, as text a quarter of that; and the picture, which applies one event after the other, does not have
//! to read documents while it follows the store.

use std::{borrow::Cow, fmt, ops::Deref, sync::OnceLock};

use gantry_api::ecs;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// See the module.
pub struct StoredDocument {
    json: Box<str>,
    read: OnceLock<Box<ecs::TaskDefinition>>,
}

impl StoredDocument {
    /// The document, read anew: for answers, so that a look at history does not keep it in memory.
    pub fn to_wire(&self) -> ecs::TaskDefinition {
        match self.read.get() {
            Some(read) => (**read).clone(),
            None => parse(&self.json),
        }
    }
}

impl From<&ecs::TaskDefinition> for StoredDocument {
    fn from(document: &ecs::TaskDefinition) -> Self {
        let json = serde_json::to_string(document).expect("documents are plain data");
        Self { json: json.into(), read: OnceLock::new() }
    }
}

/// Only rows of our own writing get here, so this fails on damage alone, and then one definition reads as empty.
fn parse(json: &str) -> ecs::TaskDefinition {
    serde_json::from_str(json).unwrap_or_else(|error| {
        tracing::error!(%error, "a stored task definition cannot be read");
        ecs::TaskDefinition::default()
    })
}

impl Deref for StoredDocument {
    type Target = ecs::TaskDefinition;
    fn deref(&self) -> &ecs::TaskDefinition {
        self.read.get_or_init(|| Box::new(parse(&self.json)))
    }
}

impl Clone for StoredDocument {
    fn clone(&self) -> Self {
        Self { json: self.json.clone(), read: OnceLock::new() }
    }
}

impl PartialEq for StoredDocument {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

/// Not the text: documents hold environments, and those hold secrets.
impl fmt::Debug for StoredDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredDocument").field("bytes", &self.json.len()).finish_non_exhaustive()
    }
}

impl Serialize for StoredDocument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.json)
    }
}

impl<'de> Deserialize<'de> for StoredDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Cow::<'de, str>::deserialize(deserializer)?;
        Ok(Self { json: json.into(), read: OnceLock::new() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_document_survives_its_row_and_keeps_quiet_about_its_content() {
        let pair = ecs::KeyValuePair { name: Some("PASSWORD".into()), value: Some("quote\" and \u{1F512}".into()) };
        let container =
            ecs::ContainerDefinition { environment: Some(vec![pair]), ..ecs::ContainerDefinition::default() };
        let document =
            ecs::TaskDefinition { container_definitions: Some(vec![container]), ..ecs::TaskDefinition::default() };
        let stored = StoredDocument::from(&document);
        let again: StoredDocument = serde_json::from_slice(&serde_json::to_vec(&stored).unwrap()).unwrap();
        assert_eq!(again, stored);
        assert_eq!(again.to_wire(), document);
        assert_eq!(*again, document);
        assert_eq!(again.to_wire(), document, "also once it was read");
        assert!(!format!("{again:?}").contains("PASSWORD"));
    }

    #[test]
    fn a_damaged_document_reads_as_empty() {
        let stored: StoredDocument = serde_json::from_str(r#""{broken""#).unwrap();
        assert_eq!(*stored, ecs::TaskDefinition::default());
    }
}
