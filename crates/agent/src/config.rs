//! What the agent is told at its start. Checked by whoever builds it; nothing below reads the environment.

use std::{collections::BTreeMap, net::Ipv4Addr, path::PathBuf, sync::Arc, time::Duration};

use gantry_api::machine::JoinProof;
use gantry_runtime::{cdi, container::Containers, image::Images, network::Networks};

use crate::file_systems::FileSystemConfigs;

/// Configuration of one agent.
#[derive(Debug, Clone)]
pub struct Config {
    /// Base URL of the control plane, for example `http://127.0.0.1:4566`.
    pub endpoint: String,
    /// How the machine joins, when it has not yet.
    pub join: Join,
    /// Region of the container instance; known once the machine has joined.
    pub region: String,
    /// Account that the container instance belongs to; known once the machine has joined.
    pub account: String,
    /// Cluster to register in; empty for the one that the machine was let in for, or `default`.
    pub cluster: String,
    /// The agent keeps everything below `DATA/agent`.
    pub data_dir: PathBuf,
    /// Custom attributes of the container instance, name → value; an empty value is a bare capability.
    pub attributes: BTreeMap<String, String>,
    /// `i-…` or `mi-…`: what the control plane calls the machine; known once it has joined.
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
    /// What stands behind the file system ids of tasks' volumes.
    pub file_systems: FileSystemConfigs,
    /// A shared volume that is there already must have been made as the task definition says.
    pub shared_volume_match_full_config: bool,
    /// Where on the loopback interface the agent says what runs on the machine; nowhere when absent.
    pub introspection_port: Option<u16>,
    /// Containers get a file that says what they are.
    pub container_metadata: bool,
    /// Refuse privileged containers.
    pub disable_privileged: bool,
    /// Offer the machine's GPUs.
    pub gpu_support: bool,
    /// Where CDI specifications describe them.
    pub cdi_directories: Vec<PathBuf>,
    /// Processes and threads that a task may have.
    pub task_pids_limit: Option<u64>,
    /// The log drivers that tasks may use; all that the agent has when absent.
    pub logging_drivers: Option<Vec<String>>,
    /// Tags of the container instance, set when it registers.
    pub instance_tags: BTreeMap<String, String>,
    /// Time between the stop signal and SIGKILL for containers that name none.
    pub container_stop_timeout: Duration,
    /// How long the record and the logs of a stopped task are kept.
    pub task_cleanup_wait: Duration,
    /// The wait is longer by up to this much, at random.
    pub task_cleanup_jitter: Duration,
    /// How often unused images are removed; `None` never.
    pub image_cleanup_interval: Option<Duration>,
    /// How long an image is kept after its last use.
    pub image_minimum_cleanup_age: Duration,
    /// Stop every task when the agent is told to shut down, instead of leaving them to the next agent.
    pub stop_tasks_on_shutdown: bool,
    /// Where other hosts reach this one; found out when absent.
    pub advertise_address: Option<Ipv4Addr>,
    /// Silence after which the agent says that it is still there; after three such times without an answer the
    /// connection counts as lost.
    pub heartbeat_interval: Duration,
}

impl Config {
    /// The defaults of the real agent for everything that has one.
    pub fn new(endpoint: &str, join: Join, data_dir: PathBuf) -> Self {
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            join,
            region: String::new(),
            account: String::new(),
            cluster: String::new(),
            data_dir,
            attributes: BTreeMap::new(),
            instance_id: String::new(),
            reserved_memory_mib: 0,
            reserved_ports: vec![22, 2375, 2376, 51678, 51679],
            reserved_ports_udp: Vec::new(),
            registry_hosts: Vec::new(),
            image_pull_behavior: ImagePullBehavior::Default,
            file_systems: FileSystemConfigs::new(),
            shared_volume_match_full_config: false,
            introspection_port: None,
            container_metadata: false,
            disable_privileged: false,
            gpu_support: false,
            cdi_directories: cdi::DIRECTORIES.map(PathBuf::from).to_vec(),
            task_pids_limit: None,
            logging_drivers: None,
            instance_tags: BTreeMap::new(),
            container_stop_timeout: Duration::from_secs(30),
            task_cleanup_wait: Duration::from_secs(3 * 3600),
            task_cleanup_jitter: Duration::ZERO,
            image_cleanup_interval: Some(Duration::from_secs(30 * 60)),
            image_minimum_cleanup_age: Duration::from_secs(3600),
            stop_tasks_on_shutdown: false,
            advertise_address: None,
            heartbeat_interval: Duration::from_secs(20),
        }
    }
}

/// How a machine joins that has no identity yet.
#[derive(Debug, Clone)]
pub enum Join {
    /// It must have one already.
    Known,
    /// With what it was given, once.
    Proof(JoinProof),
    /// With the token in this file, read when the machine joins.
    TokenFile {
        /// The file.
        path: PathBuf,
        /// A server on the same machine keeps a good token there: the machine joins again, should its identity be
        /// revoked.
        renewed: bool,
    },
}

impl Join {
    /// Whether a machine whose identity was revoked may become another one by itself.
    pub(crate) fn may_be_repeated(&self) -> bool {
        matches!(self, Self::TokenFile { renewed: true, .. })
    }
}

/// Temporary credentials of the instance's role.
#[derive(Clone)]
pub(crate) struct Credentials {
    /// `ASIA…`.
    pub(crate) access_key_id: String,
    /// Its secret.
    pub(crate) secret_access_key: String,
    /// Goes with every request.
    pub(crate) session_token: Option<String>,
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
