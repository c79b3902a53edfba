//! A task: what was asked, where it was placed and what is known of it.
//!
//! What follows from the task definition (images, commands, limits) is not repeated here: a task names its revision,
//! and the view shares one copy of it among all its tasks. A task in the view stays below 4 KiB that way.

mod life;
mod volume;

use std::{fmt, net::Ipv4Addr, str::FromStr};

use gantry_api::ecs;
use gantry_domain::{
    Timestamp,
    arn::{ContainerInstanceId, Name, Revision, Scope, TaskDefinitionKey},
    task::{ContainerStatus, HealthStatus, LastStatus, Stop, TaskLife},
    task_definition::TaskResources,
};
use serde::{Deserialize, Serialize};

pub use self::volume::VolumeRecord;
use super::text;
use crate::keys::{InstanceKey, ServiceKey, ServiceKind, TaskKey};

/// How a task is launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LaunchType {
    /// On a container instance of the cluster.
    Ec2,
    /// On the fleet: no instance is shown.
    Fargate,
    /// On an instance registered from outside.
    External,
}

impl LaunchType {
    /// Every launch type.
    pub const ALL: [Self; 3] = [Self::Ec2, Self::Fargate, Self::External];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ec2 => "EC2",
            Self::Fargate => "FARGATE",
            Self::External => "EXTERNAL",
        }
    }

    /// The type on the wire.
    pub const fn to_wire(self) -> ecs::LaunchType {
        match self {
            Self::Ec2 => ecs::LaunchType::Ec2,
            Self::Fargate => ecs::LaunchType::Fargate,
            Self::External => ecs::LaunchType::External,
        }
    }
}

/// A task; account, region, cluster and id are in the key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// The revision it runs.
    #[serde(with = "definition_text")]
    pub task_definition: TaskDefinitionKey,
    /// Statuses, timestamps, stop reason, version.
    #[serde(with = "life")]
    pub life: TaskLife,
    /// `family:NAME`, `service:NAME`, or what the caller said.
    pub group: String,
    /// `ecs-svc/N` for tasks of services, else what the caller said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_by: Option<String>,
    /// Name of the service it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Name of the managed daemon it belongs to: what it runs is a daemon task definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daemon: Option<String>,
    /// How it was launched.
    pub launch_type: LaunchType,
    /// The provider a strategy chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity_provider: Option<String>,
    /// Fargate's platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<PlatformRecord>,
    /// The machine that has it; also on Fargate, where clients do not see it.
    #[serde(with = "host_text", default, skip_serializing_if = "Option::is_none")]
    pub host: Option<InstanceKey>,
    /// Set while it waits for an instance of its capacity provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Box<WaitingRecord>>,
    /// Of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<String>,
    /// What it takes from the host until it is STOPPED.
    pub reserved: Reservation,
    /// Task-level CPU units after overrides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_units: Option<u32>,
    /// Task-level memory in MiB after overrides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// Ephemeral storage after overrides, GiB; only Fargate has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage_gib: Option<i32>,
    /// As given; none when nothing was overridden.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overrides: Option<Box<ecs::TaskOverride>>,
    /// Its interface, in network mode awsvpc.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Box<NetworkRecord>>,
    /// Its volume, when one was configured as it was launched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<Box<VolumeRecord>>,
    /// In the order of the task definition.
    pub containers: Vec<ContainerRecord>,
    /// Over the essential containers.
    #[serde(with = "text::health_status")]
    pub health: HealthStatus,
    /// Key and value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<(String, String)>,
    /// As asked.
    #[serde(default)]
    pub enable_execute_command: bool,
    /// The host's agent has said that it has the task. From then on an agent that does not know it has lost it.
    #[serde(default)]
    pub delivered: bool,
    /// Until when its service does not stop it for reasons of its own.
    #[serde(default, with = "text::optional_millis", skip_serializing_if = "Option::is_none")]
    pub protected_until: Option<Timestamp>,
    /// Its service has taken its end into account. Only for tasks of services, once STOPPED.
    #[serde(default)]
    pub counted_by_service: bool,
}

impl TaskRecord {
    /// Whose task definitions it runs one of.
    pub fn kind(&self) -> ServiceKind {
        if self.daemon.is_some() { ServiceKind::Daemon } else { ServiceKind::Service }
    }

    /// The ARN of what it runs.
    pub fn definition_arn(&self, scope: &Scope) -> String {
        match self.kind() {
            ServiceKind::Service => scope.task_definition_arn(&self.task_definition),
            ServiceKind::Daemon => scope.daemon_task_definition_arn(&self.task_definition),
        }
    }

    /// The service or the managed daemon it belongs to.
    pub fn keeper(&self) -> Option<(ServiceKind, &str)> {
        let name = self.daemon.as_deref().or(self.service.as_deref())?;
        Some((self.kind(), name))
    }

    /// The same as a key; `key` is the task's own.
    pub fn keeper_key(&self, key: &TaskKey) -> Option<ServiceKey> {
        let (kind, name) = self.keeper()?;
        Some(ServiceKey { kind, scope: key.scope.clone(), cluster: key.cluster.clone(), service: name.parse().ok()? })
    }

