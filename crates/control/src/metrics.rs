//! Measured use of services and tasks, in memory: agents report it about every ten seconds, and a restart
//! forgets it. What has not been heard of for an hour is dropped.

mod providers;
mod read;
#[cfg(test)]
mod tests;
mod top;

use std::collections::BTreeMap;

use gantry_api::agent::TaskUsage;
use gantry_domain::{
    Timestamp,
    arn::TaskId,
    metrics::{Point, Reading, Window},
};
use parking_lot::Mutex;

pub use providers::{ProviderNeed, provider_needs};
pub use read::{InstanceUse, reservations};
pub use top::{Top, TopInstance, TopService, TopTask, top};

use crate::{
    keys::{InstanceKey, ServiceKey},
    view::{EcsView, TaskRow},
};

/// A task that was not measured for so long is not shown as using anything.
const READING_LIFETIME_MS: i64 = 60_000;
/// How often what is old is looked for.
const CLEAN_INTERVAL_MS: i64 = 60_000;

/// What is measured. Shared by the agents' door, which writes, and everybody who asks.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    services: BTreeMap<ServiceKey, Window<TaskId>>,
    tasks: BTreeMap<TaskId, (Timestamp, Reading)>,
    cleaned_at: Timestamp,
}

impl Metrics {
    /// Takes in what an agent measured of the tasks on its instance. What the instance does not have is ignored.
    pub(crate) fn measured(&self, view: &EcsView, instance: &InstanceKey, usage: &[TaskUsage], now: Timestamp) {
        let Some(host) = view.host(instance) else { return };
        let mut state = self.0.lock();
        state.clean(now);
        for one in usage {
            let id = one.task_arn.rsplit('/').next().and_then(|id| id.parse::<TaskId>().ok());
            let Some((cluster, task)) = id.and_then(|id| host.tasks().get(&id)) else { continue };
            if task.is_stopped() {
                continue;
            }
            let reading = reading(task, one);
            state.tasks.insert(task.id, (now, reading));
            if let Some(service) = task.service.as_deref().and_then(|name| name.parse().ok()) {
                let (scope, cluster) = (cluster.scope.clone(), cluster.cluster.clone());
                let window = state.services.entry(ServiceKey::service(scope, cluster, service)).or_default();
                window.add(task.id, reading, now);
            }
        }
    }

    /// The finished minutes of a service, the oldest first.
    pub fn of_service(&self, key: &ServiceKey, now: Timestamp) -> Vec<Point> {
        let mut state = self.0.lock();
        let Some(window) = state.services.get_mut(key) else { return Vec::new() };
        window.close(now);
        window.points().copied().collect()
    }

    /// The use of a service now: what its tasks were last measured to use.
    pub fn service_now(&self, key: &ServiceKey, now: Timestamp) -> Option<Point> {
        latest(self.0.lock().services.get_mut(key)?, now)
    }

    /// What a task was last measured to use.
    pub fn task_now(&self, id: TaskId, now: Timestamp) -> Option<Reading> {
        let state = self.0.lock();
        let (at, reading) = state.tasks.get(&id)?;
        (now.millis_since(*at) < READING_LIFETIME_MS).then_some(*reading)
    }
}

impl State {
    fn clean(&mut self, now: Timestamp) {
        if now.millis_since(self.cleaned_at) < CLEAN_INTERVAL_MS {
            return;
        }
        self.cleaned_at = now;
        self.services.retain(|_, window| !window.is_stale(now));
        self.tasks.retain(|_, (at, _)| now.millis_since(*at) < READING_LIFETIME_MS);
    }
}

/// The open minute, or the last one when it has only just begun.
fn latest(window: &mut Window<TaskId>, now: Timestamp) -> Option<Point> {
    window.close(now);
    let last = window.points().next_back().copied();
    let fresh = last.filter(|point| now.millis_since(point.at) < 2 * READING_LIFETIME_MS);
    window.current().or(fresh)
}

/// 100 % of a task is its size, or the sum of what its containers ask for; of memory their reservations where they have
/// any.
fn reading(task: &TaskRow, usage: &TaskUsage) -> Reading {
    let containers = task.definition.as_ref().and_then(|row| row.document.container_definitions.as_deref());
    let containers = containers.unwrap_or_default();
    let sum = |of: fn(&gantry_api::ecs::ContainerDefinition) -> Option<i32>| -> f64 {
        containers.iter().filter_map(of).map(f64::from).sum()
    };
    let cpu = task.cpu_units.map(f64::from);
    let memory = task.memory_mib.map(f64::from);
    Reading {
        cpu_units: usage.cpu_milliunits as f64 / 1000.0,
        memory_mib: usage.memory_kib as f64 / 1024.0,
        cpu_reserved: cpu.unwrap_or_else(|| sum(|container| container.cpu)),
        memory_reserved: memory.unwrap_or_else(|| sum(|one| one.memory_reservation.or(one.memory))),
    }
}
