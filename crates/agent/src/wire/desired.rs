//! A desired task, read once: overrides merged, the service's defaults filled in, every value in its own type.
//!
//! The control plane has validated the definition. What does not make sense here all the same ends as
//! [`TaskSpec::refused`], so that the task stops with a reason instead of running as something else.

use gantry_api::{
    agent::{self, DesiredStatus, DesiredTask, NetworkInterface},
    ecs,
};
use gantry_domain::task_definition::{self, LocalVolumeError, Proxy, local_mount};
use gantry_runtime::volume::Filesystem;

use super::logging::{LOG_DRIVERS, hold_options_for_router, log_configuration, router, start_router_first};
use crate::{
    engine::supervisor::Desired,
    task::{
        About, Condition, ContainerDefinition, Dependency, Device, Eni, FileSystemVolume, HealthCheck, LaunchType,
        Link, LinuxParameters, ManagedVolume, MountPoint, PortMapping, RestartPolicy, Roles, SharedNamespace,
        SharedVolume, TaskNetwork, TaskSpec, Tmpfs, Volume, VolumeFrom, VolumeSource,
    },
};

const RESTART_ATTEMPT_PERIOD_SECONDS: i32 = 300;

pub(crate) fn desired(wire: DesiredTask) -> Desired {
    let stop = wire.desired_status == DesiredStatus::Stopped;
    let definition = wire.task_definition;
    let overrides = wire.overrides.container_overrides.unwrap_or_default();
    let role = |given: Option<String>, own: Option<String>| {
        given.filter(|role| !role.is_empty()).or(own).filter(|role| !role.is_empty())
    };
    let roles = Roles {
        task: role(wire.overrides.task_role_arn, definition.task_role_arn),
        execution: role(wire.overrides.execution_role_arn, definition.execution_role_arn),
    };
    let network = network(
        definition.network_mode.as_ref(),
        wire.network_interface,
        definition.proxy_configuration.as_ref(),
        &wire.task_arn,
    );
    let mut refused = network.as_ref().err().cloned();
    let mut gpu_ids = wire.gpu_ids;
    let mut containers = Vec::new();
    for mut wire_container in definition.container_definitions.unwrap_or_default() {
        let own = overrides.iter().filter(|change| change.name == wire_container.name);
        own.collect::<Vec<_>>().into_iter().for_each(|change| apply_override(&mut wire_container, change));
        let mut parsed = container(wire_container);
        parsed.gpu_ids = gpu_ids.remove(&parsed.name).unwrap_or_default();
        if !LOG_DRIVERS.contains(&parsed.log.driver.as_str()) {
            refused.get_or_insert(format!("log driver {} is not supported by this agent", parsed.log.driver));
        }
        containers.push(parsed);
    }
    start_router_first(&mut containers);
    hold_options_for_router(&mut containers);
    let mut volumes = Vec::new();
    let mut managed = wire.managed_volume;
    for wire_volume in definition.volumes.unwrap_or_default() {
        match volume(wire_volume, &mut managed) {
            Ok(volume) => volumes.push(volume),
            Err(reason) => drop(refused.get_or_insert(reason)),
        }
    }
    let task = TaskSpec {
        arn: wire.task_arn,
        cluster: wire.cluster_arn,
        family: definition.family.unwrap_or_default(),
        revision: natural(definition.revision).unwrap_or_default(),
        launch_type: match wire.launch_type.as_str() {
            "FARGATE" => LaunchType::Fargate,
            "EXTERNAL" => LaunchType::External,
            _ => LaunchType::Ec2,
        },
        network: network.unwrap_or(TaskNetwork::None),
        pid: shared(definition.pid_mode.as_ref().map(ecs::PidMode::as_str)),
        ipc: shared(definition.ipc_mode.as_ref().map(ecs::IpcMode::as_str)),
        cpu_units: wire.cpu_units.map(u64::from),
        memory_mib: wire.memory_mib.map(u64::from),
        ephemeral_storage_gib: wire.ephemeral_storage_gib.map(u64::from),
        volumes,
        containers,
        roles,
        about: About {
            group: wire.group,
            container_arns: wire.container_arns,
            fault_injection: definition.enable_fault_injection == Some(true),
        },
        refused,
    };
    Desired { task, stop }
}

