//! A service.

use std::collections::BTreeMap;

use gantry_domain::Timestamp;
use serde::{Deserialize, Serialize};

use super::{LaunchType, text};

/// Where a service stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServiceStatus {
    /// Kept at its desired count.
    Active,
    /// Deleted; its tasks are being stopped.
    Draining,
    /// Deleted and empty; describable for a while.
    Inactive,
}

/// A service; cluster and name are in the key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// Where it stands.
    pub status: ServiceStatus,
    /// EC2, FARGATE or EXTERNAL.
    pub launch_type: LaunchType,
    /// When it was created.
    #[serde(with = "text::millis")]
    pub created_at: Timestamp,
    /// Key and value.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}
