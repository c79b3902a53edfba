//! CPU and memory of the task and of its containers.

use gantry_api::ecs::Compatibility;
use gantry_domain::limits::{CONTAINER_MEMORY_MIB_MIN, TASK_CPU_UNITS_MAX, TASK_CPU_UNITS_MIN};
use gantry_domain::task_definition::{cpu_units, memory_mib};

use crate::task_definition::document::{Container, Document};
use crate::task_definition::invalid::Invalid;

/// Task-level CPU (units) and memory (MiB), where given. An empty text counts as absent for memory and CPU alike in
/// what the agent receives, but the service refuses it at registration.
pub(in crate::task_definition) fn units(document: Document<'_>) -> Result<(Option<u32>, Option<u32>), Invalid> {
    let task = document.task;
    let cpu = task.cpu.as_deref().map(cpu_units).transpose();
    let memory = task.memory.as_deref().map(memory_mib).transpose();
    Ok((
        cpu.map_err(|_| Invalid::TaskSetting { member: "cpu" })?,
        memory.map_err(|_| Invalid::TaskSetting { member: "memory" })?,
    ))
}

pub(super) fn check(document: Document<'_>) -> Result<(), Invalid> {
    let (cpu, memory) = units(document)?;
    let fargate = document.requires(&Compatibility::Fargate);
    // The Fargate table decides about sizes of its own; its smaller sizes are within the range anyway.
    if cpu.is_some_and(|cpu| !fargate && !(TASK_CPU_UNITS_MIN..=TASK_CPU_UNITS_MAX).contains(&cpu)) {
        return Err(Invalid::TaskSetting { member: "cpu" });
    }
    if memory.is_some_and(|memory| memory < CONTAINER_MEMORY_MIB_MIN) {
        return Err(Invalid::TaskSetting { member: "memory" });
    }
    for container in document.containers() {
        check_container(container, memory)?;
    }
    check_sums(document, cpu, memory)
}

fn check_container(container: Container<'_>, task_memory: Option<u32>) -> Result<(), Invalid> {
    let definition = container.definition;
    container.ensure(definition.cpu.unwrap_or(0) >= 0, "cpu")?;
    let hard = positive(container, definition.memory, "memory")?;
    let soft = positive(container, definition.memory_reservation, "memoryReservation")?;
    let name = || container.name().to_owned();
    match (hard, soft) {
        (None, None) if task_memory.is_none() => Err(Invalid::NoMemory { container: name() }),
        (Some(hard), Some(soft)) if hard < soft => Err(Invalid::MemoryBelowReservation { container: name() }),
        (Some(hard), _) if task_memory.is_some_and(|task| hard > task) => {
            Err(Invalid::MemoryAboveTask { container: name() })
        }
        _ => Ok(()),
    }
}

/// 0 is what clients send for "not set".
fn positive(container: Container<'_>, value: Option<i32>, member: &'static str) -> Result<Option<u32>, Invalid> {
    let value = u32::try_from(value.unwrap_or(0));
    container.ensure(value.is_ok_and(|mib| mib == 0 || mib >= CONTAINER_MEMORY_MIB_MIN), member)?;
    Ok(value.ok().filter(|&mib| mib > 0))
}

fn check_sums(document: Document<'_>, cpu: Option<u32>, memory: Option<u32>) -> Result<(), Invalid> {
    let sum = |of: fn(Container<'_>) -> i32| document.containers().map(of).map(i64::from).sum::<i64>();
    if cpu.is_some_and(|cpu| sum(|container| container.definition.cpu.unwrap_or(0)) > i64::from(cpu)) {
        return Err(Invalid::Sum { member: "cpu", of: "cpu" });
    }
    // What is reserved must fit; hard limits may overlap, each within the task's.
    let soft = sum(|container| container.definition.memory_reservation.unwrap_or(0));
    let reserved = sum(|container| {
        let soft = container.definition.memory_reservation.filter(|&soft| soft > 0);
        soft.or(container.definition.memory).unwrap_or(0)
    });
    let over = |mib: i64| memory.is_some_and(|memory| mib > i64::from(memory));
    if over(soft) {
        return Err(Invalid::Sum { member: "memoryReservation", of: "memory" });
    }
    if over(reserved) { Err(Invalid::Sum { member: "memory", of: "memory" }) } else { Ok(()) }
}
