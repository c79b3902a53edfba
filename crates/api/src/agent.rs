//! Messages between an agent and the control plane, one JSON text frame each over the WebSocket `/agent/v1/connect`.
//!
//! The protocol is level-triggered both ways: after (re)connecting the agent says [`Hello`](AgentMessage::Hello) with
//! everything it observes, the control plane answers with the full desired set; deltas follow. Every message may be
//! repeated safely, and a message that was lost is made good by the next full set.

use serde::{Deserialize, Serialize};

use crate::ecs;

/// Version of this protocol; a control plane refuses agents of a version that it does not know.
pub const PROTOCOL_VERSION: u32 = 2;
/// Of agents that take every [`ControlMessage::DesiredSet`] for a whole one, and are sent it so.
pub const PROTOCOL_VERSION_WHOLE_SETS: u32 = 1;

/// Agent → control plane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum AgentMessage {
    /// First message of a connection.
    Hello {
        /// [`PROTOCOL_VERSION`].
        protocol_version: u32,
        /// As registered.
        container_instance_arn: String,
        /// For example `0.1.0`.
        agent_version: String,
        /// Changes when the host boots.
        boot_id: String,
        /// Every task that the agent has not yet been told to forget.
        tasks: Vec<ObservedTask>,
        /// Where other hosts reach this one, for the networks of tasks.
        #[serde(default)]
        underlay_address: Option<std::net::Ipv4Addr>,
        /// GiB that volumes of tasks may have on this host's disk, those that are there included. None is no bound.
        #[serde(default)]
        volume_room_gib: Option<u32>,
    },
    /// Changed tasks, each whole. The control plane answers [`ControlMessage::Acknowledged`] once it is durable.
    Observed {
        /// Grows by one with each message of a connection, from 1.
        sequence: u64,
        /// The tasks that changed.
        tasks: Vec<ObservedTask>,
    },
    /// What running tasks use, about every ten seconds. Lossy by design: it is not acknowledged, and the next one says
    /// the same newer.
    Usage {
        /// The tasks that were measured.
        tasks: Vec<TaskUsage>,
    },
    /// Sent every now and then: the agent is there, and what it has changes without any task.
    Heartbeat {
        /// As in [`Hello`](AgentMessage::Hello).
        #[serde(default)]
        volume_room_gib: Option<u32>,
    },
}

/// What a task uses of its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskUsage {
    /// ARN of the task.
    pub task_arn: String,
    /// Thousandths of CPU units (1024 units are one vCPU), over the time since it was measured before.
    pub cpu_milliunits: u64,
    /// KiB, without page cache that can be dropped.
    pub memory_kib: u64,
}

/// Control plane → agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ControlMessage {
    /// All tasks of the instance that the agent must drive: those that are not known STOPPED. The agent stops and
    /// forgets every other task it has, after reporting its end. It comes in parts, one after another.
    DesiredSet {
        /// Store revision of the part.
        revision: u64,
        /// Its tasks.
        tasks: Vec<DesiredTask>,
        /// More of the set follows: only the last part tells which tasks are in none of them.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        more: bool,
    },
    /// What changed since an earlier message.
    Delta {
        /// Store revision after the change.
        revision: u64,
        /// New or changed tasks, each whole.
        changed: Vec<DesiredTask>,
        /// ARNs of tasks whose STOPPED is durable: their state may be forgotten.
        removed: Vec<String>,
    },
    /// All networks of tasks that reach over hosts, and where the other hosts are. Replaces what was said before.
    Overlay {
        /// Where the others reach this host.
        local_address: std::net::Ipv4Addr,
        /// Where the others are.
        peers: Vec<std::net::Ipv4Addr>,
        /// The networks.
        networks: Vec<OverlayNetwork>,
    },
    /// Credentials of roles of tasks: the first ones, or new ones before those end. They are kept in memory only.
    Roles {
        /// One per task and role.
        grants: Vec<RoleGrant>,
    },
    /// All sessions of ECS Exec in the instance's containers. Replaces what was said before: the agent ends and forgets
    /// sessions that are not named.
    ExecSessions {
        /// The sessions.
        sessions: Vec<crate::exec::ExecSession>,
    },
    /// Everything up to this [`AgentMessage::Observed`] is durable.
    Acknowledged {
        /// Its sequence number.
        sequence: u64,
    },
    /// The connection is refused or ends; the agent registers anew when `register` is set.
    Goodbye {
        /// Why.
        reason: String,
        /// The container instance is unknown or inactive.
        register: bool,
    },
}

/// A subnet that reaches over hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OverlayNetwork {
    /// `subnet-…`.
    pub subnet_id: String,
    /// VXLAN network identifier.
    pub vni: u32,
    /// The host's own address in it, when there was one left.
    pub address: Option<std::net::Ipv4Addr>,
    /// Of the subnet.
    pub prefix_length: u8,
    /// The subnet's first address.
    pub gateway: std::net::Ipv4Addr,
}

/// Which role of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RoleKind {
    /// `taskRoleArn`, in which its containers act.
    Task,
    /// `executionRoleArn`, in which the agent does what the task needs to start and to log.
    Execution,
}

/// Credentials of a role of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleGrant {
    /// ARN of the task.
    pub task_arn: String,
    /// Which of its roles.
    pub role: RoleKind,
    /// None: the role cannot be taken on now.
    pub credentials: Option<RoleCredentials>,
}

/// Temporary credentials of a task's role.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleCredentials {
    /// The role.
    pub role_arn: String,
    /// `ASIA…`.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// Goes with every request.
    pub session_token: String,
    /// When they end, milliseconds since the epoch.
    pub expires_at_ms: u64,
}

