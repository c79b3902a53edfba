//! Deployments and revisions of a service, as their own describable resources.

use gantry_domain::Timestamp;
use serde::{Deserialize, Serialize};

use super::text;

/// A service deployment; cluster, service and id are in the key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceDeploymentRecord {
    /// When it was created.
    #[serde(with = "text::millis")]
    pub created_at: Timestamp,
}

/// A service revision; cluster, service and id are in the key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceRevisionRecord {
    /// When it was created.
    #[serde(with = "text::millis")]
    pub created_at: Timestamp,
}
