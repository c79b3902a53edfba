//! What the control plane wants run, in the agent's own words: parsed once at the edge (`wire`), persisted with the
//! task's record, read by the planner and by the mapping to the runtime.
//!
//! Every value is final: overrides are merged and defaults of the service are filled in before a `TaskSpec` exists.

use std::{collections::BTreeMap, net::Ipv4Addr};

use gantry_domain::task_definition::{LocalMount, Proxy};
use serde::{Deserialize, Serialize};

/// A task as it was handed to this instance. It never changes; only its desired status does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TaskSpec {
    pub(crate) arn: String,
    pub(crate) cluster: String,
    pub(crate) family: String,
    pub(crate) revision: u64,
    pub(crate) launch_type: LaunchType,
    pub(crate) network: TaskNetwork,
    pub(crate) pid: SharedNamespace,
    pub(crate) ipc: SharedNamespace,
    /// 1024 per vCPU.
    pub(crate) cpu_units: Option<u64>,
    pub(crate) memory_mib: Option<u64>,
    /// What its containers and volumes may write together.
    #[serde(default)]
    pub(crate) ephemeral_storage_gib: Option<u64>,
    pub(crate) volumes: Vec<Volume>,
    pub(crate) containers: Vec<ContainerDefinition>,
    #[serde(default)]
    pub(crate) roles: Roles,
    #[serde(default)]
    pub(crate) about: About,
    /// Why this agent cannot run the task at all.
    pub(crate) refused: Option<String>,
}

impl TaskSpec {
    /// The last segment of the ARN: 32 hexadecimal characters.
    pub(crate) fn id(&self) -> &str {
        task_id(&self.arn)
    }

    /// The last segment of the cluster's ARN.
    pub(crate) fn cluster_name(&self) -> &str {
        self.cluster.rsplit('/').next().unwrap_or_default()
    }

    /// Whether it refers to values that are asked for when it starts.
    pub(crate) fn has_values(&self) -> bool {
        self.containers.iter().any(|container| {
            container.is_made_with_values()
                || container.has_registry_credentials
                || !container.log.secret_options.is_empty()
        })
    }

    /// Whether its containers share a namespace, which a pause container then holds.
    pub(crate) fn has_pause(&self) -> bool {
        self.pid == SharedNamespace::Task || self.ipc == SharedNamespace::Task
    }

    /// Id of the pause container at the runtime.
    pub(crate) fn pause_id(&self) -> String {
        format!("{}-pause", self.id())
    }

    /// Its managed volume, with the name that it has in the task definition.
    pub(crate) fn managed_volume(&self) -> Option<(&str, &ManagedVolume)> {
        self.volumes.iter().find_map(|volume| match &volume.source {
            VolumeSource::Managed(managed) => Some((volume.name.as_str(), managed)),
            _ => None,
        })
    }

    pub(crate) fn index_of(&self, container: &str) -> Option<usize> {
        self.containers.iter().position(|candidate| candidate.name == container)
    }

    /// The region of the ARN, which is the region that the task's own SDK calls should go to.
    pub(crate) fn region(&self) -> &str {
        self.arn.split(':').nth(3).unwrap_or_default()
    }
}

/// The roles of a task, as written: names or ARNs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Roles {
    pub(crate) task: Option<String>,
    pub(crate) execution: Option<String>,
}

/// What only the task itself is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    /// `service:NAME` or whatever it was started with.
    pub(crate) group: String,
    /// Container name → container ARN.
    pub(crate) container_arns: BTreeMap<String, String>,
    pub(crate) fault_injection: bool,
}

/// The last segment of a task's ARN.
pub(crate) fn task_id(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LaunchType {
    Ec2,
    Fargate,
    External,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TaskNetwork {
    Bridge,
    Host,
    None,
    Awsvpc(Eni),
}

/// The elastic network interface of an awsvpc task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Eni {
    pub(crate) attachment_id: String,
    pub(crate) subnet_id: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) prefix_length: u8,
    pub(crate) gateway: Ipv4Addr,
    pub(crate) mac: String,
    /// `ip-10-0-0-5.ec2.internal`: host name of the task and its line in /etc/hosts.
    pub(crate) private_dns_name: String,
    /// Which of its connections are led to the task's proxy.
    #[serde(default)]
    pub(crate) proxy: Option<Box<Proxy>>,
}

/// `pidMode` and `ipcMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SharedNamespace {
    /// One per container.
    Private,
    Host,
    /// One for all containers of the task.
    Task,
    /// `ipcMode: none`.
    None,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Volume {
    pub(crate) name: String,
    pub(crate) source: VolumeSource,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum VolumeSource {
    /// A path of the host, made when it does not exist, never removed by us.
    Host(String),
    /// A directory that lives as long as the task.
    Task,
    /// A directory of the instance that outlives tasks.
    Shared {
        autoprovision: bool,
        #[serde(default)]
        made: SharedVolume,
    },
    /// What Docker's local driver mounts, for as long as the task lives.
    Mounted(LocalMount),
    /// A directory of a file system that the instance's configuration knows by its id.
    FileSystem(FileSystemVolume),
    /// A file system of its own size, made for the task (`configuredAtLaunch`).
    Managed(ManagedVolume),
}

/// A volume that was configured when the task was launched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ManagedVolume {
    /// `vol-…`, as the control plane gave it out.
    pub(crate) id: String,
    pub(crate) size_gib: u32,
    /// A name that [`gantry_runtime::volume::Filesystem`] knows; whichever the machine can make without one.
    pub(crate) filesystem: Option<String>,
    /// It goes with the task.
    pub(crate) delete_on_termination: bool,
    pub(crate) tags: BTreeMap<String, String>,
}

