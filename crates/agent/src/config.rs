//! What the agent is told at its start. Checked by whoever builds it; nothing below reads the environment.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use gantry_runtime::{container::Containers, image::Images, network::Networks};

/// Configuration of one agent.
#[derive(Debug, Clone)]
pub struct Config {
    /// Base URL of the control plane, for example `http://127.0.0.1:4566`.
    pub endpoint: String,
    /// Region of the container instance.
    pub region: String,
    /// Account that the container instance belongs to.
    pub account: String,
    /// What the agent signs with.
    pub credentials: Credentials,
    /// Cluster to register in, name or ARN.
    pub cluster: String,
    /// The agent keeps everything below `DATA/agent`.
    pub data_dir: PathBuf,
    /// Custom attributes of the container instance, name → value; an empty value is a bare capability.
    pub attributes: BTreeMap<String, String>,
    /// `i-…` or any other name of the machine, shown as `ec2InstanceId`.
    pub instance_id: String,
    /// Memory kept for the host itself, MiB.
    pub reserved_memory_mib: u64,
    /// TCP ports that tasks may not take.
    pub reserved_ports: Vec<u16>,
    /// UDP ports that tasks may not take.
    pub reserved_ports_udp: Vec<u16>,
    /// `host[:port]` names, beside the `ACCOUNT.dkr.ecr.REGION.amazonaws.com` ones, under which the control plane's own
    /// registry appears in image references.
    pub registry_hosts: Vec<String>,
    /// When images are pulled.
    pub image_pull_behavior: ImagePullBehavior,
    /// Time between the stop signal and SIGKILL for containers that name none.
    pub container_stop_timeout: Duration,
    /// How long the record and the logs of a stopped task are kept.
    pub task_cleanup_wait: Duration,
    /// How often unused images are removed; `None` never.
    pub image_cleanup_interval: Option<Duration>,
    /// Stop every task when the agent is told to shut down, instead of leaving them to the next agent.
    pub stop_tasks_on_shutdown: bool,
}

impl Config {
    /// The defaults of the real agent for everything that has one.
    pub fn new(endpoint: &str, region: &str, account: &str, credentials: Credentials, data_dir: PathBuf) -> Self {
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            region: region.to_owned(),
            account: account.to_owned(),
            credentials,
            cluster: "default".to_owned(),
            data_dir,
            attributes: BTreeMap::new(),
            instance_id: String::new(),
            reserved_memory_mib: 0,
            reserved_ports: vec![22, 2375, 2376, 51678, 51679],
            reserved_ports_udp: Vec::new(),
            registry_hosts: Vec::new(),
            image_pull_behavior: ImagePullBehavior::Default,
            container_stop_timeout: Duration::from_secs(30),
            task_cleanup_wait: Duration::from_secs(3 * 3600),
            image_cleanup_interval: Some(Duration::from_secs(30 * 60)),
            stop_tasks_on_shutdown: false,
        }
    }
}

/// Access key of the instance's identity.
#[derive(Clone)]
pub struct Credentials {
    /// `AKIA…`.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// For temporary credentials.
    pub session_token: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// `ECS_IMAGE_PULL_BEHAVIOR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImagePullBehavior {
    /// Ask the registry each time; go on with the image on the host when that fails.
    Default,
    /// Ask the registry each time; a failure stops the container.
    Always,
    /// Ask the registry only when the image is not on the host.
    Once,
    /// As `Once`; images are never removed.
    PreferCached,
}

/// The host's runtime, as the agent uses it.
#[derive(Clone)]
pub struct RuntimeParts {
    /// Images of the host.
    pub images: Arc<dyn Images>,
    /// Containers of the host.
    pub containers: Arc<dyn Containers>,
    /// Networks of the host.
    pub networks: Arc<dyn Networks>,
}
