//! What a task definition only refers to, on its way to the agent that runs the task: the values of secrets, the
//! variables of environment files, credentials of registries, the configuration of a log router. Values of secrets are
//! held in memory on either side and written nowhere.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where an agent asks for them: a signed GET of this with `/CLUSTER/TASK-ID`. A refusal with the code
/// [`TASK_VALUES_REFUSED`] is for good, and its message is the task's reason.
pub const TASK_VALUES_PATH: &str = "/agent/v1/task-values";
/// As [`TASK_VALUES_PATH`], for the options of log drivers alone, and also of a task that has ended: its last output may
/// be delivered later.
pub const LOG_OPTIONS_PATH: &str = "/agent/v1/log-options";
/// The code of such a refusal.
pub const TASK_VALUES_REFUSED: &str = "ResourceInitializationError";

/// The values of a task, by the name of the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskValues {
    /// Of containers that refer to something.
    pub containers: BTreeMap<String, ContainerValues>,
}

/// The values of a container. They do not show when they are printed.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerValues {
    /// Variable and value.
    pub secrets: Vec<(String, String)>,
    /// The variables of each environment file, in the order of the definition.
    pub files: Vec<Vec<(String, String)>>,
    /// For the registry of its image.
    pub registry: Option<RegistryLogin>,
    /// Option of its log driver and value.
    pub log_options: Vec<(String, String)>,
    /// Of a log router: the configuration that it includes.
    pub router_configuration: Option<String>,
}

impl std::fmt::Debug for ContainerValues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ContainerValues { .. }")
    }
}

/// Credentials of a registry.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryLogin {
    /// Who.
    pub username: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for RegistryLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RegistryLogin { .. }")
    }
}
