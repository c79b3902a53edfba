//! A cluster at a glance, with what is used: what `gantry top` shows.

use gantry_api::{Caller, Fault};
use gantry_domain::{
    Timestamp,
    arn::{Name, Scope},
    deployment::RolloutState,
};
use serde::{Deserialize, Serialize};

use super::{InstanceUse, ProviderNeed};
use crate::{
    Control,
    control::{self, active_cluster},
    keys::{ClusterKey, ServiceKey},
    records::{InstanceStatus, ServiceRecord, SharedRow},
    view::{ClusterView, EcsView, Phase, TaskRow},
};

/// Tasks that are told; those that use most CPU come first.
const TASKS_MAX: usize = 500;

/// A cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Top {
    /// Its name.
    pub cluster: String,
    /// In the order of their names.
    pub services: Vec<TopService>,
    /// In the order of their ids.
    pub instances: Vec<TopInstance>,
    /// Those that have managed scaling.
    pub capacity_providers: Vec<ProviderNeed>,
    /// Those that use most CPU first, at most 500.
    pub tasks: Vec<TopTask>,
    /// How many tasks there are in all.
    pub tasks_in_all: usize,
    /// CPUReservation, percent.
    pub cpu_reservation: Option<f64>,
    /// MemoryReservation, percent.
    pub memory_reservation: Option<f64>,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopService {
    /// Its name.
    pub name: String,
    /// Wanted.
    pub desired: u32,
    /// RUNNING.
    pub running: u32,
    /// On their way to RUNNING.
    pub pending: u32,
    /// CPUUtilization, percent of what its tasks have.
    pub cpu: Option<f64>,
    /// MemoryUtilization, percent of what its tasks have.
    pub memory: Option<f64>,
    /// CPU units in use.
    pub cpu_units: f64,
    /// MiB in use.
    pub memory_mib: f64,
    /// Its deployments, each with its state, when one is under way or failed.
    pub deployments: Vec<String>,
}

/// A container instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopInstance {
    /// Its id.
    pub id: String,
    /// ACTIVE, DRAINING, or DISCONNECTED.
    pub status: String,
    /// Tasks on it that are not STOPPED, Fargate's included.
    pub tasks: usize,
    /// CPU units.
    pub cpu: u32,
    /// CPU units taken.
    pub cpu_reserved: u32,
    /// CPU units in use by the tasks.
    pub cpu_units: f64,
    /// MiB.
    pub memory: u32,
    /// MiB taken.
    pub memory_reserved: u32,
    /// MiB in use by the tasks.
    pub memory_mib: f64,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopTask {
    /// Its id.
    pub id: String,
    /// `service:NAME` or `family:NAME`.
    pub group: String,
    /// What is known of it.
    pub status: String,
    /// CPU units in use; none when it was not measured of late.
    pub cpu_units: Option<f64>,
    /// CPU units that are 100 %.
    pub cpu_reserved: Option<f64>,
    /// MiB in use.
    pub memory_mib: Option<f64>,
    /// MiB that are 100 %.
    pub memory_reserved: Option<f64>,
}

/// The cluster that `reference` means (`default` without one), now.
///
/// # Errors
/// The fault for a cluster that is not there.
pub fn top(control: &Control, caller: &Caller, reference: Option<&str>) -> Result<Top, Fault> {
    let scope = control::scope(caller);
    let name = control::cluster_name(&scope, reference)?;
    let (view, now) = (control.read(), control.now());
    let (cluster, _) = active_cluster(&view, &scope, &name)?;
    let key = ClusterKey { scope: scope.clone(), cluster: name.clone() };
    let services = cluster.active_services().map(|(name, row)| service(control, &key, cluster, name, row, now));
    let (cpu_reservation, memory_reservation) = super::reservations(&view, &scope, &name);
    let (tasks, tasks_in_all) = tasks(control, cluster, now);
    Ok(Top {
        services: services.collect(),
        capacity_providers: super::provider_needs(&view, &scope, &name),
        instances: instances(control, &view, (&scope, &name), now),
        tasks,
        tasks_in_all,
        cpu_reservation,
        memory_reservation,
        cluster: name.to_string(),
    })
}

