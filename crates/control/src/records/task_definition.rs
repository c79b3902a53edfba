//! A revision of a task definition, and the counter of its family.

mod document;

use std::collections::BTreeMap;

use gantry_domain::Timestamp;
use serde::{Deserialize, Serialize};

pub use document::StoredDocument;

use super::text;

/// What may be done with a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskDefinitionStatus {
    /// New tasks and services may use it.
    Active,
    /// Deregistered: running tasks go on, services that use it may scale, nothing new may name it.
    Inactive,
    /// On its way out, once no task and service uses it.
    DeleteInProgress,
}

/// One revision; family and number are in the key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskDefinitionRecord {
    /// What may be done with it.
    pub status: TaskDefinitionStatus,
    /// As it is answered, defaults filled in, without `status`, `taskDefinitionArn`, `revision` and the timestamps.
    pub document: StoredDocument,
    /// When it was registered.
    #[serde(with = "text::millis")]
    pub registered_at: Timestamp,
    /// Who registered it.
    pub registered_by: String,
    /// When it became INACTIVE.
    #[serde(default, with = "text::optional_millis", skip_serializing_if = "Option::is_none")]
    pub deregistered_at: Option<Timestamp>,
    /// When its deletion was asked for.
    #[serde(default, with = "text::optional_millis", skip_serializing_if = "Option::is_none")]
    pub delete_requested_at: Option<Timestamp>,
    /// Key and value.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// What a family must remember of revisions that are gone, because numbers are never used twice. Written when a revision
/// is deleted and not when one is registered: registrations of one family then have nothing to fight over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilyRecord {
    /// The highest number among deleted revisions.
    pub last_revision: u32,
}
