//! From a container definition and an image to what the runtime starts. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use gantry_runtime::{
    container::{ContainerSpec, Device, DeviceFacts, Limits, LogFile, Mount, MountSource, Namespace},
    image::{ImageConfig, Rootfs},
    network::TASK_ENDPOINT,
};

use crate::{
    firelens,
    reason::ContainerReason,
    task::{ContainerDefinition, LaunchType, RouterKind, SharedNamespace, TaskNetwork, TaskSpec},
};

const MIB: u64 = 1 << 20;
/// The kernel treats 0 and 1 as "default"; the service gives the smallest real weight.
const CPU_SHARES_MIN: u64 = 2;
const CPU_SHARES_MAX: u64 = 262_144;
/// Below this a container cannot even be set up.
const MEMORY_MIB_MIN: u64 = 6;
const SWAPPINESS_DEFAULT: u64 = 60;
const FARGATE_NOFILE: i64 = 65_535;
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Everything that was made for the container before it can be described.
pub(crate) struct Parts<'a> {
    pub(crate) id: &'a str,
    pub(crate) task_cgroup: &'a str,
    pub(crate) image: &'a ImageConfig,
    pub(crate) rootfs: Rootfs,
    pub(crate) network: Namespace,
    pub(crate) hostname: Option<String>,
    /// Volumes of the container, `volumesFrom` included.
    pub(crate) volumes: Vec<Mount>,
    /// Groups that it is a member of, for its volumes' sake.
    pub(crate) groups: Vec<u32>,
    /// Generated files of /etc.
    pub(crate) files: Vec<Mount>,
    /// Where the task's log router listens.
    pub(crate) fluent_host: Option<String>,
    pub(crate) log: LogFile,
    /// Where the container finds its credentials and metadata.
    pub(crate) endpoint: EndpointIds,
    /// Where it finds its metadata file, if it has one.
    pub(crate) metadata_file: Option<String>,
    /// Variables whose values are not written anywhere and come when the container is started.
    pub(crate) held_names: BTreeSet<&'a str>,
    /// The most open files that this host can grant.
    pub(crate) nofile_max: i64,
}

/// The ids under which a container asks for what is its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct EndpointIds {
    pub(crate) container: String,
    /// Of a task with a task role.
    pub(crate) credentials: Option<String>,
}

/// Describes container `definition` of `task`.
pub(crate) fn container_spec(
    task: &TaskSpec,
    definition: &ContainerDefinition,
    parts: Parts<'_>,
) -> Result<ContainerSpec, ContainerReason> {
    let args = args(definition, parts.image);
    if args.is_empty() {
        return Err(ContainerReason::CannotCreate("no command specified".to_owned()));
    }
    let linux = &definition.linux;
    Ok(ContainerSpec {
        id: parts.id.to_owned(),
        task_cgroup: parts.task_cgroup.to_owned(),
        readonly_rootfs: definition.readonly_root_filesystem,
        args,
        env: environment(task, definition, &parts),
        held_env: Default::default(),
        working_dir: first_set([definition.working_directory.as_deref(), Some(&parts.image.working_dir)], "/"),
        user: first_set([definition.user.as_deref(), Some(&parts.image.user)], ""),
        hostname: parts.hostname,
        network: parts.network,
        pid: namespace(task.pid),
        ipc: namespace(task.ipc),
        mounts: mounts(definition, parts.volumes, parts.files),
        rootfs: parts.rootfs,
        limits: limits(definition),
        privileged: definition.privileged,
        capabilities_add: linux.capabilities_add.clone(),
        capabilities_drop: linux.capabilities_drop.clone(),
        ulimits: ulimits(task, definition, parts.nofile_max),
        sysctls: definition.system_controls.clone(),
        devices: linux.devices.iter().map(device).collect(),
        hooks: Vec::new(),
        additional_groups: parts.groups,
        shm_bytes: linux.shared_memory_mib.map(|mib| mib * MIB),
        init_process: linux.init_process_enabled,
        no_new_privileges: definition.no_new_privileges,
        terminal: definition.pseudo_terminal,
        stdin_open: definition.interactive,
        log: parts.log,
        labels: labels(task, definition),
    })
}

