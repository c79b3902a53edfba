//! A container instance as it registered. What is free on it follows from the tasks that are on it.

use std::collections::{BTreeMap, BTreeSet};

use gantry_api::ecs;
use gantry_domain::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AttributeSet, text};

/// The attribute that names an instance's Availability Zone.
pub const ZONE_ATTRIBUTE: &str = "ecs.availability-zone";

/// Whether an instance takes tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InstanceStatus {
    /// It does.
    Active,
    /// No new ones.
    Draining,
    /// Deregistered; describable for a while.
    Inactive,
}

impl InstanceStatus {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Draining => "DRAINING",
            Self::Inactive => "INACTIVE",
        }
    }
}

/// What an instance has, before any task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredResources {
    /// CPU units.
    pub cpu: u32,
    /// MiB.
    pub memory: u32,
    /// TCP ports no task may ask for.
    #[serde(default)]
    pub tcp: BTreeSet<u16>,
    /// UDP ports no task may ask for.
    #[serde(default)]
    pub udp: BTreeSet<u16>,
    /// Ids of GPUs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
}

/// A container instance; cluster and id are in the key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceRecord {
    /// Whether it takes tasks.
    pub status: InstanceStatus,
    /// Whether its agent's connection is up.
    pub agent_connected: bool,
    /// When that last changed.
    #[serde(with = "text::millis")]
    pub connectivity_at: Timestamp,
    /// When it registered first.
    #[serde(with = "text::millis")]
    pub registered_at: Timestamp,
    /// When it was deregistered.
    #[serde(default, with = "text::optional_millis", skip_serializing_if = "Option::is_none")]
    pub deregistered_at: Option<Timestamp>,
    /// What it has.
    pub resources: RegisteredResources,
    /// As the agent registered them.
    #[serde(default)]
    pub attributes: AttributeSet,
    /// As PutAttributes set them; they win over the agent's.
    #[serde(default)]
    pub custom_attributes: AttributeSet,
    /// Agent and runtime versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_info: Option<ecs::VersionInfo>,
    /// `i-…` or `mi-…`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ec2_instance_id: Option<String>,
    /// The capacity provider it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity_provider: Option<String>,
    /// The machine that registered it, whose agent alone speaks for it; none when no joined machine did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// Registered from outside: serves launch type EXTERNAL instead of EC2.
    #[serde(default)]
    pub external: bool,
    /// Also part of the Fargate fleet: serves tasks of every cluster of the account.
    #[serde(default)]
    pub fargate: bool,
    /// As the agent last said; another one means that everything on the host is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// Where other hosts reach it, as its agent said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub underlay_address: Option<std::net::Ipv4Addr>,
    /// Its number among the hosts of its account and region, which its own addresses in subnets follow from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_number: Option<u16>,
    /// GiB that volumes of tasks may have on its disk together, as its agent said last; none is no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_room_gib: Option<u32>,
    /// Grows with every change a client could be told of.
    pub version: i64,
    /// Key and value.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

impl InstanceRecord {
    /// The attribute of this name, if it has it; a name-only attribute has no value.
    pub fn attribute(&self, name: &str) -> Option<Option<&str>> {
        self.custom_attributes.get(name).or_else(|| self.attributes.get(name)).map(Option::as_deref)
    }

    /// Its Availability Zone.
    pub fn zone(&self) -> Option<&str> {
        self.attribute(ZONE_ATTRIBUTE).flatten()
    }

    /// Every attribute, each name once.
    pub fn all_attributes(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let own = self.attributes.iter().filter(|(name, _)| !self.custom_attributes.contains_key(*name));
        own.chain(self.custom_attributes.iter()).map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// Whether it is registered (ACTIVE or DRAINING).
    pub fn is_registered(&self) -> bool {
        self.status != InstanceStatus::Inactive
    }
}