fn service(
    control: &Control,
    key: &ClusterKey,
    cluster: &ClusterView,
    name: &Name,
    row: &SharedRow<ServiceRecord>,
    now: Timestamp,
) -> TopService {
    let counts = cluster.tasks().of_service(name.as_str()).map(|group| *group.counts()).unwrap_or_default();
    let service = ServiceKey::service(key.scope.clone(), key.cluster.clone(), name.clone());
    let point = control.metrics.service_now(&service, now);
    let unfinished = row.deployments.len() > 1
        || row.deployments.iter().any(|deployment| deployment.rollout != RolloutState::Completed);
    let deployments = row.deployments.iter().filter(|_| unfinished);
    TopService {
        name: name.to_string(),
        desired: row.desired_count,
        running: counts.running(),
        pending: counts.pending(),
        cpu: point.and_then(|point| point.cpu).map(|percent| percent.average),
        memory: point.and_then(|point| point.memory).map(|percent| percent.average),
        cpu_units: point.map_or(0.0, |point| point.cpu_units),
        memory_mib: point.map_or(0.0, |point| point.memory_mib),
        deployments: deployments.map(|one| format!("{} {}", one.id, one.rollout.as_str())).collect(),
    }
}

fn instances(control: &Control, view: &EcsView, (scope, cluster): (&Scope, &Name), now: Timestamp) -> Vec<TopInstance> {
    let one = |(key, host): (&crate::keys::InstanceKey, &crate::view::Host)| {
        let (row, reserved) = (host.row.as_ref()?, InstanceUse::of(host)?);
        let alive = host.tasks().values().filter(|(_, task)| !task.is_stopped());
        let used: Vec<_> = alive.filter_map(|(_, task)| control.metrics.task_now(task.id, now)).collect();
        let status = match row.status {
            InstanceStatus::Active if !row.agent_connected => "DISCONNECTED",
            other => other.as_str(),
        };
        Some(TopInstance {
            id: key.id.to_string(),
            status: status.to_owned(),
            tasks: host.alive(),
            cpu: reserved.cpu,
            cpu_reserved: reserved.cpu_reserved,
            // The sum of nothing is minus zero.
            cpu_units: used.iter().map(|reading| reading.cpu_units).sum::<f64>() + 0.0,
            memory: reserved.memory,
            memory_reserved: reserved.memory_reserved,
            memory_mib: used.iter().map(|reading| reading.memory_mib).sum::<f64>() + 0.0,
        })
    };
    view.hosts_of_cluster(scope, cluster).filter_map(one).collect()
}

fn tasks(control: &Control, cluster: &ClusterView, now: Timestamp) -> (Vec<TopTask>, usize) {
    let all = cluster.tasks();
    let one = |task: &std::sync::Arc<TaskRow>| {
        let reading = control.metrics.task_now(task.id, now);
        TopTask {
            id: task.id.to_string(),
            group: task.group.clone(),
            status: task.life.last_status.to_string(),
            cpu_units: reading.map(|reading| reading.cpu_units),
            cpu_reserved: reading.map(|reading| reading.cpu_reserved),
            memory_mib: reading.map(|reading| reading.memory_mib),
            memory_reserved: reading.map(|reading| reading.memory_reserved),
        }
    };
    let mut tasks: Vec<TopTask> = all.walk(all.all(), &[Phase::Wanted, Phase::Stopping], None).map(one).collect();
    let in_all = tasks.len();
    let used = |task: &TopTask| task.cpu_units.unwrap_or(-1.0);
    tasks.sort_by(|a, b| used(b).total_cmp(&used(a)).then_with(|| a.id.cmp(&b.id)));
    tasks.truncate(TASKS_MAX);
    (tasks, in_all)
}
