//! A task set: a part of a service whose deployment controller is EXTERNAL, driven by its owner.

use std::collections::BTreeMap;

use gantry_domain::{
    Timestamp,
    deployment::{DeploymentId, Failures},
};
use serde::{Deserialize, Serialize};

use super::{
    EventRecord, ServiceRevisionRecord,
    service::{deployment_id, failures},
    text,
};

/// Where a task set stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskSetStatus {
    /// The one that serves production traffic; its settings are shown as the service's.
    Primary,
    /// Another one.
    Active,
    /// Deleted; its tasks are being stopped.
    Draining,
}

impl TaskSetStatus {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "PRIMARY",
            Self::Active => "ACTIVE",
            Self::Draining => "DRAINING",
        }
    }
}

/// A task set; it is part of its service's record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskSetRecord {
    /// `ecs-svc/N`, also `startedBy` of its tasks.
    #[serde(with = "deployment_id")]
    pub id: DeploymentId,
    /// Where it stands.
    pub status: TaskSetStatus,
    /// What its tasks run and how.
    pub revision: ServiceRevisionRecord,
    /// The caller's own name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Percent of the service's desired count, in hundredths: 0 to 10,000.
    pub scale_hundredths: u32,
    /// When it was created.
    #[serde(with = "text::millis")]
    pub created_at: Timestamp,
    /// When it last changed.
    #[serde(with = "text::millis")]
    pub updated_at: Timestamp,
    /// Since when it is steady.
    #[serde(default, with = "text::optional_millis", skip_serializing_if = "Option::is_none")]
    pub steady_since: Option<Timestamp>,
    /// When its stability last changed.
    #[serde(with = "text::millis")]
    pub stability_at: Timestamp,
    /// The last attempt to start found no room for all tasks.
    #[serde(default)]
    pub placement_failed: bool,
    /// Its last complaint, so that it is not repeated all the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complaint: Option<EventRecord>,
    /// What it remembers of its failures.
    #[serde(with = "failures")]
    pub failures: Failures,
    /// The token of the request that created it, and a digest of that request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<(String, String)>,
    /// Key and value.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

impl TaskSetRecord {
    /// How many tasks it is to have: its share of the service's desired count, rounded up.
    pub fn computed_desired_count(&self, desired_count: u32) -> u32 {
        if self.status == TaskSetStatus::Draining {
            return 0;
        }
        let exact = u64::from(desired_count) * u64::from(self.scale_hundredths);
        u32::try_from(exact.div_ceil(10_000)).unwrap_or(u32::MAX)
    }
}