fn network(
    mode: Option<&ecs::NetworkMode>,
    interface: Option<NetworkInterface>,
    proxy: Option<&ecs::ProxyConfiguration>,
    task_arn: &str,
) -> Result<TaskNetwork, String> {
    match mode.map_or("bridge", ecs::NetworkMode::as_str) {
        "bridge" => Ok(TaskNetwork::Bridge),
        "host" => Ok(TaskNetwork::Host),
        "none" => Ok(TaskNetwork::None),
        "awsvpc" => {
            let interface = interface.ok_or("the task has no network interface")?;
            let region = task_arn.split(':').nth(3).unwrap_or_default();
            Ok(TaskNetwork::Awsvpc(Eni {
                private_dns_name: private_dns_name(interface.address, region),
                attachment_id: interface.id,
                subnet_id: interface.subnet_id,
                address: interface.address,
                prefix_length: interface.prefix_length,
                gateway: interface.gateway,
                mac: interface.mac,
                proxy: proxy.map(self::proxy).transpose()?.map(Box::new),
            }))
        }
        other => Err(format!("network mode {other} is not supported by this agent")),
    }
}

fn proxy(wire: &ecs::ProxyConfiguration) -> Result<Proxy, String> {
    let pairs = wire.properties.iter().flatten();
    let pairs = pairs.map(|pair| (pair.name.as_deref().unwrap_or_default(), pair.value.as_deref().unwrap_or_default()));
    task_definition::proxy(pairs).map_err(|error| format!("proxyConfiguration {error}"))
}

/// `ip-10-0-0-5.ec2.internal`, with the region in the name everywhere but in us-east-1.
fn private_dns_name(address: std::net::Ipv4Addr, region: &str) -> String {
    let dashed = address.to_string().replace('.', "-");
    match region {
        "us-east-1" | "" => format!("ip-{dashed}.ec2.internal"),
        region => format!("ip-{dashed}.{region}.compute.internal"),
    }
}

fn shared(mode: Option<&str>) -> SharedNamespace {
    match mode {
        Some("host") => SharedNamespace::Host,
        Some("task") => SharedNamespace::Task,
        Some("none") => SharedNamespace::None,
        _ => SharedNamespace::Private,
    }
}

fn volume(wire: ecs::Volume, managed: &mut Option<agent::ManagedVolume>) -> Result<Volume, String> {
    let name = wire.name.unwrap_or_default();
    let unsupported = |what: &str| Err(format!("volume {name}: {what} volumes are not supported by this agent"));
    if wire.configured_at_launch == Some(true) {
        let managed = managed.take_if(|managed| managed.name == name);
        let managed = managed.ok_or_else(|| format!("volume {name}: it was not configured at launch"))?;
        return Ok(Volume { source: VolumeSource::Managed(managed_volume(&name, managed)?), name });
    }
    if wire.fsx_windows_file_server_volume_configuration.is_some() {
        return unsupported("FSx for Windows File Server");
    }
    if wire.s3files_volume_configuration.is_some() {
        return unsupported("S3 Files");
    }
    let source = if let Some(efs) = wire.efs_volume_configuration {
        VolumeSource::FileSystem(file_system(efs))
    } else if let Some(docker) = wire.docker_volume_configuration {
        if docker.driver.as_deref().is_some_and(|driver| !driver.is_empty() && driver != "local") {
            return unsupported("volume plug-in");
        }
        docker_volume(docker).map_err(|error| format!("volume {name}: {error} is not supported by this agent"))?
    } else {
        match wire.host.and_then(|host| host.source_path).filter(|path| !path.is_empty()) {
            Some(path) => VolumeSource::Host(path),
            None => VolumeSource::Task,
        }
    };
    Ok(Volume { name, source })
}

fn managed_volume(name: &str, wire: agent::ManagedVolume) -> Result<ManagedVolume, String> {
    let agent::ManagedVolume { id, size_gib, filesystem, delete_on_termination, tags, .. } = wire;
    // It names a file.
    if !id.strip_prefix("vol-").is_some_and(|hex| !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return Err(format!("volume {name}: {id} is not the id of a volume"));
    }
    if let Some(kind) = filesystem.as_deref().filter(|kind| Filesystem::parse(kind).is_none()) {
        return Err(format!("volume {name}: the file system {kind} is not supported by this agent"));
    }
    Ok(ManagedVolume { id, size_gib, filesystem, delete_on_termination, tags: tags.into_iter().collect() })
}

fn docker_volume(docker: ecs::DockerVolumeConfiguration) -> Result<VolumeSource, LocalVolumeError> {
    let mount = local_mount(&docker.driver_opts.unwrap_or_default())?;
    Ok(match (docker.scope, mount) {
        (Some(ecs::Scope::Shared), mount) => VolumeSource::Shared {
            autoprovision: docker.autoprovision.unwrap_or(false),
            made: SharedVolume { mount, labels: docker.labels.unwrap_or_default() },
        },
        (_, Some(mount)) => VolumeSource::Mounted(mount),
        (_, None) => VolumeSource::Task,
    })
}

