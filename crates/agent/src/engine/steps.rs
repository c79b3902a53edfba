//! The steps of a plan: all I/O, no decisions about what comes next. Each may be repeated.

use std::{fs, net::IpAddr, sync::Arc, time::Duration};

use gantry_api::{agent::RoleKind, task_values::TaskValues};
use gantry_domain::reason::RoleNotAssumed;
use gantry_runtime::{
    container::{
        ContainerError, ContainerSpec, ExecRequest, HeldEnv, LogFile, Mount, MountSource, Namespace, Started,
        TaskLimits,
    },
    image::Image,
    network::{Interface, NetworkError, NetworkRequest, Publish},
};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::state::{ContainerNetwork, Event, Exit, Provision};
use crate::{
    container_spec::{EndpointIds, Parts, container_spec, hostname, pause_spec},
    endpoint::{self, metadata_file},
    etc_files, firelens, gpus,
    held_values::held_environment,
    host::Host,
    logs::log_file_of,
    managed_volumes, ports,
    reason::{ContainerReason, chain},
    record::blocking,
    task::{ContainerDefinition, SharedNamespace, TaskNetwork, TaskSpec},
    volume_files,
    volumes::{self, Places, VolumeMount, volume_mounts},
};

/// How long a taken port is waited for while stopped tasks are taken apart.
const PORT_WAIT: Duration = Duration::from_secs(10);
/// How many blocks of ports are tried for a container's port ranges.
const RANGE_ATTEMPTS: usize = 64;
/// Between two looks at a container that the runtime could not be asked about.
const WAIT_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Task cgroup, managed volume and, for awsvpc, the task's namespace; the first credentials of the task's roles; and of a
/// task none of whose containers was started yet the values that it refers to, so that one that does not get them has not
/// begun.
pub(crate) async fn provision(host: &Arc<Host>, task: &TaskSpec, is_new: bool) -> Result<Provision, ContainerReason> {
    if let Some(reason) = task.refused.clone().or_else(|| refused_here(host, task)) {
        return Err(ContainerReason::ResourceInitialization(reason));
    }
    if is_new && task.has_values() {
        host.values.of(task).await?;
    }
    let limits = TaskLimits {
        cpu_units: task.cpu_units,
        memory_bytes: task.memory_mib.map(|mib| mib << 20),
        pids: host.config.task_pids_limit,
    };
    let cgroup = async {
        let created = host.runtime.containers.create_task_cgroup(task.id(), &limits).await;
        created.map_err(|error| {
            ContainerReason::ResourceInitialization(format!(
                "resource cannot be initialized for task {}: {}",
                task.arn,
                chain(&error)
            ))
        })
    };
    let namespace = async {
        let TaskNetwork::Awsvpc(eni) = &task.network else { return Ok(None) };
        let request = NetworkRequest::Awsvpc(Interface {
            subnet_id: eni.subnet_id.clone(),
            address: eni.address,
            prefix_length: eni.prefix_length,
            gateway: eni.gateway,
            mac: eni.mac.clone(),
            proxy: eni.proxy.as_deref().cloned(),
        });
        let created = host.runtime.networks.create(task.id(), &request).await;
        let namespace = created.map_err(|error| ContainerReason::from_network(&error))?;
        endpoint::open(host, &task.arn, Some(task.id()))
            .await
            .map_err(|error| ContainerReason::from_network(&error))?;
        Ok(Some(namespace))
    };
    let volume = managed_volumes::attach(host, task);
    let (cgroup, namespace, (), ()) = tokio::try_join!(cgroup, namespace, roles(host, task), volume)?;
    if task.network == TaskNetwork::Host {
        open_on_host(host, task).await?;
    }
    Ok(Provision { cgroup, namespace })
}

/// Nothing starts before the task can act in its roles. The control plane gives credentials with the task.
async fn roles(host: &Host, task: &TaskSpec) -> Result<(), ContainerReason> {
    for (role, kind) in [(&task.roles.task, RoleKind::Task), (&task.roles.execution, RoleKind::Execution)] {
        let Some(role) = role else { continue };
        host.credentials.first(&task.arn, kind).await.map_err(|_| {
            let role_arn = match role.starts_with("arn:") {
                true => role.clone(),
                false => format!("arn:aws:iam::{}:role/{role}", host.config.account),
            };
            ContainerReason::ResourceInitialization(RoleNotAssumed::Task(role_arn).to_string())
        })?;
    }
    Ok(())
}

