//! A cluster.

use std::collections::BTreeMap;

use gantry_api::ecs;
use gantry_domain::Timestamp;
use serde::{Deserialize, Serialize};

use super::text;

/// Whether a cluster is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClusterStatus {
    /// Usable.
    Active,
    /// Deleted; describable for a while.
    Inactive,
}

/// A cluster; its name is in the key. The documents are kept as the client gave them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterRecord {
    /// Whether it is there.
    pub status: ClusterStatus,
    /// When it was created.
    #[serde(with = "text::millis")]
    pub created_at: Timestamp,
    /// When it was deleted.
    #[serde(default, with = "text::optional_millis", skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
    /// `containerInsights` and its value.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// Execute-command and storage configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<ecs::ClusterConfiguration>,
    /// Names of the attached capacity providers.
    #[serde(default)]
    pub capacity_providers: Vec<String>,
    /// What goes with those of them that scale their groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<ProviderAttachment>,
    /// Whether the attachments are still being made; none when there never was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachments_updating: Option<bool>,
    /// Used when a request names neither launch type nor strategy.
    #[serde(default)]
    pub default_capacity_provider_strategy: Vec<ecs::CapacityProviderStrategyItem>,
    /// Cloud Map namespace of Service Connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_connect_namespace: Option<String>,
    /// Key and value.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// The scaling policy of an attached provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderAttachment {
    /// A UUID.
    pub id: String,
    /// The provider's name.
    pub provider: String,
    /// The policy's name.
    pub policy: String,
}

impl ClusterRecord {
    /// A fresh cluster without anything special.
    pub fn new(now: Timestamp) -> Self {
        Self {
            status: ClusterStatus::Active,
            created_at: now,
            deleted_at: None,
            settings: BTreeMap::new(),
            configuration: None,
            capacity_providers: Vec::new(),
            attachments: Vec::new(),
            attachments_updating: None,
            default_capacity_provider_strategy: Vec::new(),
            service_connect_namespace: None,
            tags: BTreeMap::new(),
        }
    }

    /// Whether requests may use it.
    pub fn is_active(&self) -> bool {
        self.status == ClusterStatus::Active
    }
}
