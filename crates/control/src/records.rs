//! Rows as the store keeps them: JSON, one file per kind. A row says what is true, not how a client sees it; the
//! conversions to wire types stand beside the operations.
//!
//! A field added later needs `#[serde(default)]`: rows of an older version must still be read.

mod account_setting;
mod attributes;
mod capacity_provider;
mod client_token;
mod cluster;
mod exec_session;
mod instance;
mod rollout;
mod service;
mod service_deployment;
mod subnet;
mod task;
mod task_definition;
mod task_set;
pub(crate) mod text;

use std::{ops::Deref, sync::Arc};

use bytes::Bytes;
use gantry_store::Revision;
use serde::{Serialize, de::DeserializeOwned};

pub use account_setting::AccountSettingRecord;
pub use attributes::AttributeSet;
pub(crate) use attributes::AttributeSets;
pub use capacity_provider::{CapacityProviderRecord, ProviderUpdate};
pub use client_token::ClientTokenRecord;
pub use cluster::{ClusterRecord, ClusterStatus, ProviderAttachment};
pub use exec_session::{Destination, ExecSessionRecord, ExecSessionStatus, Place, TokenRecord, TranscriptStatus};
pub use instance::{InstanceRecord, InstanceStatus, RegisteredResources, ZONE_ATTRIBUTE};
pub use rollout::{HookRunRecord, RolloutRecord};
pub use service::{
    DaemonRecord, DeploymentRecord, EventRecord, SERVICE_EVENTS_MAX, Scheduling, ServiceRecord, ServiceStatus,
};
pub use service_deployment::{
    DaemonRevisionRecord, RollbackRecord, ServiceDeploymentRecord, ServiceRevisionRecord, TriggerRecord,
};
pub use subnet::{SubnetBlockRecord, SubnetRecord};
pub use task::{
    AttachmentStatus, ContainerRecord, InterfaceRecord, LaunchType, NetworkRecord, PlatformRecord, Reservation,
    TaskRecord, VolumeRecord, WaitingRecord,
};
pub use task_definition::{FamilyRecord, StoredDocument, TaskDefinitionRecord, TaskDefinitionStatus};
pub use task_set::{TaskSetRecord, TaskSetStatus};

/// A record with the revision that last wrote it: what a transaction that changes it must compare with.
#[derive(Debug, Clone, PartialEq)]
pub struct Row<T> {
    /// `mod_revision` of the key.
    pub revision: Revision,
    /// The record.
    pub record: T,
}

/// A row shared between the view and its readers.
pub type SharedRow<T> = Arc<Row<T>>;

impl<T> Deref for Row<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.record
    }
}

/// The bytes of a record.
pub fn encode<T: Serialize>(record: &T) -> Bytes {
    // Records are plain data with string keys; serialising them into memory cannot fail.
    serde_json::to_vec(record).expect("records are plain data").into()
}

/// Reads a record back.
///
/// # Errors
/// When the bytes are not a record of this kind: damage, or a newer version's.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(bytes)
}