/// How a shared volume is made when it is not there yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SharedVolume {
    /// A directory of ours without it.
    pub(crate) mount: Option<LocalMount>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// `efsVolumeConfiguration`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileSystemVolume {
    /// `fs-…`.
    pub(crate) id: String,
    /// Below the file system's root.
    pub(crate) root_directory: String,
    /// `fsap-…`: it decides on the directory.
    pub(crate) access_point: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ContainerDefinition {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) essential: bool,
    pub(crate) cpu_units: u64,
    pub(crate) memory_mib: Option<u64>,
    pub(crate) memory_reservation_mib: Option<u64>,
    pub(crate) entry_point: Option<Vec<String>>,
    pub(crate) command: Option<Vec<String>>,
    /// In order, overrides merged; a later name wins.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) ports: Vec<PortMapping>,
    pub(crate) mounts: Vec<MountPoint>,
    pub(crate) volumes_from: Vec<VolumeFrom>,
    pub(crate) links: Vec<Link>,
    pub(crate) depends_on: Vec<Dependency>,
    pub(crate) start_timeout_seconds: Option<u64>,
    pub(crate) stop_timeout_seconds: Option<u64>,
    pub(crate) hostname: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) working_directory: Option<String>,
    pub(crate) disable_networking: bool,
    pub(crate) privileged: bool,
    pub(crate) readonly_root_filesystem: bool,
    pub(crate) no_new_privileges: bool,
    pub(crate) dns_servers: Vec<String>,
    pub(crate) dns_search_domains: Vec<String>,
    /// (host name, address).
    pub(crate) extra_hosts: Vec<(String, String)>,
    pub(crate) pseudo_terminal: bool,
    #[serde(default)]
    pub(crate) interactive: bool,
    pub(crate) docker_labels: BTreeMap<String, String>,
    /// name → (soft, hard).
    pub(crate) ulimits: BTreeMap<String, (i64, i64)>,
    pub(crate) system_controls: BTreeMap<String, String>,
    pub(crate) linux: LinuxParameters,
    pub(crate) health_check: Option<HealthCheck>,
    pub(crate) restart_policy: Option<RestartPolicy>,
    pub(crate) log: LogConfiguration,
    /// It has secrets or environment files, or is the router of containers whose log options are secrets: variables that
    /// are asked for and held in memory only.
    #[serde(default)]
    pub(crate) has_held_environment: bool,
    /// Its image is pulled with credentials that are asked for.
    #[serde(default)]
    pub(crate) has_registry_credentials: bool,
    /// The GPUs that are its alone.
    #[serde(default)]
    pub(crate) gpu_ids: Vec<String>,
    /// It is the task's log router.
    #[serde(default)]
    pub(crate) firelens: Option<Firelens>,
}

impl ContainerDefinition {
    /// Whether making it takes values that are asked for.
    pub(crate) fn is_made_with_values(&self) -> bool {
        self.has_held_environment || self.firelens.as_ref().is_some_and(|firelens| firelens.is_fetched)
    }
}

/// `firelensConfiguration`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Firelens {
    pub(crate) kind: RouterKind,
    /// Say in each record which task it is of.
    pub(crate) metadata: bool,
    /// A file that is included, where the router finds it.
    pub(crate) config_file: Option<String>,
    /// That file is asked for when the task starts; it is in the router's image otherwise.
    #[serde(default)]
    pub(crate) is_fetched: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RouterKind {
    Fluentd,
    Fluentbit,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PortMapping {
    /// First and last container port, equal for a single port.
    pub(crate) container_ports: (u16, u16),
    /// Fixed host port; `None` is dynamic.
    pub(crate) host_port: Option<u16>,
    pub(crate) udp: bool,
    /// It was written as `containerPortRange`, and is reported as one.
    pub(crate) is_range: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MountPoint {
    pub(crate) volume: String,
    pub(crate) container_path: String,
    pub(crate) readonly: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeFrom {
    pub(crate) container: String,
    pub(crate) readonly: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    pub(crate) container: String,
    pub(crate) alias: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) container: String,
    pub(crate) condition: Condition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Condition {
    Start,
    Complete,
    Success,
    Healthy,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LinuxParameters {
    pub(crate) capabilities_add: Vec<String>,
    pub(crate) capabilities_drop: Vec<String>,
    pub(crate) devices: Vec<Device>,
    pub(crate) init_process_enabled: bool,
    pub(crate) shared_memory_mib: Option<u64>,
    pub(crate) tmpfs: Vec<Tmpfs>,
    pub(crate) max_swap_mib: Option<u64>,
    pub(crate) swappiness: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Device {
    pub(crate) host_path: String,
    pub(crate) container_path: String,
    /// Any of `r`, `w`, `m`.
    pub(crate) permissions: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tmpfs {
    pub(crate) container_path: String,
    pub(crate) size_mib: u64,
    pub(crate) options: Vec<String>,
}

/// Defaults are filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HealthCheck {
    /// Program and arguments: `CMD-SHELL` is already `/bin/sh -c`.
    pub(crate) args: Vec<String>,
    pub(crate) interval_seconds: u64,
    pub(crate) timeout_seconds: u64,
    pub(crate) retries: u32,
    pub(crate) start_period_seconds: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RestartPolicy {
    pub(crate) ignored_exit_codes: Vec<i32>,
    pub(crate) attempt_period_seconds: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogConfiguration {
    /// `awslogs`, `json-file`, `syslog` …; empty is the instance's default.
    pub(crate) driver: String,
    pub(crate) options: BTreeMap<String, String>,
    /// Options whose values are secrets: asked for and held in memory only.
    #[serde(default)]
    pub(crate) secret_options: Vec<String>,
}
