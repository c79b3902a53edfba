//! What the service fills in at registration, so that the echo, a later describe and the agent agree.

use gantry_api::ecs::{
    ContainerDefinition, HostVolumeProperties, NetworkMode, PortMapping, RegisterTaskDefinitionRequest, TaskDefinition,
    TransportProtocol, Volume,
};
use gantry_domain::task_definition::{cpu_units, memory_mib};

/// The document as asked for, before anything is filled in.
pub(super) fn document(request: RegisterTaskDefinitionRequest) -> TaskDefinition {
    TaskDefinition {
        container_definitions: request.container_definitions,
        family: request.family,
        task_role_arn: request.task_role_arn.filter(|role| !role.is_empty()),
        execution_role_arn: request.execution_role_arn.filter(|role| !role.is_empty()),
        network_mode: request.network_mode,
        volumes: request.volumes,
        placement_constraints: request.placement_constraints,
        requires_compatibilities: request.requires_compatibilities.filter(|list| !list.is_empty()),
        cpu: request.cpu,
        memory: request.memory,
        pid_mode: request.pid_mode,
        ipc_mode: request.ipc_mode,
        proxy_configuration: request.proxy_configuration,
        inference_accelerators: request.inference_accelerators,
        ephemeral_storage: request.ephemeral_storage,
        runtime_platform: request.runtime_platform,
        enable_fault_injection: request.enable_fault_injection,
        trusted_execution_configuration: request.trusted_execution_configuration,
        ..TaskDefinition::default()
    }
}

/// Fills in a document that has passed its checks.
pub(super) fn fill(document: &mut TaskDefinition) {
    // "1 vCPU" and "2GB" come back as decimal numbers.
    normalise(&mut document.cpu, |text| cpu_units(text).ok());
    normalise(&mut document.memory, |text| memory_mib(text).ok());
    document.volumes.get_or_insert_default().iter_mut().for_each(fill_volume);
    document.placement_constraints.get_or_insert_default();
    let mode = document.network_mode.clone().unwrap_or(NetworkMode::Bridge);
    for container in document.container_definitions.iter_mut().flatten() {
        fill_container(container, &mode);
    }
}

fn normalise(text: &mut Option<String>, parse: fn(&str) -> Option<u32>) {
    if let Some(value) = text.as_deref().and_then(parse) {
        *text = Some(value.to_string());
    }
}

fn fill_volume(volume: &mut Volume) {
    let special = volume.docker_volume_configuration.is_some()
        || volume.efs_volume_configuration.is_some()
        || volume.s3files_volume_configuration.is_some()
        || volume.fsx_windows_file_server_volume_configuration.is_some()
        || volume.configured_at_launch == Some(true);
    if volume.host.is_none() && !special {
        volume.host = Some(HostVolumeProperties::default());
    }
}

fn fill_container(container: &mut ContainerDefinition, mode: &NetworkMode) {
    container.cpu.get_or_insert(0);
    container.essential.get_or_insert(true);
    container.environment.get_or_insert_default();
    container.mount_points.get_or_insert_default();
    container.volumes_from.get_or_insert_default();
    container.system_controls.get_or_insert_default();
    for mapping in container.port_mappings.get_or_insert_default() {
        fill_port(mapping, mode);
    }
    // "Not set", spelt as a number.
    container.memory = container.memory.filter(|&mib| mib > 0);
    container.memory_reservation = container.memory_reservation.filter(|&mib| mib > 0);
}

fn fill_port(mapping: &mut PortMapping, mode: &NetworkMode) {
    mapping.protocol.get_or_insert(TransportProtocol::Tcp);
    if mapping.container_port_range.is_some() {
        return;
    }
    let same = matches!(mode, NetworkMode::Awsvpc | NetworkMode::Host);
    let default = if same { mapping.container_port.unwrap_or(0) } else { 0 };
    mapping.host_port.get_or_insert(default);
}