/// One listener serves all tasks in host mode. Another Gantry on the same machine may have it; a task without a role can
/// do without.
async fn open_on_host(host: &Arc<Host>, task: &TaskSpec) -> Result<(), ContainerReason> {
    match endpoint::open(host, &task.arn, None).await {
        Err(error) if task.roles.task.is_some() => Err(ContainerReason::ResourceInitialization(chain(&error))),
        Err(error) => {
            warn!(task = task.id(), error = chain(&error), "a task in host mode has no metadata");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// What this instance's configuration forbids. Placement avoids it, but StartTask and older reservations may come.
fn refused_here(host: &Host, task: &TaskSpec) -> Option<String> {
    let forbidden = |definition: &&ContainerDefinition| definition.privileged && host.config.disable_privileged;
    let container = task.containers.iter().find(forbidden)?;
    Some(format!("container {} is privileged, which this container instance does not allow", container.name))
}

/// The network namespace of a container, with its ports published.
pub(crate) async fn network(
    host: &Arc<Host>,
    task: &TaskSpec,
    index: usize,
    id: &str,
    provision: Option<&Provision>,
) -> Result<ContainerNetwork, ContainerReason> {
    let definition = &task.containers[index];
    let request = match &task.network {
        _ if definition.disable_networking => NetworkRequest::None,
        TaskNetwork::None => NetworkRequest::None,
        TaskNetwork::Bridge => NetworkRequest::Bridge,
        TaskNetwork::Host => {
            return Ok(ContainerNetwork {
                namespace: Namespace::Host,
                address: None,
                bindings: ports::unpublished_bindings(task, definition),
            });
        }
        TaskNetwork::Awsvpc(eni) => {
            let namespace = provision
                .and_then(|provision| provision.namespace.as_ref())
                .ok_or_else(|| ContainerReason::Networking("the task has no network namespace".to_owned()))?;
            return Ok(ContainerNetwork {
                namespace: Namespace::Path(namespace.path.clone()),
                address: Some(IpAddr::V4(eni.address)),
                bindings: ports::unpublished_bindings(task, definition),
            });
        }
    };
    let _turn = host.starts.acquire().await;
    let namespace =
        host.runtime.networks.create(id, &request).await.map_err(|error| ContainerReason::from_network(&error))?;
    if request == NetworkRequest::Bridge {
        endpoint::open(host, &task.arn, Some(id)).await.map_err(|error| ContainerReason::from_network(&error))?;
    }
    let bindings = if definition.ports.is_empty() || request == NetworkRequest::None {
        Vec::new()
    } else {
        let published = publish(host, id, &definition.ports).await;
        ports::bindings(&definition.ports, &published.map_err(|error| ContainerReason::from_network(&error))?)
    };
    Ok(ContainerNetwork { namespace: Namespace::Path(namespace.path), address: namespace.address, bindings })
}

/// Publishes, trying other blocks for ranges, and waiting for a fixed port that a stopped task is about to free.
async fn publish(host: &Host, id: &str, mappings: &[crate::task::PortMapping]) -> Result<Vec<Publish>, NetworkError> {
    let fixed = |port: u16| mappings.iter().any(|mapping| mapping.host_port == Some(port));
    let deadline = tokio::time::Instant::now() + PORT_WAIT;
    let mut blocks = 0;
    loop {
        let requests = ports::requests(mappings, host.take_range(ports::range_size(mappings)));
        match host.runtime.networks.publish(id, &requests).await {
            Err(NetworkError::PortTaken { port }) if fixed(port) => {
                let ended = tokio::time::timeout_at(deadline, host.teardowns.one_ended()).await;
                if !matches!(ended, Ok(true)) {
                    return Err(NetworkError::PortTaken { port });
                }
            }
            Err(NetworkError::PortTaken { .. }) if blocks < RANGE_ATTEMPTS => blocks += 1,
            other => return other,
        }
    }
}

/// What [`create`] needs of the task's state.
pub(crate) struct CreateInput {
    pub(crate) id: String,
    pub(crate) image: Image,
    pub(crate) network: ContainerNetwork,
    pub(crate) cgroup: String,
    /// Addresses of linked containers with their names.
    pub(crate) links: Vec<(IpAddr, Vec<String>)>,
    pub(crate) endpoint: EndpointIds,
    /// Where the task's log router listens, for a container that sends to it.
    pub(crate) fluent_host: Option<String>,
}

/// Root filesystem, volumes, generated files, log stream; the container as the runtime wants it described.
pub(crate) async fn create(
    host: &Host,
    task: &TaskSpec,
    index: usize,
    input: CreateInput,
) -> Result<Box<ContainerSpec>, ContainerReason> {
    let definition = &task.containers[index];
    let values = match definition.is_made_with_values() {
        true => host.values.of(task).await?,
        false => Arc::default(),
    };
    let _in_use = host.image_use.read().await;
    let hostname = hostname(task, definition, &input.id);
    let rootfs = async {
        let prepared = host.runtime.images.prepare_rootfs(&input.id, &input.image).await;
        prepared.map_err(|error| ContainerReason::from_create(&error))
    };
    let volumes = prepare_volumes(host, task, index, &input.image);
    let files = write_etc_files(host, task, index, &input, hostname.as_deref());
    let router = write_router(host, task, index, &values);
    let metadata = async {
        let begun = metadata_file::begin(host, task, index, &input.id).await;
        begun.map_err(|error| ContainerReason::CannotCreate(chain(&error)))
    };
    let stream = host.logs.prepare(task, index, &input.id);
    let pause =
        async { if task.has_pause() { start_pause(host, task, &input.image, &input.cgroup).await } else { Ok(()) } };
    let (rootfs, volumes, mut files, router, metadata, (), ()) =
        tokio::try_join!(rootfs, volumes, files, router, metadata, stream, pause)?;
    let groups = volumes::groups(&volumes);
    let mut volumes: Vec<Mount> = volumes.iter().map(VolumeMount::mount).collect();
    files.extend(router);
    let metadata_file = metadata.as_ref().map(|_| metadata_file::path(&input.id));
    volumes.extend(metadata);
    let held = held_environment(task, index, &values);
    let parts = Parts {
        id: &input.id,
        task_cgroup: &input.cgroup,
        image: &input.image.config,
        rootfs,
        network: input.network.namespace,
        hostname,
        volumes,
        groups,
        files,
        fluent_host: input.fluent_host,
        log: log_of(host, task, index, &input.id),
        endpoint: input.endpoint,
        metadata_file,
        held_names: held.iter().map(|(name, _)| name.as_str()).collect(),
        nofile_max: host.nofile_max,
    };
    let mut spec = container_spec(task, definition, parts)?;
    gpus::give(&host.config, &definition.gpu_ids, &mut spec).await?;
    Ok(Box::new(spec))
}

fn log_of(host: &Host, task: &TaskSpec, index: usize, id: &str) -> LogFile {
    log_file_of(&task.containers[index].log, task.launch_type, host.logs.file(id))
}

async fn prepare_volumes(
    host: &Host,
    task: &TaskSpec,
    index: usize,
    image: &Image,
) -> Result<Vec<VolumeMount>, ContainerReason> {
    let dirs = host.dirs.volumes(task.id());
    let places = Places { dirs: &dirs, file_systems: &host.file_systems };
    let mut volumes = volume_mounts(task, index, &image.config.volumes, places)?;
    for volume in &mut volumes {
        volume_files::prepare(host, &dirs, image, volume).await?;
    }
    Ok(volumes)
}

/// What a log router is configured by.
async fn write_router(
    host: &Host,
    task: &TaskSpec,
    index: usize,
    values: &TaskValues,
) -> Result<Vec<Mount>, ContainerReason> {
    let definition = &task.containers[index];
    let Some(firelens) = &definition.firelens else { return Ok(Vec::new()) };
    let generated = firelens::configuration(task, definition, firelens, &host.config.instance_id);
    let generated = generated.map_err(|error| {
        ContainerReason::ResourceInitialization(format!("unable to generate firelens config: {error}"))
    })?;
    let fetched = values.containers.get(&definition.name).and_then(|own| own.router_configuration.clone());
    if firelens.is_fetched && fetched.is_none() {
        let missing = "unable to download firelens s3 config file: the control plane does not give it";
        return Err(ContainerReason::ResourceInitialization(missing.to_owned()));
    }
    let (directory, kind) = (host.dirs.firelens(task.id()), firelens.kind);
    let written = blocking(move || firelens::write(&directory, kind, &generated, fetched.as_deref())).await;
    written.map_err(|error| ContainerReason::CannotCreate(chain(&error)))
}

async fn write_etc_files(
    host: &Host,
    task: &TaskSpec,
    index: usize,
    input: &CreateInput,
    hostname: Option<&str>,
) -> Result<Vec<Mount>, ContainerReason> {
    let definition = &task.containers[index];
    let dir = host.dirs.etc(&input.id);
    let own = input.network.address.zip(hostname);
    let links: Vec<(IpAddr, Vec<&str>)> =
        input.links.iter().map(|(address, names)| (*address, names.iter().map(String::as_str).collect())).collect();
    let from_host = Host::files();
    let mut files = vec![
        ("hosts", etc_files::hosts(task, definition, &from_host, own, &links)),
        ("resolv.conf", etc_files::resolv_conf(task, definition, &from_host)),
    ];
    if let Some(hostname) = hostname {
        files.push(("hostname", format!("{hostname}\n")));
    }
    let mounts = files
        .iter()
        .map(|(name, _)| Mount {
            source: MountSource::Bind(dir.join(name)),
            target: format!("/etc/{name}"),
            readonly: definition.readonly_root_filesystem,
        })
        .collect();
    let written = blocking(move || {
        fs::create_dir_all(&dir)?;
        files.iter().try_for_each(|(name, text)| fs::write(dir.join(name), text))
    });
    written.await.map_err(|error| ContainerReason::CannotCreate(chain(&error)))?;
    Ok(mounts)
}

/// Executes the container, in the task's own namespaces where it has some.
pub(crate) async fn start(
    host: &Host,
    task: &TaskSpec,
    index: usize,
    mut spec: ContainerSpec,
) -> Result<Started, ContainerReason> {
    let definition = &task.containers[index];
    if definition.has_held_environment {
        let held = held_environment(task, index, &*host.values.of(task).await?);
        spec.held_env = HeldEnv(held.into_iter().map(|(name, value)| format!("{name}={value}")).collect());
    }
    let containers = &host.runtime.containers;
    let _turn = host.starts.acquire().await;
    let shared = async |kind: &str| {
        let path = containers.namespace_path(&task.pause_id(), kind).await;
        path.map(Namespace::Path).map_err(|error| ContainerReason::from_start(&error))
    };
    if task.pid == SharedNamespace::Task {
        spec.pid = shared("pid").await?;
    }
    if task.ipc == SharedNamespace::Task {
        spec.ipc = shared("ipc").await?;
    }
    containers.start(&spec).await.map_err(|error| ContainerReason::from_start(&error))
}

/// Starts the container that holds the task's namespaces: nothing but an init, on the image of whichever container
/// comes first. Its end would be the end of every process in its pid namespace, so no container of the task can be it.
async fn start_pause(host: &Host, task: &TaskSpec, image: &Image, cgroup: &str) -> Result<(), ContainerReason> {
    let id = task.pause_id();
    let rootfs = host.runtime.images.prepare_rootfs(&id, image).await;
    let rootfs = rootfs.map_err(|error| ContainerReason::from_create(&error))?;
    let started = host.runtime.containers.start(&pause_spec(id, rootfs, cgroup)).await;
    started.map(drop).map_err(|error| ContainerReason::from_start(&error))
}

/// Waits for the container's end.
pub(crate) async fn wait(host: &Host, id: &str) -> Event {
    loop {
        match host.runtime.containers.wait(id).await {
            Ok(record) => return Event::Exited(Exit::Recorded(record)),
            Err(ContainerError::NotRunning { .. }) => {
                return Event::Exited(Exit::Lost(ContainerReason::Vanished));
            }
            Err(error) => {
                warn!(container = id, %error, "container could not be waited for; trying again");
                tokio::time::sleep(WAIT_AGAIN_AFTER).await;
            }
        }
    }
}

/// Runs the health check once.
pub(crate) async fn probe(host: &Host, task: &TaskSpec, index: usize, id: &str) -> Event {
    let Some(check) = &task.containers[index].health_check else {
        return Event::Probed { exit_code: None, output: String::new() };
    };
    let limit = Duration::from_secs(check.timeout_seconds);
    let request = ExecRequest { args: check.args.clone(), user: String::new(), timeout: limit };
    // The runtime kills the probe at its time-out; ours is for a runtime that does not answer.
    match timeout(limit + Duration::from_secs(5), host.runtime.containers.exec(id, &request)).await {
        Ok(Ok(outcome)) => Event::Probed { exit_code: outcome.exit_code, output: outcome.output },
        Ok(Err(error)) => Event::Probed { exit_code: None, output: chain(&error) },
        Err(_) => Event::Probed { exit_code: None, output: "health check did not return".to_owned() },
    }
}

/// Sends a signal. A container that is already gone is no error: its end is on the way.
pub(crate) async fn signal(host: &Host, id: &str, signal: i32) {
    match host.runtime.containers.signal(id, signal).await {
        Ok(()) => debug!(container = id, signal, "signalled"),
        Err(ContainerError::NotRunning { .. }) => {}
        Err(error) => warn!(container = id, signal, %error, "signal was not delivered"),
    }
}
