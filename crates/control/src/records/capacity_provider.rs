//! A capacity provider of an account: an Auto Scaling group that instances are attributed to.

use std::collections::BTreeMap;

use gantry_api::ecs;
use gantry_domain::Timestamp;
use serde::{Deserialize, Serialize};

use super::text;

/// What is being done to a provider, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ProviderUpdate {
    /// [`CapacityProviderRecord::next`] is about to become true.
    UpdateInProgress,
    /// It has.
    UpdateComplete,
    /// It is about to go.
    DeleteInProgress,
    /// It is gone.
    DeleteComplete,
    /// It cannot go.
    DeleteFailed,
}

impl ProviderUpdate {
    /// The value on the wire.
    pub fn to_wire(self) -> ecs::CapacityProviderUpdateStatus {
        use ecs::CapacityProviderUpdateStatus as Wire;
        match self {
            Self::UpdateInProgress => Wire::UpdateInProgress,
            Self::UpdateComplete => Wire::UpdateComplete,
            Self::DeleteInProgress => Wire::DeleteInProgress,
            Self::DeleteComplete => Wire::DeleteComplete,
            Self::DeleteFailed => Wire::DeleteFailed,
        }
    }
}

/// A capacity provider; its name is in the key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CapacityProviderRecord {
    /// When it was created.
    #[serde(with = "text::millis")]
    pub created_at: Timestamp,
    /// When it became INACTIVE.
    #[serde(default, with = "text::optional_millis", skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
    /// As asked, defaults filled in.
    pub group: ecs::AutoScalingGroupProvider,
    /// What an update under way makes of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<ecs::AutoScalingGroupProvider>,
    /// The last thing that was asked of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<ProviderUpdate>,
    /// Why that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_reason: Option<String>,
    /// Key and value.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

impl CapacityProviderRecord {
    /// Whether it exists; a deleted one can be described for a while.
    pub fn is_active(&self) -> bool {
        self.deleted_at.is_none()
    }

    /// Whether clusters and strategies may begin to use it.
    pub fn is_usable(&self) -> bool {
        self.is_active() && self.update != Some(ProviderUpdate::DeleteInProgress)
    }

    /// Whether tasks that find no room wait for an instance.
    pub fn is_managed(&self) -> bool {
        let scaling = self.group.managed_scaling.as_ref();
        scaling.and_then(|scaling| scaling.status.as_ref()) == Some(&ecs::ManagedScalingStatus::Enabled)
    }
}
