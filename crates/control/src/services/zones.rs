//! The Availability Zones that a service's tasks may be in.

use std::{collections::BTreeMap, sync::Arc};

use gantry_api::{
    Fault,
    ecs::{AvailabilityZoneRebalancing, PlacementStrategy},
};
use gantry_domain::{
    placement::{Conditions, Needs},
    service::{Rebalance, START_BATCH_MAX},
    task_definition::TaskResources,
};

use super::{daemon::Reserved, find, start, wire};
use crate::{
    fault,
    keys::ServiceKey,
    launch::{TakenByHost, Target, candidates, instance},
    records::{LaunchType, Scheduling, ServiceRecord, ZONE_ATTRIBUTE},
    task_definition,
    tasks::request,
    view::{EcsView, TaskRow},
    volumes,
};

/// Whether a service with this strategy can be rebalanced: it places by zone before anything else.
fn places_by_zone(strategy: &[PlacementStrategy]) -> bool {
    let by_zone = |first: &PlacementStrategy| {
        first.field.as_deref().and_then(request::attribute_of).is_some_and(|name| name == ZONE_ATTRIBUTE)
    };
    strategy.first().is_none_or(by_zone)
}

/// Rebalancing as asked, or ENABLED where it could work.
pub(crate) fn rebalancing(
    record: &ServiceRecord,
    asked: Option<&AvailabilityZoneRebalancing>,
) -> Result<AvailabilityZoneRebalancing, Fault> {
    use AvailabilityZoneRebalancing::{Disabled, Enabled};
    match asked {
        Some(Enabled) => check(record).map(|()| Enabled),
        Some(_) => Ok(Disabled),
        None => Ok(if check(record).is_ok() { Enabled } else { Disabled }),
    }
}

/// Refuses rebalancing that could never move a task.
fn check(record: &ServiceRecord) -> Result<(), Fault> {
    let refused =
        |why| Err(fault::invalid(format!("Availability Zone rebalancing is not supported for services {why}.")));
    if record.scheduling == Scheduling::Daemon {
        return refused("that use the DAEMON scheduling strategy");
    }
    if !places_by_zone(&record.placement_strategy) {
        return refused("whose first placement strategy is not spread over attribute:ecs.availability-zone");
    }
    match record.deployment_configuration.maximum_percent {
        Some(..=100) => refused("whose maximumPercent is not greater than 100"),
        _ => Ok(()),
    }
}

/// What to keep balanced; none when it is off, or when there cannot be anything to do.
pub(crate) fn rebalance(
    view: &EcsView,
    key: &ServiceKey,
    record: &ServiceRecord,
    tasks: &[Arc<TaskRow>],
) -> Option<Rebalance> {
    let on = record.availability_zone_rebalancing == AvailabilityZoneRebalancing::Enabled
        && record.scheduling == Scheduling::Replica
        && places_by_zone(&record.placement_strategy);
    let active = record.rebalancing;
    // Looking at every instance is for services that do not look balanced over all zones there are.
    let look = on && (active || !looks_balanced(view, key, record, tasks));
    look.then(|| Rebalance { zones: zones(view, key, record).unwrap_or_default(), active })
}

fn looks_balanced(view: &EcsView, key: &ServiceKey, record: &ServiceRecord, tasks: &[Arc<TaskRow>]) -> bool {
    let Some(cluster) = view.cluster(&key.scope, &key.cluster) else { return true };
    let fleet = record.launch_type == LaunchType::Fargate;
    let fleet_zones = fleet.then(|| view.fleet_zones(&key.scope.account)).into_iter().flatten();
    let mut counts: BTreeMap<&str, u32> = cluster.zones().chain(fleet_zones).map(|zone| (zone, 0)).collect();
    for task in tasks.iter().filter(|task| !task.is_stopped()) {
        *counts.entry(task.availability_zone.as_deref().unwrap_or_default()).or_default() += 1;
    }
    let (most, least) = (counts.values().max(), counts.values().min());
    most.zip(least).is_none_or(|(most, least)| most - least < 2)
}

/// The zones of the instances that satisfy the service's constraints, and for how many tasks these have room.
fn zones(view: &EcsView, key: &ServiceKey, record: &ServiceRecord) -> Option<BTreeMap<String, u32>> {
    let revision = wire::revision(view, key, record.primary()?.revision)?;
    let definition = find::definition(view, key, revision)?;
    let requirements = task_definition::requirements(&definition.document);
    let targets = match revision.launch_type {
        LaunchType::External => vec![Target::External],
        LaunchType::Fargate => vec![Target::Fleet],
        LaunchType::Ec2 if revision.capacity_provider_strategy.is_empty() => vec![Target::Ec2],
        LaunchType::Ec2 => {
            let names = revision.capacity_provider_strategy.iter().filter_map(|item| item.capacity_provider.clone());
            names.map(Target::Provider).collect()
        }
    };
    let fleet = revision.launch_type == LaunchType::Fargate;
    let needs = Needs {
        resources: TaskResources { volume_gib: volumes::size_gib(revision), ..requirements.resources() },
        attributes: if fleet { Vec::new() } else { requirements.attributes.clone() },
        constraints: start::constraints(record, &requirements.placement_expressions),
        group: key.group(),
        ..Needs::default()
    };
    let cluster = key.cluster_key();
    // Daemons are not for the fleet.
    let reserved = if fleet { Reserved::default() } else { Reserved::of(view, &cluster, &needs.group, key.kind) };
    let (mut conditions, mut claims, mut zones) = (Conditions::of(&needs), reserved.claims(), BTreeMap::new());
    for candidate in targets.iter().flat_map(|target| candidates(view, &cluster, target)) {
        let Some(zone) = candidate.2.zone().filter(|_| candidate.2.agent_connected) else { continue };
        if zones.get(zone) == Some(&START_BATCH_MAX) {
            continue;
        }
        let mut free = instance(candidate, &TakenByHost::new());
        if !conditions.eligible(&free) {
            continue;
        }
        claims.take(candidate, &mut free);
        let room: &mut u32 = zones.entry(zone.to_owned()).or_default();
        while *room < START_BATCH_MAX && conditions.fit(&free) {
            free.take(&needs.resources, &needs.group);
            *room += 1;
        }
    }
    Some(zones)
}