impl std::fmt::Debug for RoleCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoleCredentials").field("role_arn", &self.role_arn).finish_non_exhaustive()
    }
}

/// RUNNING or STOPPED: what is wanted of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DesiredStatus {
    /// Run it.
    Running,
    /// Stop it.
    Stopped,
}

/// A task as the control plane wants it. Immutable but for `desired_status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredTask {
    /// `arn:aws:ecs:REGION:ACCOUNT:task/CLUSTER/ID`.
    pub task_arn: String,
    /// ARN of its cluster.
    pub cluster_arn: String,
    /// What is wanted.
    pub desired_status: DesiredStatus,
    /// `EC2`, `FARGATE` or `EXTERNAL`.
    pub launch_type: String,
    /// `service:NAME` or `family:NAME`.
    pub group: String,
    /// `ecs-svc/…` for tasks of services.
    pub started_by: Option<String>,
    /// The registered document.
    pub task_definition: ecs::TaskDefinition,
    /// As given to RunTask.
    pub overrides: ecs::TaskOverride,
    /// Container name → container ARN.
    pub container_arns: std::collections::BTreeMap<String, String>,
    /// Task-level CPU after overrides, 1/1024 vCPU; a hard limit when present.
    pub cpu_units: Option<u32>,
    /// Task-level memory after overrides, MiB; a hard limit when present.
    pub memory_mib: Option<u32>,
    /// What its containers and volumes may write together, GiB; none is no limit.
    #[serde(default)]
    pub ephemeral_storage_gib: Option<u32>,
    /// The interface of an `awsvpc` task.
    pub network_interface: Option<NetworkInterface>,
    /// The task's tags, `aws:ecs:` ones included.
    pub tags: Vec<(String, String)>,
    /// The volume that was configured when it was launched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_volume: Option<ManagedVolume>,
    /// By container: the GPUs that are its alone, of those that the agent registered.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub gpu_ids: std::collections::BTreeMap<String, Vec<String>>,
}

/// A volume with a size of its own, made for one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagedVolume {
    /// Of the task definition's volume.
    pub name: String,
    /// `vol-…`.
    pub id: String,
    /// GiB.
    pub size_gib: u32,
    /// `ext4` and so on; none is the agent's choice.
    pub filesystem: Option<String>,
    /// It goes with the task.
    pub delete_on_termination: bool,
    /// The volume's tags.
    pub tags: Vec<(String, String)>,
}

/// An elastic network interface as allocated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkInterface {
    /// `eni-…`.
    pub id: String,
    /// `subnet-…`.
    pub subnet_id: String,
    /// `02:…`.
    pub mac: String,
    /// IPv4 address.
    pub address: std::net::Ipv4Addr,
    /// Of the subnet.
    pub prefix_length: u8,
    /// The subnet's first address.
    pub gateway: std::net::Ipv4Addr,
}

/// Task status as an agent knows it; the control plane derives ACTIVATING, DEACTIVATING and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ObservedStatus {
    /// Accepted: pulling, creating, waiting.
    Pending,
    /// Running.
    Running,
    /// At its end.
    Stopped,
}

/// A task as the agent sees it, whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedTask {
    /// ARN of the task.
    pub task_arn: String,
    /// Where it is.
    pub last_status: ObservedStatus,
    /// Why it ended: stop code (`EssentialContainerExited`, `TaskFailedToStart` …) and reason. Only when the task
    /// ended by itself; the control plane keeps the reason of a stop that it asked for.
    pub stopped: Option<StopReason>,
    /// Milliseconds since the epoch.
    pub pull_started_at_ms: Option<u64>,
    /// Milliseconds since the epoch.
    pub pull_stopped_at_ms: Option<u64>,
    /// When the first container ran, milliseconds since the epoch.
    pub started_at_ms: Option<u64>,
    /// When the task began to stop, milliseconds since the epoch.
    pub stopping_at_ms: Option<u64>,
    /// When the essential containers ended, milliseconds since the epoch.
    pub execution_stopped_at_ms: Option<u64>,
    /// When the last container ended, milliseconds since the epoch.
    pub stopped_at_ms: Option<u64>,
    /// `HEALTHY`, `UNHEALTHY` or `UNKNOWN`.
    pub health: String,
    /// The containers, in the order of the task definition.
    pub containers: Vec<ObservedContainer>,
    /// How it is with its managed volume, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<ObservedVolume>,
}

/// How it is with a task's managed volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ObservedVolume {
    /// The task has it.
    Attached,
    /// It cannot be had, because of this.
    Failed(String),
}

/// Stop code and reason of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StopReason {
    /// One of the wire's `TaskStopCode` values.
    pub code: String,
    /// The sentence.
    pub reason: String,
}

/// A container as the agent sees it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedContainer {
    /// As in the task definition.
    pub name: String,
    /// `PENDING`, `RUNNING` or `STOPPED`.
    pub last_status: String,
    /// Id in the host's container runtime.
    pub runtime_id: Option<String>,
    /// `sha256:…`.
    pub image_digest: Option<String>,
    /// Set when it ended.
    pub exit_code: Option<i32>,
    /// `CannotPullContainerError: …` and so on.
    pub reason: Option<String>,
    /// `HEALTHY`, `UNHEALTHY` or `UNKNOWN`.
    pub health: String,
    /// Published ports.
    pub network_bindings: Vec<ecs::NetworkBinding>,
}
