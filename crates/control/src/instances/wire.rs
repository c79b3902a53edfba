//! A container instance as clients see it.

use std::collections::BTreeSet;

use gantry_api::ecs;

use crate::{
    keys::InstanceKey,
    launch::free_gpus,
    records::{InstanceRecord, RegisteredResources},
    tags,
    tasks::wire::time,
    view::Host,
};

/// What `include` asks for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Include {
    pub(crate) tags: bool,
    pub(crate) health: bool,
}

/// The instance on the wire.
pub(crate) fn instance(
    key: &InstanceKey,
    host: &Host,
    record: &InstanceRecord,
    include: Include,
) -> ecs::ContainerInstance {
    let counts = host.counts();
    let count = |count: u32| Some(i32::try_from(count).unwrap_or(i32::MAX));
    ecs::ContainerInstance {
        container_instance_arn: Some(key.arn()),
        ec2_instance_id: record.ec2_instance_id.clone(),
        capacity_provider_name: record.capacity_provider.clone(),
        version: Some(record.version),
        version_info: Some(record.version_info.clone().unwrap_or_default()),
        remaining_resources: Some(remaining(host, &record.resources)),
        registered_resources: Some(resources(&record.resources)),
        status: Some(record.status.as_str().to_owned()),
        agent_connected: Some(record.agent_connected),
        running_tasks_count: count(counts.running()),
        pending_tasks_count: count(counts.pending()),
        attributes: Some(record.all_attributes().map(|(name, value)| attribute(name, value)).collect()),
        registered_at: Some(time(record.registered_at)),
        attachments: Some(Vec::new()),
        tags: Some(if include.tags { tags::wire(&record.tags) } else { Vec::new() }),
        gpu_devices: (!record.resources.gpus.is_empty()).then(|| gpu_devices(host, &record.resources)),
        health_status: include.health.then(|| health(record)),
        ..Default::default()
    }
}

fn attribute(name: &str, value: Option<&str>) -> ecs::Attribute {
    ecs::Attribute { name: Some(name.to_owned()), value: value.map(str::to_owned), ..Default::default() }
}

fn resources(of: &RegisteredResources) -> Vec<ecs::Resource> {
    list(of.cpu, of.memory, &of.tcp, &of.udp, (!of.gpus.is_empty()).then(|| of.gpus.clone()))
}

/// What tasks left of it: numbers less, port lists more.
fn remaining(host: &Host, of: &RegisteredResources) -> Vec<ecs::Resource> {
    let with = |own: &BTreeSet<u16>, taken: &crate::view::PortCounts| own.iter().chain(taken.keys()).copied().collect();
    list(
        of.cpu.saturating_sub(host.cpu_reserved()),
        of.memory.saturating_sub(host.memory_reserved()),
        &with(&of.tcp, host.tcp_ports()),
        &with(&of.udp, host.udp_ports()),
        (!of.gpus.is_empty()).then(|| free_gpus(host, of).cloned().collect()),
    )
}

/// Each GPU with the containers on it: one at most, for they are not shared.
fn gpu_devices(host: &Host, of: &RegisteredResources) -> Vec<ecs::GpuDevice> {
    let device = |id: &String| {
        let containers = host.gpus().get(id).copied().unwrap_or(0);
        let mode = if containers > 0 { ecs::GpuSharingMode::Dedicated } else { ecs::GpuSharingMode::Idle };
        ecs::GpuDevice {
            gpu_id: Some(id.clone()),
            sharing_mode: Some(mode),
            container_count: Some(i32::try_from(containers).unwrap_or(i32::MAX)),
            ..Default::default()
        }
    };
    of.gpus.iter().map(device).collect()
}

/// `gpus` of an instance that has any: an instance all of whose GPUs are taken still says so.
fn list(
    cpu: u32,
    memory: u32,
    tcp: &BTreeSet<u16>,
    udp: &BTreeSet<u16>,
    gpus: Option<Vec<String>>,
) -> Vec<ecs::Resource> {
    let texts = |ports: &BTreeSet<u16>| ports.iter().map(u16::to_string).collect();
    let mut list =
        vec![integer("CPU", cpu), integer("MEMORY", memory), set("PORTS", texts(tcp)), set("PORTS_UDP", texts(udp))];
    list.extend(gpus.map(|gpus| set("GPU", gpus)));
    list
}

fn integer(name: &str, value: u32) -> ecs::Resource {
    ecs::Resource { integer_value: Some(i32::try_from(value).unwrap_or(i32::MAX)), ..resource(name, "INTEGER") }
}

fn set(name: &str, values: Vec<String>) -> ecs::Resource {
    ecs::Resource { string_set_value: Some(values), ..resource(name, "STRINGSET") }
}

fn resource(name: &str, kind: &str) -> ecs::Resource {
    ecs::Resource {
        name: Some(name.to_owned()),
        r#type: Some(kind.to_owned()),
        double_value: Some(0.0),
        long_value: Some(0),
        integer_value: Some(0),
        ..Default::default()
    }
}

/// The agent is the one thing we can judge from here: its runtime's troubles reach us as the troubles of tasks.
fn health(record: &InstanceRecord) -> ecs::ContainerInstanceHealthStatus {
    let state = if record.agent_connected { "OK" } else { "IMPAIRED" };
    let at = Some(time(record.connectivity_at));
    ecs::ContainerInstanceHealthStatus {
        overall_status: Some(ecs::InstanceHealthCheckState::from(state)),
        details: Some(vec![ecs::InstanceHealthCheckResult {
            r#type: Some(ecs::InstanceHealthCheckType::from("AGENT_CONNECTIVITY")),
            status: Some(ecs::InstanceHealthCheckState::from(state)),
            last_updated: at,
            last_status_change: at,
            ..Default::default()
        }]),
    }
}
