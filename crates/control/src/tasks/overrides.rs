//! Overrides: what a request may change of a task definition for its own tasks, checked against it and applied to what
//! decisions read. The agent applies the same document to what it runs.

use gantry_api::{Fault, ecs};
use gantry_domain::{
    fargate,
    limits::{EPHEMERAL_STORAGE_GIB, OVERRIDES_LENGTH_MAX},
    task_definition::{TaskRequirements, cpu_units, memory_mib},
};

use crate::{
    fault,
    records::{LaunchType, TaskRecord},
    task_definition::gpus,
    view::TaskRow,
};

/// Applies overrides to the requirements of a task definition.
pub(crate) fn apply(
    requirements: &mut TaskRequirements,
    overrides: &ecs::TaskOverride,
    launch_type: LaunchType,
) -> Result<(), Fault> {
    check_length(overrides)?;
    refuse(overrides)?;
    for container in overrides.container_overrides.iter().flatten() {
        apply_container(requirements, container)?;
    }
    if let Some(cpu) = overrides.cpu.as_deref() {
        requirements.cpu_units = Some(cpu_units(cpu).map_err(|_| fault::invalid("Invalid 'cpu' setting for task."))?);
    }
    if let Some(memory) = overrides.memory.as_deref() {
        let memory = memory_mib(memory).map_err(|_| fault::invalid("Invalid 'memory' setting for task."))?;
        requirements.memory_mib = Some(memory);
    }
    if launch_type == LaunchType::Fargate {
        check_fargate(requirements, overrides)?;
    }
    Ok(())
}

fn check_length(overrides: &ecs::TaskOverride) -> Result<(), Fault> {
    // Wire documents have string keys only; writing them cannot fail.
    let length = serde_json::to_string(overrides).map_or(0, |text| text.chars().count());
    if length > OVERRIDES_LENGTH_MAX {
        return Err(fault::invalid(format!("Overrides can have at most {OVERRIDES_LENGTH_MAX} characters.")));
    }
    Ok(())
}

/// What cannot be honoured yet is refused by name.
fn refuse(overrides: &ecs::TaskOverride) -> Result<(), Fault> {
    if overrides.inference_accelerator_overrides.as_ref().is_some_and(|list| !list.is_empty()) {
        return Err(fault::unsupported("overrides.inferenceAcceleratorOverrides"));
    }
    for container in overrides.container_overrides.iter().flatten() {
        if container.environment_files.as_ref().is_some_and(|list| !list.is_empty()) {
            return Err(fault::unsupported("overrides.containerOverrides.environmentFiles"));
        }
        let requirements = container.resource_requirements.iter().flatten();
        if let Some(member) = requirements.filter_map(gpus::refused).next() {
            return Err(fault::unsupported(&format!("overrides.containerOverrides.{member}")));
        }
    }
    Ok(())
}

fn apply_container(requirements: &mut TaskRequirements, wanted: &ecs::ContainerOverride) -> Result<(), Fault> {
    let name = wanted.name.as_deref().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| fault::invalid("Container override name can not be blank."))?;
    let container = requirements.containers.iter_mut().find(|container| container.name == name);
    let container = container.ok_or_else(|| {
        fault::invalid(format!("Override for container named {name} is not a container in the TaskDefinition."))
    })?;
    let natural = |value: Option<i32>, member: &str| match value.map(u32::try_from) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value)),
        Some(Err(_)) => Err(fault::invalid(format!("Invalid '{member}' setting for container '{name}'"))),
    };
    if let Some(cpu) = natural(wanted.cpu, "cpu")? {
        container.cpu_units = cpu;
    }
    if let Some(requirements) = wanted.resource_requirements.as_deref().filter(|list| !list.is_empty()) {
        container.gpus = match (requirements.len(), gpus::count(requirements)) {
            (1, count) if count > 0 => count,
            _ => {
                return Err(fault::invalid(format!("Invalid 'resourceRequirements' setting for container '{name}'")));
            }
        };
    }
    container.memory_mib = natural(wanted.memory, "memory")?.or(container.memory_mib);
    container.memory_reservation_mib =
        natural(wanted.memory_reservation, "memoryReservation")?.or(container.memory_reservation_mib);
    if let (Some(hard), Some(soft)) = (container.memory_mib, container.memory_reservation_mib)
        && soft > hard
    {
        return Err(fault::invalid(format!(
            "Invalid setting for container '{name}'. 'memory' must be greater than or equal to 'memoryReservation'."
        )));
    }
    Ok(())
}

