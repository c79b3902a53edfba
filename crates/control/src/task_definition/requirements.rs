//! From the registered document to what decisions read of it.

use gantry_api::ecs;
use gantry_domain::task_definition::{
    Compatibility, ContainerRequirements, Dependency, DependencyCondition, NetworkMode, PortMapping, Protocol,
    RequiredAttribute, TaskRequirements, cpu_units, memory_mib,
};

use super::document::{list, text};
use super::gpus;

/// The extract of a registered document, defaults and computed members included. What a valid document cannot hold
/// (an unknown enum, a negative size) reads as absent.
pub fn requirements(document: &ecs::TaskDefinition) -> TaskRequirements {
    TaskRequirements {
        network_mode: network_mode(document.network_mode.as_ref()),
        cpu_units: document.cpu.as_deref().and_then(|text| cpu_units(text).ok()),
        memory_mib: document.memory.as_deref().and_then(|text| memory_mib(text).ok()),
        containers: list(&document.container_definitions).iter().map(container).collect(),
        attributes: list(&document.requires_attributes).iter().map(attribute).collect(),
        placement_expressions: list(&document.placement_constraints)
            .iter()
            .filter_map(|constraint| constraint.expression.clone())
            .collect(),
        compatibilities: list(&document.compatibilities).iter().filter_map(compatibility).collect(),
        ephemeral_storage_gib: document.ephemeral_storage.as_ref().and_then(|storage| natural(storage.size_in_gi_b)),
    }
}

fn natural(value: Option<i32>) -> Option<u32> {
    value.and_then(|value| u32::try_from(value).ok())
}

fn network_mode(mode: Option<&ecs::NetworkMode>) -> NetworkMode {
    match mode {
        None | Some(ecs::NetworkMode::Bridge | ecs::NetworkMode::Unknown(_)) => NetworkMode::Bridge,
        Some(ecs::NetworkMode::Host) => NetworkMode::Host,
        Some(ecs::NetworkMode::Awsvpc) => NetworkMode::Awsvpc,
        Some(ecs::NetworkMode::None) => NetworkMode::None,
    }
}

fn compatibility(compatibility: &ecs::Compatibility) -> Option<Compatibility> {
    match compatibility {
        ecs::Compatibility::Ec2 => Some(Compatibility::Ec2),
        ecs::Compatibility::Fargate => Some(Compatibility::Fargate),
        ecs::Compatibility::External => Some(Compatibility::External),
        ecs::Compatibility::ManagedInstances => Some(Compatibility::ManagedInstances),
        ecs::Compatibility::Unknown(_) => None,
    }
}

fn attribute(attribute: &ecs::Attribute) -> RequiredAttribute {
    RequiredAttribute { name: text(&attribute.name).to_owned(), value: attribute.value.clone() }
}

fn container(definition: &ecs::ContainerDefinition) -> ContainerRequirements {
    ContainerRequirements {
        name: text(&definition.name).to_owned(),
        essential: definition.essential.unwrap_or(true),
        cpu_units: natural(definition.cpu).unwrap_or(0),
        memory_mib: natural(definition.memory),
        memory_reservation_mib: natural(definition.memory_reservation),
        gpus: gpus::count(list(&definition.resource_requirements)),
        ports: list(&definition.port_mappings).iter().filter_map(port).collect(),
        has_health_check: definition.health_check.is_some(),
        depends_on: list(&definition.depends_on).iter().filter_map(dependency).collect(),
        start_timeout_seconds: natural(definition.start_timeout),
        stop_timeout_seconds: natural(definition.stop_timeout),
    }
}

fn port(mapping: &ecs::PortMapping) -> Option<PortMapping> {
    let number = |port: Option<i32>| port.and_then(|port| u16::try_from(port).ok()).filter(|&port| port > 0);
    Some(PortMapping {
        container_port: number(mapping.container_port)?,
        host_port: number(mapping.host_port),
        protocol: match mapping.protocol {
            Some(ecs::TransportProtocol::Udp) => Protocol::Udp,
            _ => Protocol::Tcp,
        },
        name: mapping.name.clone(),
    })
}

fn dependency(dependency: &ecs::ContainerDependency) -> Option<Dependency> {
    let condition = match dependency.condition.as_ref()? {
        ecs::ContainerCondition::Start => DependencyCondition::Start,
        ecs::ContainerCondition::Complete => DependencyCondition::Complete,
        ecs::ContainerCondition::Success => DependencyCondition::Success,
        ecs::ContainerCondition::Healthy => DependencyCondition::Healthy,
        ecs::ContainerCondition::Unknown(_) => return None,
    };
    Some(Dependency { container: text(&dependency.container_name).to_owned(), condition })
}