    /// When its protection from scale-in ends, if it is protected at `now`.
    pub fn protection_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.protected_until.filter(|until| *until > now)
    }

    /// Asks it to stop. One that no host has ends at once. Returns whether anything changed.
    pub fn ask_to_stop(&mut self, stop: Stop, now: Timestamp) -> bool {
        if !self.life.request_stop(stop, self.host.is_some(), now) {
            return false;
        }
        if self.is_stopped() {
            self.waiting = None;
            if let Some(volume) = &mut self.volume {
                volume.release();
            }
            self.containers.iter_mut().for_each(|container| container.last_status = ContainerStatus::Stopped);
        }
        true
    }

    /// Whether nothing of it is left on any host.
    pub fn is_stopped(&self) -> bool {
        self.life.last_status.is_final()
    }

    /// Whether its host's CPU, memory and ports are taken by it: from placement until its containers are gone.
    pub fn holds_resources(&self) -> bool {
        self.life.last_status < LastStatus::Deprovisioning
    }

    /// What the volume that was configured at its launch takes of its host's disk.
    pub fn volume_gib(&self) -> u32 {
        self.volume.as_ref().map_or(0, |volume| volume.size_gib)
    }
}

/// What a task asked of its place, for as long as it has none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WaitingRecord {
    /// As given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub placement_constraints: Vec<ecs::PlacementConstraint>,
    /// As given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub placement_strategy: Vec<ecs::PlacementStrategy>,
    /// As given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_configuration: Option<ecs::NetworkConfiguration>,
}

/// Fargate's platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformRecord {
    /// `1.4.0`.
    pub version: String,
    /// `Linux`.
    pub family: String,
}

/// What a task takes from its host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// CPU units.
    pub cpu: u32,
    /// MiB.
    pub memory: u32,
    /// TCP ports asked for by number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tcp: Vec<u16>,
    /// UDP ports asked for by number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub udp: Vec<u16>,
    /// How many GPUs; which ones stands at the containers.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gpus: u32,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl From<TaskResources> for Reservation {
    fn from(resources: TaskResources) -> Self {
        // The volume's size stands with the volume.
        let TaskResources { cpu_units, memory_mib, tcp_ports, udp_ports, gpus, volume_gib: _ } = resources;
        Self { cpu: cpu_units, memory: memory_mib, tcp: tcp_ports, udp: udp_ports, gpus }
    }
}

/// One container of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// As in the task definition.
    pub name: String,
    /// The last part of its ARN.
    pub id: String,
    /// What is known.
    #[serde(with = "text::container_status")]
    pub last_status: ContainerStatus,
    /// What its health check says.
    #[serde(with = "text::health_status")]
    pub health: HealthStatus,
    /// Set when it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// `CannotPullContainerError: …`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Id in the host's container runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_id: Option<String>,
    /// `sha256:…`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// GPUs of its host that are its alone while the task holds resources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
    /// The digest was known before the image was pulled, and is what is to be pulled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
    /// Published ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network_bindings: Vec<ecs::NetworkBinding>,
}

/// The network of an awsvpc task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// Id of the attachment.
    pub attachment_id: String,
    /// How far the attachment is.
    pub status: AttachmentStatus,
    /// The interface.
    pub interface: InterfaceRecord,
    /// As asked.
    #[serde(default)]
    pub security_groups: Vec<String>,
    /// As asked.
    #[serde(default)]
    pub assign_public_ip: bool,
}

/// An interface of a task in a subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceRecord {
    /// `eni-…`
    pub id: String,
    /// `subnet-…`
    pub subnet: String,
    /// `02:…`
    pub mac: String,
    /// Free again once the task is STOPPED.
    pub address: Ipv4Addr,
}

/// How far an attachment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AttachmentStatus {
    /// Allocated, not made on the host yet; a volume whose task has no host yet.
    Precreated,
    /// A volume that the host is to make.
    Created,
    /// The host has it.
    Attached,
    /// A volume that is left without its task.
    Detached,
    /// It is gone.
    Deleted,
    /// The host could not make it.
    Failed,
}

impl AttachmentStatus {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Precreated => "PRECREATED",
            Self::Created => "CREATED",
            Self::Attached => "ATTACHED",
            Self::Detached => "DETACHED",
            Self::Deleted => "DELETED",
            Self::Failed => "FAILED",
        }
    }
}

/// `family:revision`.
pub(super) mod definition_text {
    use super::*;

    pub(crate) fn serialize<S: serde::Serializer>(key: &TaskDefinitionKey, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(key)
    }

    pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<TaskDefinitionKey, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| serde::de::Error::custom("not family:revision"))
    }

    fn parse(text: &str) -> Option<TaskDefinitionKey> {
        let (family, revision) = text.split_once(':')?;
        Some(TaskDefinitionKey { family: Name::from_str(family).ok()?, revision: Revision::from_str(revision).ok()? })
    }
}

/// `ACCOUNT/REGION/CLUSTER/ID` of an instance.
pub(super) mod host_text {
    use super::*;

    struct Text<'a>(&'a InstanceKey);

    impl fmt::Display for Text<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let InstanceKey { scope, cluster, id } = self.0;
            write!(f, "{}/{}/{cluster}/{id}", scope.account, scope.region)
        }
    }

    pub(in crate::records) fn serialize<S: serde::Serializer>(
        host: &Option<InstanceKey>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match host {
            Some(host) => serializer.collect_str(&Text(host)),
            None => serializer.serialize_none(),
        }
    }

    pub(in crate::records) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<InstanceKey>, D::Error> {
        let text = Option::<std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.map(|text| parse(&text).ok_or_else(|| serde::de::Error::custom("not a host"))).transpose()
    }

    fn parse(text: &str) -> Option<InstanceKey> {
        let mut parts = text.split('/');
        Some(InstanceKey {
            scope: Scope::new(parts.next()?, parts.next()?),
            cluster: parts.next()?.parse().ok()?,
            id: parts.next()?.parse::<ContainerInstanceId>().ok()?,
        })
    }
}