fn file_system(efs: ecs::EFSVolumeConfiguration) -> FileSystemVolume {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    FileSystemVolume {
        id: efs.file_system_id.unwrap_or_default(),
        root_directory: efs.root_directory.unwrap_or_default(),
        access_point: efs.authorization_config.and_then(|authorization| given(authorization.access_point_id)),
    }
}

fn apply_override(container: &mut ecs::ContainerDefinition, change: &ecs::ContainerOverride) {
    if let Some(command) = &change.command {
        container.command = Some(command.clone());
    }
    if let Some(environment) = &change.environment {
        container.environment.get_or_insert_default().extend(environment.iter().cloned());
    }
    if let Some(files) = &change.environment_files {
        container.environment_files = Some(files.clone());
    }
    container.cpu = change.cpu.or(container.cpu);
    container.memory = change.memory.or(container.memory);
    container.memory_reservation = change.memory_reservation.or(container.memory_reservation);
}

fn container(wire: ecs::ContainerDefinition) -> ContainerDefinition {
    let security_options = wire.docker_security_options.unwrap_or_default();
    ContainerDefinition {
        name: wire.name.unwrap_or_default(),
        image: wire.image.unwrap_or_default(),
        essential: wire.essential.unwrap_or(true),
        cpu_units: natural(wire.cpu).unwrap_or_default(),
        memory_mib: natural(wire.memory),
        memory_reservation_mib: natural(wire.memory_reservation),
        entry_point: wire.entry_point,
        command: wire.command,
        environment: wire
            .environment
            .unwrap_or_default()
            .into_iter()
            .map(|pair| (pair.name.unwrap_or_default(), pair.value.unwrap_or_default()))
            .collect(),
        ports: wire.port_mappings.unwrap_or_default().into_iter().filter_map(port_mapping).collect(),
        mounts: wire.mount_points.unwrap_or_default().into_iter().map(mount_point).collect(),
        volumes_from: wire
            .volumes_from
            .unwrap_or_default()
            .into_iter()
            .map(|from| VolumeFrom {
                container: from.source_container.unwrap_or_default(),
                readonly: from.read_only.unwrap_or(false),
            })
            .collect(),
        links: wire.links.unwrap_or_default().iter().map(|link| parse_link(link)).collect(),
        depends_on: wire.depends_on.unwrap_or_default().into_iter().map(dependency).collect(),
        start_timeout_seconds: natural(wire.start_timeout),
        stop_timeout_seconds: natural(wire.stop_timeout),
        hostname: wire.hostname,
        user: wire.user,
        working_directory: wire.working_directory,
        disable_networking: wire.disable_networking.unwrap_or(false),
        privileged: wire.privileged.unwrap_or(false),
        readonly_root_filesystem: wire.readonly_root_filesystem.unwrap_or(false),
        no_new_privileges: security_options.iter().any(|option| is_no_new_privileges(option)),
        dns_servers: wire.dns_servers.unwrap_or_default(),
        dns_search_domains: wire.dns_search_domains.unwrap_or_default(),
        extra_hosts: wire
            .extra_hosts
            .unwrap_or_default()
            .into_iter()
            .map(|entry| (entry.hostname.unwrap_or_default(), entry.ip_address.unwrap_or_default()))
            .collect(),
        pseudo_terminal: wire.pseudo_terminal.unwrap_or(false),
        interactive: wire.interactive.unwrap_or(false),
        docker_labels: wire.docker_labels.unwrap_or_default(),
        ulimits: wire
            .ulimits
            .unwrap_or_default()
            .into_iter()
            .filter_map(|ulimit| {
                let soft = i64::from(ulimit.soft_limit.unwrap_or_default());
                let hard = i64::from(ulimit.hard_limit.unwrap_or_default());
                Some((ulimit.name?.as_str().to_owned(), (soft, hard)))
            })
            .collect(),
        system_controls: wire
            .system_controls
            .unwrap_or_default()
            .into_iter()
            .filter_map(|control| Some((control.namespace?, control.value.unwrap_or_default())))
            .collect(),
        linux: wire.linux_parameters.map(linux_parameters).unwrap_or_default(),
        health_check: wire.health_check.and_then(health_check),
        restart_policy: wire.restart_policy.filter(|policy| policy.enabled == Some(true)).map(restart_policy),
        log: wire.log_configuration.map(log_configuration).unwrap_or_default(),
        gpu_ids: Vec::new(),
        firelens: wire.firelens_configuration.map(router),
        has_held_environment: wire.secrets.is_some_and(|secrets| !secrets.is_empty())
            || wire.environment_files.is_some_and(|files| !files.is_empty()),
        has_registry_credentials: wire.repository_credentials.is_some(),
    }
}

fn is_no_new_privileges(option: &str) -> bool {
    matches!(option, "no-new-privileges" | "no-new-privileges:true" | "no-new-privileges=true")
}

