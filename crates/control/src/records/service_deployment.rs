//! Deployments and revisions of a service, as their own describable resources.

use std::collections::BTreeMap;

use gantry_api::ecs;
use gantry_domain::{Timestamp, arn::TaskDefinitionKey};
use serde::{Deserialize, Serialize};

use super::{LaunchType, task::definition_text, text};

/// What a deployment brings about: a snapshot of everything that makes new tasks different from old ones. Cluster,
/// service and number are in the key. Nothing in it changes; digests of images may come to be known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceRevisionRecord {
    /// When it was created.
    #[serde(with = "text::millis")]
    pub created_at: Timestamp,
    /// What its tasks run.
    #[serde(with = "definition_text")]
    pub task_definition: TaskDefinitionKey,
    /// How they are launched.
    pub launch_type: LaunchType,
    /// As given; empty when a launch type was named.
    #[serde(default)]
    pub capacity_provider_strategy: Vec<ecs::CapacityProviderStrategyItem>,
    /// As given, `LATEST` when nothing was; only Fargate has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform_version: Option<String>,
    /// As given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_configuration: Option<ecs::NetworkConfiguration>,
    /// As given; at most one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_configurations: Vec<ecs::ServiceVolumeConfiguration>,
    /// By container: what the tags of its images stood for when it began, as far as that is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub image_digests: BTreeMap<String, String>,
    /// It is of a managed daemon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daemon: Option<DaemonRevisionRecord>,
}

/// What a revision of a managed daemon says besides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DaemonRevisionRecord {
    /// Whose instances it runs on.
    pub capacity_providers: Vec<String>,
    /// Other tasks are placed only where its task runs.
    pub critical: bool,
    /// Its tasks get the daemon's tags.
    pub propagate_tags: bool,
    /// Its tasks get `aws:ecs:` tags.
    pub enable_ecs_managed_tags: bool,
    /// Users may run commands in its tasks.
    #[serde(default)]
    pub enable_execute_command: bool,
}

/// How a service deployment went. Cluster, service and id are in the key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceDeploymentRecord {
    /// When it was created.
    #[serde(with = "text::millis")]
    pub created_at: Timestamp,
    /// When it last changed.
    #[serde(with = "text::millis")]
    pub updated_at: Timestamp,
    /// When it reached its goal.
    #[serde(default, with = "text::optional_millis", skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// When it was given up.
    #[serde(default, with = "text::optional_millis", skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<Timestamp>,
    /// How it stands.
    pub status: ecs::ServiceDeploymentStatus,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// Numbers of the revisions it found.
    #[serde(default)]
    pub source_revisions: Vec<u64>,
    /// Number of the revision it brings about; none for the deployment that takes a managed daemon away.
    pub target_revision: Option<u64>,
    /// Of a managed daemon, at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_percent: Option<f64>,
    /// The service's at that time.
    pub deployment_configuration: ecs::DeploymentConfiguration,
    /// Failed tasks when it ended; while it goes on the service's deployment knows.
    #[serde(default)]
    pub failure_count: u32,
    /// How many failed tasks would have failed it, when it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<u32>,
    /// What made it fail, when something that watched it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<TriggerRecord>,
    /// An alarm fired already when it began, so that alarms say nothing about it.
    #[serde(default)]
    pub alarms_ignored: bool,
    /// The rollback that followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackRecord>,
}

/// What made a deployment fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerRecord {
    /// Its failed tasks.
    CircuitBreaker,
    /// These alarms.
    Alarms(Vec<String>),
}

/// A rollback of a failed deployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RollbackRecord {
    /// Why.
    pub reason: String,
    /// When it began.
    #[serde(with = "text::millis")]
    pub started_at: Timestamp,
    /// Number of the revision it goes back to.
    pub revision: u64,
}