/// A container that does nothing but hold namespaces.
pub(crate) fn pause_spec(id: String, rootfs: Rootfs, task_cgroup: &str) -> ContainerSpec {
    ContainerSpec {
        id,
        task_cgroup: task_cgroup.to_owned(),
        rootfs,
        readonly_rootfs: true,
        args: Vec::new(),
        env: Vec::new(),
        held_env: Default::default(),
        working_dir: "/".to_owned(),
        user: String::new(),
        hostname: None,
        network: Namespace::Private,
        pid: Namespace::Private,
        ipc: Namespace::Private,
        mounts: Vec::new(),
        limits: Limits { cpu_shares: Some(CPU_SHARES_MIN), ..Limits::default() },
        privileged: false,
        capabilities_add: Vec::new(),
        capabilities_drop: vec!["ALL".to_owned()],
        ulimits: BTreeMap::new(),
        sysctls: BTreeMap::new(),
        devices: Vec::new(),
        hooks: Vec::new(),
        additional_groups: Vec::new(),
        shm_bytes: None,
        init_process: true,
        no_new_privileges: true,
        terminal: false,
        stdin_open: false,
        log: LogFile { path: PathBuf::from("/dev/null"), max_bytes: None, max_files: 1 },
        labels: BTreeMap::new(),
    }
}

/// Docker's rule: an entry point of the definition drops the image's command as well.
fn args(definition: &ContainerDefinition, image: &ImageConfig) -> Vec<String> {
    let command = definition.command.as_ref().filter(|command| !command.is_empty());
    let (entry_point, command) = match &definition.entry_point {
        Some(entry_point) if !entry_point.is_empty() => (entry_point, command.cloned().unwrap_or_default()),
        _ => (&image.entrypoint, command.unwrap_or(&image.cmd).clone()),
    };
    entry_point.iter().cloned().chain(command).collect()
}

/// Lowest precedence first: image, definition with overrides, platform. The region gives way to the task's own.
fn environment(task: &TaskSpec, definition: &ContainerDefinition, parts: &Parts<'_>) -> Vec<String> {
    let mut variables = Variables::default();
    variables.set("PATH", DEFAULT_PATH);
    if let Some(hostname) = &parts.hostname {
        variables.set("HOSTNAME", hostname);
    }
    if definition.pseudo_terminal {
        variables.set("TERM", "xterm");
    }
    for variable in &parts.image.env {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        variables.set(name, value);
    }
    for (name, value) in &definition.environment {
        variables.set(name, value);
    }
    variables.set(
        "AWS_EXECUTION_ENV",
        match task.launch_type {
            LaunchType::Ec2 => "AWS_ECS_EC2",
            LaunchType::Fargate => "AWS_ECS_FARGATE",
            LaunchType::External => "AWS_ECS_EXTERNAL",
        },
    );
    for (name, path) in
        [("ECS_CONTAINER_METADATA_URI", "v3"), ("ECS_CONTAINER_METADATA_URI_V4", "v4"), ("ECS_AGENT_URI", "api")]
    {
        variables.set(name, &format!("http://{TASK_ENDPOINT}/{path}/{}", parts.endpoint.container));
    }
    if let Some(id) = &parts.endpoint.credentials {
        variables.set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", &format!("/v2/credentials/{id}"));
    }
    if let Some(path) = &parts.metadata_file {
        variables.set("ECS_CONTAINER_METADATA_FILE", path);
    }
    if let Some(host) = &parts.fluent_host {
        variables.set("FLUENT_HOST", host);
        variables.set("FLUENT_PORT", &firelens::PORT.to_string());
    }
    if definition.firelens.as_ref().is_some_and(|firelens| firelens.kind == RouterKind::Fluentd) {
        // Its image gives up root otherwise, and then could not open the socket.
        variables.set("FLUENT_UID", "0");
    }
    let is_given = |name: &str| variables.has(name) || parts.held_names.contains(name);
    if !is_given("AWS_REGION") && !is_given("AWS_DEFAULT_REGION") {
        variables.set("AWS_REGION", task.region());
        variables.set("AWS_DEFAULT_REGION", task.region());
    }
    variables.0.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// Variables in the order of their first appearance.
#[derive(Default)]
struct Variables(Vec<(String, String)>);

impl Variables {
    fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }
}