fn check_fargate(requirements: &mut TaskRequirements, overrides: &ecs::TaskOverride) -> Result<(), Fault> {
    if let (Some(cpu), Some(memory)) = (requirements.cpu_units, requirements.memory_mib)
        && !fargate::is_size(cpu, memory)
    {
        return Err(fault::invalid(format!(
            "No Fargate configuration exists for given values: {cpu} CPU, {memory} memory. See the Amazon ECS \
             documentation for the valid values."
        )));
    }
    if requirements.resources().gpus > 0 {
        return Err(fault::invalid("Fargate compatible task definitions do not support resourceRequirements"));
    }
    if let Some(size) = overrides.ephemeral_storage.as_ref().and_then(|storage| storage.size_in_gi_b) {
        if !EPHEMERAL_STORAGE_GIB.contains(&size) {
            let (least, most) = (EPHEMERAL_STORAGE_GIB.start(), EPHEMERAL_STORAGE_GIB.end());
            return Err(fault::invalid(format!("Ephemeral storage size must be between {least} and {most} GiB.")));
        }
        requirements.ephemeral_storage_gib = u32::try_from(size).ok();
    }
    Ok(())
}

/// `overrides` of a task: an entry for each container, whether anything was overridden or not.
pub(crate) fn wire(record: &TaskRecord) -> ecs::TaskOverride {
    let given = record.overrides.as_deref();
    let of = |name: &str| {
        let found = given?.container_overrides.iter().flatten().find(|entry| entry.name.as_deref() == Some(name));
        found.cloned()
    };
    let entry = |name: &str| {
        of(name).unwrap_or_else(|| ecs::ContainerOverride { name: Some(name.to_owned()), ..Default::default() })
    };
    ecs::TaskOverride {
        container_overrides: Some(record.containers.iter().map(|container| entry(&container.name)).collect()),
        inference_accelerator_overrides: Some(Vec::new()),
        ..given.cloned().unwrap_or_default()
    }
}

/// What a container is and has after overrides.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ContainerSize<'a> {
    pub(crate) image: Option<&'a str>,
    pub(crate) cpu: Option<i32>,
    pub(crate) memory: Option<i32>,
    pub(crate) memory_reservation: Option<i32>,
}

/// Image and sizes of a task's container.
pub(crate) fn container_size<'a>(task: &'a TaskRow, name: &str) -> ContainerSize<'a> {
    let definitions = task.definition.as_ref().and_then(|row| row.document.container_definitions.as_deref());
    let definition = definitions.unwrap_or_default().iter().find(|entry| entry.name.as_deref() == Some(name));
    let given = task.overrides.as_deref().and_then(|overrides| overrides.container_overrides.as_deref());
    let given = given.unwrap_or_default().iter().find(|entry| entry.name.as_deref() == Some(name));
    ContainerSize {
        image: definition.and_then(|definition| definition.image.as_deref()),
        cpu: given.and_then(|given| given.cpu).or(definition.and_then(|definition| definition.cpu)),
        memory: given.and_then(|given| given.memory).or(definition.and_then(|definition| definition.memory)),
        memory_reservation: given
            .and_then(|given| given.memory_reservation)
            .or(definition.and_then(|definition| definition.memory_reservation)),
    }
}