fn port_mapping(wire: ecs::PortMapping) -> Option<PortMapping> {
    let udp = wire.protocol == Some(ecs::TransportProtocol::Udp);
    if let Some(range) = wire.container_port_range {
        let (first, last) = range.split_once('-')?;
        let container_ports = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        let ordered = container_ports.0 <= container_ports.1;
        return ordered.then_some(PortMapping { container_ports, host_port: None, udp, is_range: true });
    }
    let port = u16::try_from(wire.container_port?).ok()?;
    let host_port = wire.host_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    Some(PortMapping { container_ports: (port, port), host_port, udp, is_range: false })
}

fn mount_point(wire: ecs::MountPoint) -> MountPoint {
    MountPoint {
        volume: wire.source_volume.unwrap_or_default(),
        container_path: wire.container_path.unwrap_or_default(),
        readonly: wire.read_only.unwrap_or(false),
    }
}

fn parse_link(link: &str) -> Link {
    let (container, alias) = link.split_once(':').unwrap_or((link, link));
    Link { container: container.to_owned(), alias: alias.to_owned() }
}

fn dependency(wire: ecs::ContainerDependency) -> Dependency {
    let condition = match wire.condition {
        Some(ecs::ContainerCondition::Complete) => Condition::Complete,
        Some(ecs::ContainerCondition::Success) => Condition::Success,
        Some(ecs::ContainerCondition::Healthy) => Condition::Healthy,
        _ => Condition::Start,
    };
    Dependency { container: wire.container_name.unwrap_or_default(), condition }
}

fn linux_parameters(wire: ecs::LinuxParameters) -> LinuxParameters {
    let capabilities = wire.capabilities.unwrap_or_default();
    LinuxParameters {
        capabilities_add: capabilities.add.unwrap_or_default(),
        capabilities_drop: capabilities.drop.unwrap_or_default(),
        devices: wire.devices.unwrap_or_default().into_iter().map(device).collect(),
        init_process_enabled: wire.init_process_enabled.unwrap_or(false),
        shared_memory_mib: natural(wire.shared_memory_size).filter(|mib| *mib > 0),
        tmpfs: wire
            .tmpfs
            .unwrap_or_default()
            .into_iter()
            .map(|tmpfs| Tmpfs {
                container_path: tmpfs.container_path.unwrap_or_default(),
                size_mib: natural(tmpfs.size).unwrap_or_default(),
                options: tmpfs.mount_options.unwrap_or_default(),
            })
            .collect(),
        max_swap_mib: natural(wire.max_swap),
        swappiness: natural(wire.swappiness),
    }
}

fn device(wire: ecs::Device) -> Device {
    let host_path = wire.host_path.unwrap_or_default();
    let letters = |permission: &ecs::DeviceCgroupPermission| match permission.as_str() {
        "read" => "r",
        "write" => "w",
        "mknod" => "m",
        _ => "",
    };
    let permissions = match wire.permissions {
        Some(permissions) if !permissions.is_empty() => permissions.iter().map(letters).collect(),
        _ => "rwm".to_owned(),
    };
    Device { container_path: wire.container_path.unwrap_or_else(|| host_path.clone()), host_path, permissions }
}

/// `CMD` and `CMD-SHELL` as Docker has them, a list without either as `CMD`; `NONE` disables.
fn health_check(wire: ecs::HealthCheck) -> Option<HealthCheck> {
    let command = wire.command.unwrap_or_default();
    let (first, rest) = command.split_first()?;
    let args = match first.as_str() {
        "NONE" => return None,
        "CMD" => rest.to_vec(),
        "CMD-SHELL" => vec!["/bin/sh".to_owned(), "-c".to_owned(), rest.join(" ")],
        _ => command.clone(),
    };
    if args.is_empty() {
        return None;
    }
    Some(HealthCheck {
        args,
        interval_seconds: natural(wire.interval).unwrap_or(30).max(1),
        timeout_seconds: natural(wire.timeout).unwrap_or(5).max(1),
        retries: natural(wire.retries).map_or(3, |retries| u32::try_from(retries).unwrap_or(u32::MAX)).max(1),
        start_period_seconds: natural(wire.start_period).unwrap_or_default(),
    })
}

fn restart_policy(wire: ecs::ContainerRestartPolicy) -> RestartPolicy {
    RestartPolicy {
        ignored_exit_codes: wire.ignored_exit_codes.unwrap_or_default(),
        attempt_period_seconds: natural(wire.restart_attempt_period.or(Some(RESTART_ATTEMPT_PERIOD_SECONDS)))
            .unwrap_or_default(),
    }
}

/// A number that is not negative.
fn natural(value: Option<i32>) -> Option<u64> {
    value.and_then(|value| u64::try_from(value).ok())
}