fn limits(definition: &ContainerDefinition) -> Limits {
    let memory_mib = definition.memory_mib.filter(|mib| *mib > 0).map(|mib| mib.max(MEMORY_MIB_MIN));
    let max_swap_mib = definition.linux.max_swap_mib;
    Limits {
        cpu_shares: Some(definition.cpu_units.clamp(CPU_SHARES_MIN, CPU_SHARES_MAX)),
        cpu_quota_units: None,
        memory_bytes: memory_mib.map(|mib| mib * MIB),
        memory_reservation_bytes: definition.memory_reservation_mib.filter(|mib| *mib > 0).map(|mib| mib * MIB),
        memory_swap_bytes: memory_mib.zip(max_swap_mib).map(|(memory, swap)| (memory + swap) * MIB),
        swappiness: max_swap_mib.map(|_| definition.linux.swappiness.unwrap_or(SWAPPINESS_DEFAULT)),
        pids: None,
    }
}

fn ulimits(task: &TaskSpec, definition: &ContainerDefinition, nofile_max: i64) -> BTreeMap<String, (i64, i64)> {
    let mut ulimits = definition.ulimits.clone();
    if task.launch_type == LaunchType::Fargate {
        // A default must not keep a task from starting; what a definition asks for is granted or refused.
        let limit = FARGATE_NOFILE.min(nofile_max);
        ulimits.entry("nofile".to_owned()).or_insert((limit, limit));
    }
    ulimits
}

fn device(device: &crate::task::Device) -> Device {
    Device {
        host_path: PathBuf::from(&device.host_path),
        container_path: device.container_path.clone(),
        permissions: device.permissions.clone(),
        facts: DeviceFacts::default(),
    }
}

/// Generated files first, so that a volume may cover them; parents before children.
fn mounts(definition: &ContainerDefinition, volumes: Vec<Mount>, files: Vec<Mount>) -> Vec<Mount> {
    let tmpfs = definition.linux.tmpfs.iter().map(|tmpfs| Mount {
        source: MountSource::Tmpfs { bytes: tmpfs.size_mib * MIB, options: tmpfs.options.clone() },
        target: tmpfs.container_path.clone(),
        readonly: false,
    });
    let mut own: Vec<Mount> = volumes.into_iter().chain(tmpfs).collect();
    own.sort_by_key(|mount| mount.target.split('/').filter(|part| !part.is_empty()).count());
    let files = files.into_iter().filter(|file| own.iter().all(|mount| mount.target != file.target));
    files.collect::<Vec<_>>().into_iter().chain(own).collect()
}

fn namespace(mode: SharedNamespace) -> Namespace {
    match mode {
        SharedNamespace::Host => Namespace::Host,
        // The task's shared one is entered when the container starts: its path lives as long as the pause container.
        SharedNamespace::Private | SharedNamespace::Task | SharedNamespace::None => Namespace::Private,
    }
}

pub(crate) fn labels(task: &TaskSpec, definition: &ContainerDefinition) -> BTreeMap<String, String> {
    let own = [
        ("task-arn", task.arn.clone()),
        ("container-name", definition.name.clone()),
        ("task-definition-family", task.family.clone()),
        ("task-definition-version", task.revision.to_string()),
        ("cluster", task.cluster.clone()),
    ];
    let mut labels = definition.docker_labels.clone();
    labels.extend(own.into_iter().map(|(name, value)| (format!("com.amazonaws.ecs.{name}"), value)));
    labels
}

/// The container's host name: its own, the interface's, or the start of its id as Docker has it. `None` in host mode.
pub(crate) fn hostname(task: &TaskSpec, definition: &ContainerDefinition, id: &str) -> Option<String> {
    match (&definition.hostname, &task.network) {
        (Some(hostname), _) if !hostname.is_empty() => Some(hostname.clone()),
        (_, TaskNetwork::Awsvpc(eni)) => Some(eni.private_dns_name.clone()),
        (_, TaskNetwork::Host) => None,
        (_, TaskNetwork::Bridge | TaskNetwork::None) => Some(id.chars().take(12).collect()),
    }
}

fn first_set<'a>(candidates: impl IntoIterator<Item = Option<&'a str>>, otherwise: &str) -> String {
    candidates.into_iter().flatten().find(|text| !text.is_empty()).unwrap_or(otherwise).to_owned()
}
