//! A service: what was asked of it, its deployments, and what it has told.

use std::collections::{BTreeMap, VecDeque};

use gantry_api::ecs;
use gantry_domain::{
    Timestamp,
    deployment::{DeploymentId, Failures, RolloutState},
    reason::RolloutReason,
};
use serde::{Deserialize, Serialize};

use super::{LaunchType, RolloutRecord, TaskSetRecord, TaskSetStatus, text};

/// A service keeps this many events, newest first.
pub const SERVICE_EVENTS_MAX: usize = 100;

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

impl ServiceStatus {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Draining => "DRAINING",
            Self::Inactive => "INACTIVE",
        }
    }
}

/// How many tasks a service wants, and where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Scheduling {
    /// So many, wherever the strategy puts them.
    #[default]
    Replica,
    /// One on every instance that satisfies the constraints.
    Daemon,
}

/// A service; cluster and name are in the key. What a deployment carries (task definition, network, platform) is in its
/// service revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// Where it stands.
    pub status: ServiceStatus,
    /// EC2, FARGATE or EXTERNAL, of the primary deployment; FARGATE too when a strategy names Fargate's providers.
    pub launch_type: LaunchType,
    /// When it was created.
    #[serde(with = "text::millis")]
    pub created_at: Timestamp,
    /// ARN of the principal that created it.
    pub created_by: String,
    /// When it became INACTIVE.
    #[serde(default, with = "text::optional_millis", skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
    /// SHA-256 of the request that created it: the same request again is answered with the service.
    pub request: String,
    /// REPLICA or DAEMON.
    #[serde(default)]
    pub scheduling: Scheduling,
    /// How many tasks are wanted; for a DAEMON service the instances that were last seen to satisfy its constraints.
    pub desired_count: u32,
    /// As given, defaults filled in.
    pub deployment_configuration: ecs::DeploymentConfiguration,
    /// Seconds.
    pub health_check_grace_period_seconds: i32,
    /// As given.
    #[serde(default)]
    pub placement_constraints: Vec<ecs::PlacementConstraint>,
    /// As given.
    #[serde(default)]
    pub placement_strategy: Vec<ecs::PlacementStrategy>,
    /// Whose tags new tasks get.
    pub propagate_tags: ecs::PropagateTags,
    /// Whether new tasks get `aws:ecs:` tags.
    pub enable_ecs_managed_tags: bool,
    /// Whether users may run commands in new tasks.
    #[serde(default)]
    pub enable_execute_command: bool,
    /// As given.
    pub availability_zone_rebalancing: ecs::AvailabilityZoneRebalancing,
    /// The primary deployment first; none when the owner drives the service through task sets.
    pub deployments: Vec<DeploymentRecord>,
    /// The primary deployment has two sides, or a deployment that had is on the way back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutRecord>,
    /// The deployment controller is EXTERNAL: there are task sets instead of deployments.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub external: bool,
    /// The oldest first, at most five.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub task_sets: Vec<TaskSetRecord>,
    /// Number of the service revision that was last brought to a steady state: where a rollback goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_revision: Option<u64>,
    /// It is a managed daemon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daemon: Option<DaemonRecord>,
    /// Since when it is steady, and has said so.
    #[serde(default, with = "text::optional_millis", skip_serializing_if = "Option::is_none")]
    pub steady_since: Option<Timestamp>,
    /// The last attempt to start found no room for all tasks.
    #[serde(default)]
    pub placement_failed: bool,
    /// It has said that its zones are not balanced, and not yet that they are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rebalancing: bool,
    /// The last complaint (those of task sets are in their own records), so that it is not repeated all the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complaint: Option<EventRecord>,
    /// Newest first, at most [`SERVICE_EVENTS_MAX`].
    #[serde(default)]
    pub events: VecDeque<EventRecord>,
    /// Key and value.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

impl ServiceRecord {
    /// A new one: ACTIVE, and without all that a request may say of it.
    pub(crate) fn new(created_at: Timestamp, created_by: String, request: String) -> Self {
        Self {
            status: ServiceStatus::Active,
            launch_type: LaunchType::Ec2,
            created_at,
            created_by,
            deleted_at: None,
            request,
            scheduling: Scheduling::Replica,
            desired_count: 0,
            deployment_configuration: ecs::DeploymentConfiguration::default(),
            health_check_grace_period_seconds: 0,
            placement_constraints: Vec::new(),
            placement_strategy: Vec::new(),
            propagate_tags: ecs::PropagateTags::None,
            enable_ecs_managed_tags: false,
            enable_execute_command: false,
            availability_zone_rebalancing: ecs::AvailabilityZoneRebalancing::Disabled,
            deployments: Vec::new(),
            rollout: None,
            external: false,
            task_sets: Vec::new(),
            completed_revision: None,
            daemon: None,
            steady_since: None,
            placement_failed: false,
            rebalancing: false,
            complaint: None,
            events: VecDeque::new(),
            tags: BTreeMap::new(),
        }
    }

    /// The newest deployment.
    pub fn primary(&self) -> Option<&DeploymentRecord> {
        self.deployments.first()
    }

    /// A task set by its id.
    pub fn task_set(&self, id: DeploymentId) -> Option<&TaskSetRecord> {
        self.task_sets.iter().find(|set| set.id == id)
    }

