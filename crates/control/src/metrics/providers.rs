//! CapacityProviderReservation: how much of the instances of a provider with managed scaling is needed. Nobody starts
//! machines by it yet; an operator sees that some are missing.

use std::collections::BTreeMap;

use gantry_domain::{
    arn::{Name, Scope},
    capacity::scaling::{Configuration, Group, Resources, Waiting, needed, reservation},
};
use serde::{Deserialize, Serialize};

use crate::{
    capacity_providers::{Kind, kind},
    records::CapacityProviderRecord,
    view::{EcsView, Host, TaskRow},
};

/// What a provider has and needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderNeed {
    /// Its name.
    pub name: String,
    /// Registered instances.
    pub instances: u32,
    /// Instances that are needed.
    pub needed: u32,
    /// Tasks that wait for one.
    pub waiting: u32,
    /// CapacityProviderReservation, percent.
    pub reservation: f64,
}

/// Of the providers of a cluster that have managed scaling.
pub fn provider_needs(view: &EcsView, scope: &Scope, cluster: &Name) -> Vec<ProviderNeed> {
    let Some(row) = view.cluster(scope, cluster).and_then(|cluster| cluster.active()) else { return Vec::new() };
    let managed = row.capacity_providers.iter().filter_map(|name| match kind(view, scope, name) {
        Some(Kind::Group(provider)) if provider.is_managed() => Some((name, configuration(provider))),
        _ => None,
    });
    managed.map(|(name, configuration)| need(view, (scope, cluster), name, &configuration)).collect()
}

fn need(view: &EcsView, (scope, cluster): (&Scope, &Name), name: &str, configuration: &Configuration) -> ProviderNeed {
    let own = |host: &&Host| {
        let row = host.row.as_ref().filter(|row| row.is_registered());
        row.is_some_and(|row| row.capacity_provider.as_deref() == Some(name))
    };
    let hosts: Vec<&Host> = view.hosts_of_cluster(scope, cluster).map(|(_, host)| host).filter(own).collect();
    let cluster_view = view.cluster(scope, cluster);
    let daemons: Vec<_> = cluster_view.into_iter().flat_map(|cluster| cluster.daemons()).collect();
    let is_daemons = |task: &TaskRow| {
        let keeper = task.keeper();
        keeper.is_some_and(|(kind, name)| daemons.iter().any(|(of, daemon, _)| *of == kind && daemon.as_str() == name))
    };
    let works = |host: &&&Host| {
        let mut alive = host.tasks().values().filter(|(_, task)| !task.is_stopped());
        alive.any(|(_, task)| !is_daemons(task))
    };
    let mut groups: BTreeMap<Resources, u32> = BTreeMap::new();
    if let Some(tasks) = cluster_view.map(|cluster| cluster.tasks()) {
        let waiting = tasks.waiting().iter().filter_map(|(_, id)| tasks.get(*id));
        for task in waiting.filter(|task| task.capacity_provider.as_deref() == Some(name)) {
            let ports = task.reserved.tcp.len() + task.reserved.udp.len();
            let (cpu, memory) = (task.reserved.cpu, task.reserved.memory);
            let (ports, gpus) = (u32::try_from(ports).unwrap_or(u32::MAX), task.reserved.gpus);
            *groups.entry(Resources { cpu, memory, ports, gpus, ..Resources::default() }).or_default() += 1;
        }
    }
    let waiting: u32 = groups.values().sum();
    let group = Group {
        instances: count(hosts.len()),
        busy: count(hosts.iter().filter(works).count()),
        waiting: groups.into_iter().map(|(needs, tasks)| Waiting { needs, tasks, distinct: false }).collect(),
        types: hosts.iter().filter_map(|host| resources(host)).collect(),
    };
    // A group without any instance has no type that is known: its tasks need one of whatever comes.
    let wanted = if hosts.is_empty() { waiting.min(1) } else { needed(&group, configuration) };
    let reservation = reservation(group.instances, wanted);
    ProviderNeed { name: name.to_owned(), instances: group.instances, needed: wanted, waiting, reservation }
}

fn configuration(provider: &CapacityProviderRecord) -> Configuration {
    let scaling = provider.group.managed_scaling.clone().unwrap_or_default();
    let number =
        |value: Option<i32>, default: u32| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(default);
    Configuration {
        target_capacity: number(scaling.target_capacity, 100),
        step_min: number(scaling.minimum_scaling_step_size, 1),
        step_max: number(scaling.maximum_scaling_step_size, 10_000),
        warmup_seconds: number(scaling.instance_warmup_period, 300),
    }
}

fn resources(host: &Host) -> Option<Resources> {
    let row = host.row.as_ref()?;
    Some(Resources {
        cpu: row.resources.cpu,
        memory: row.resources.memory,
        interfaces: u32::MAX,
        ports: count(gantry_domain::limits::RESERVED_HOST_PORTS_MAX),
        gpus: count(row.resources.gpus.len()),
    })
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