    /// A task set by its id.
    pub fn task_set_mut(&mut self, id: DeploymentId) -> Option<&mut TaskSetRecord> {
        self.task_sets.iter_mut().find(|set| set.id == id)
    }

    /// The task set that serves production traffic.
    pub fn primary_task_set(&self) -> Option<&TaskSetRecord> {
        self.task_sets.iter().find(|set| set.status == TaskSetStatus::Primary)
    }

    /// Whether it, or a task set of it, found no room for all its tasks at the last attempt.
    pub fn waits_for_room(&self) -> bool {
        self.placement_failed || self.task_sets.iter().any(|set| set.placement_failed)
    }

    /// Adds a message, and drops the oldest one when there are too many.
    pub fn tell(&mut self, event: EventRecord) {
        self.events.push_front(event);
        self.events.truncate(SERVICE_EVENTS_MAX);
    }
}

/// What a managed daemon has besides what a DAEMON service has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DaemonRecord {
    /// Percent of its instances whose task one step of a deployment replaces.
    pub drain_percent: f64,
    /// When it was last changed by a request.
    #[serde(with = "text::millis")]
    pub updated_at: Timestamp,
    /// The deployment that takes it away, once it was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<String>,
}

/// One entry of `deployments`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeploymentRecord {
    /// `ecs-svc/N`.
    #[serde(with = "deployment_id")]
    pub id: DeploymentId,
    /// Number of the service revision it brings about.
    pub revision: u64,
    /// Last part of the ARN of its service deployment.
    pub service_deployment: String,
    /// When it was created.
    #[serde(with = "text::millis")]
    pub created_at: Timestamp,
    /// When it last changed.
    #[serde(with = "text::millis")]
    pub updated_at: Timestamp,
    /// How far it is.
    #[serde(with = "rollout_state")]
    pub rollout: RolloutState,
    /// Why it is there.
    pub rollout_reason: String,
    /// It brings an older revision back, as a part of the service deployment that failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rollback: bool,
    /// Since when it has reached its goal and is only watched.
    #[serde(default, with = "text::optional_millis", skip_serializing_if = "Option::is_none")]
    pub baking_since: Option<Timestamp>,
    /// An alarm fired already when it began, so that alarms say nothing about it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alarms_ignored: bool,
    /// StopServiceDeployment was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<ecs::StopServiceDeploymentStopType>,
    /// What it remembers of its failures.
    #[serde(with = "failures")]
    pub failures: Failures,
}

impl DeploymentRecord {
    /// The same on its way back after a newer one failed. What went wrong with it before does not count.
    pub(crate) fn back(&self, now: Timestamp) -> Self {
        let anew = Self::new(self.id, self.revision, self.service_deployment.clone(), now);
        Self { created_at: self.created_at, rollback: true, ..anew }
    }

    /// A deployment that begins now.
    pub fn new(id: DeploymentId, revision: u64, service_deployment: String, now: Timestamp) -> Self {
        Self {
            id,
            revision,
            service_deployment,
            created_at: now,
            updated_at: now,
            rollout: RolloutState::InProgress,
            rollout_reason: RolloutReason::InProgress.message(&id.to_string()),
            rollback: false,
            baking_since: None,
            alarms_ignored: false,
            stop: None,
            failures: Failures::default(),
        }
    }
}

/// One message of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// A UUID.
    pub id: String,
    /// When it was said.
    #[serde(with = "text::millis")]
    pub at: Timestamp,
    /// The sentence.
    pub message: String,
    /// Type and name of the EventBridge event that goes with it, with a blank between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

pub(super) mod deployment_id {
    use std::borrow::Cow;

    use gantry_domain::deployment::DeploymentId;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(id: &DeploymentId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DeploymentId, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        DeploymentId::parse(&text).ok_or_else(|| D::Error::custom("not a deployment id"))
    }
}

pub(super) mod optional_deployment_id {
    use gantry_domain::deployment::DeploymentId;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(id: &Option<DeploymentId>, serializer: S) -> Result<S::Ok, S::Error> {
        id.map(|id| id.to_string()).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DeploymentId>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let parse = |text: String| DeploymentId::parse(&text).ok_or_else(|| D::Error::custom("not a deployment id"));
        text.map(parse).transpose()
    }
}

pub(super) mod rollout_state {
    use std::borrow::Cow;

    use gantry_domain::deployment::RolloutState;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(state: &RolloutState, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(state.as_str())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RolloutState, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        RolloutState::parse(&text).ok_or_else(|| D::Error::custom("not a rollout state"))
    }
}

pub(super) mod failures {
    use gantry_domain::{Timestamp, deployment::Failures};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Row {
        failed_tasks: u32,
        start_failures: u32,
        early_exits: u32,
        last_at: Option<i64>,
    }

    pub(crate) fn serialize<S: Serializer>(failures: &Failures, serializer: S) -> Result<S::Ok, S::Error> {
        let Failures { failed_tasks, start_failures, early_exits, last_at } = *failures;
        let last_at = last_at.map(Timestamp::as_millis);
        Row { failed_tasks, start_failures, early_exits, last_at }.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Failures, D::Error> {
        let Row { failed_tasks, start_failures, early_exits, last_at } = Row::deserialize(deserializer)?;
        let last_at = last_at.map(Timestamp::from_millis);
        Ok(Failures { failed_tasks, start_failures, early_exits, last_at })
    }
}
