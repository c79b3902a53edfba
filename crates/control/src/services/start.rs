//! What the launcher is asked when a service starts tasks, and what the service says about the answer.

mod hook;
mod volume;

use std::collections::BTreeMap;

use gantry_api::ecs;
use gantry_domain::{
    Timestamp,
    arn::ContainerInstanceId,
    deployment::DeploymentId,
    placement::{self, Constraint, Strategy},
    query::Expression,
    reason::{Lack, PlacementTrouble, ServiceEvent},
};
use gantry_store::Txn;

use super::{
    act, find,
    observe::{Observed, Unit},
    wire,
};
use crate::{
    Random,
    keys::{InstanceKey, ServiceKey},
    launch::{self, Launch, Launched, NetworkRequest, Refusal, Refused, Target, TaskTemplate},
    records::{
        LaunchType, PlatformRecord, ServiceRecord, ServiceRevisionRecord, TaskDefinitionRecord, WaitingRecord,
        ZONE_ATTRIBUTE, encode,
    },
    task_definition,
    tasks::request,
    view::{EcsView, Phase},
};

pub(crate) use hook::launch as launch_hook;

/// How many tasks, or where.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Starts<'a> {
    /// So many, where placement puts them.
    Anywhere(u32),
    /// One on each of these instances.
    On(&'a [String]),
    /// So many in this Availability Zone, for balance.
    InZone(&'a str, u32),
}

/// Tasks of a deployment; none when its revision or task definition is gone.
pub(crate) fn launch(
    view: &EcsView,
    key: &ServiceKey,
    observed: &Observed,
    deployment: DeploymentId,
    starts: Starts<'_>,
) -> Option<Launch> {
    let record = &observed.row.record;
    let revision = match record.task_set(deployment) {
        Some(set) => &set.revision,
        None => {
            let number = record.deployments.iter().find(|other| other.id == deployment)?.revision;
            wire::revision(view, key, number)?
        }
    };
    let definition = find::definition(view, key, revision)?;
    let requirements = task_definition::requirements(&definition.document);
    let (mut target, count, capacity_providers) = match &starts {
        Starts::Anywhere(count) | Starts::InZone(_, count) => {
            let count = usize::try_from(*count).ok()?;
            let providers = providers(view, key, deployment, revision, count);
            (launch::target(view, &key.scope, revision.launch_type, &providers), count, providers)
        }
        Starts::On(instances) => {
            let ids: Vec<ContainerInstanceId> = instances.iter().filter_map(|id| id.parse().ok()).collect();
            let count = ids.len();
            let of_each = ids.iter().map(|id| provider_of(view, key, *id)).collect::<Option<Vec<String>>>();
            // Shown for the tasks of managed daemons; a DAEMON service has a launch type.
            let of_each = of_each.filter(|_| revision.daemon.is_some()).unwrap_or_default();
            (Target::Named(ids), count, of_each)
        }
    };
    // A task that waits has no zone any more: one that is started for balance is placed now or not at all.
    if let (Starts::InZone(..), Target::Providers(shares)) = (&starts, &mut target) {
        shares.iter_mut().for_each(|share| share.waits = false);
    }
    let mut constraints = constraints(record, &requirements.placement_expressions);
    if let Starts::InZone(zone, _) = starts {
        constraints.push(Constraint::MemberOf(Expression::attribute_is(ZONE_ATTRIBUTE, zone)));
    }
    Some(Launch {
        cluster: key.cluster_key(),
        definition: revision.task_definition.clone(),
        target,
        count,
        constraints,
        strategies: strategies(record),
        task: TaskTemplate {
            group: key.group(),
            started_by: Some(deployment.to_string()),
            keeper: Some((key.kind, key.service.to_string())),
            launch_type: revision.launch_type,
            capacity_providers,
            waiting: waiting(record, revision),
            platform: platform(revision),
            overrides: None,
            network: network(revision),
            volume: volume::of_each(key, record, revision, definition),
            tags: tags(key, record, revision, definition),
            image_digests: revision.image_digests.clone(),
            enable_execute_command: match &revision.daemon {
                Some(daemon) => daemon.enable_execute_command,
                None => record.enable_execute_command,
            },
            requirements,
        },
        token: None,
        // Puts the row although nothing in it changes: two plans made from the same row cannot both be carried out.
        with: Txn::new().require(key.path(), observed.row.revision).put(key.path(), encode(record)),
    })
}

pub(super) fn constraints(record: &ServiceRecord, of_definition: &[String]) -> Vec<Constraint> {
    let member_of = |text: &str| text.parse().ok().map(Constraint::MemberOf);
    let own = record.placement_constraints.iter().filter_map(|constraint| match &constraint.r#type {
        Some(ecs::PlacementConstraintType::DistinctInstance) => Some(Constraint::DistinctInstance),
        _ => member_of(constraint.expression.as_deref()?),
    });
    // Both were parsed when they were accepted.
    own.chain(of_definition.iter().filter_map(|text| member_of(text))).collect()
}

/// The service's strategy as the wire has it; without one, spread over zones and then over instances.
fn placement_strategy(record: &ServiceRecord) -> Vec<ecs::PlacementStrategy> {
    let spread = |field: &str| ecs::PlacementStrategy {
        r#type: Some(ecs::PlacementStrategyType::Spread),
        field: Some(field.to_owned()),
    };
    match record.placement_strategy.as_slice() {
        [] => vec![spread(&format!("attribute:{ZONE_ATTRIBUTE}")), spread("instanceId")],
        own => own.to_vec(),
    }
}

/// The same, as placement reads it.
fn strategies(record: &ServiceRecord) -> Vec<Strategy> {
    request::strategies(&placement_strategy(record))
}

fn platform(revision: &ServiceRevisionRecord) -> Option<PlatformRecord> {
    (revision.launch_type == LaunchType::Fargate).then(|| PlatformRecord {
        version: wire::PLATFORM_VERSION.to_owned(),
        family: wire::PLATFORM_FAMILY.to_owned(),
    })
}

/// What its tasks ask of the network.
fn network(revision: &ServiceRevisionRecord) -> Option<NetworkRequest> {
    request::network_request(revision.network_configuration.as_ref())
}

/// The provider of an instance.
fn provider_of(view: &EcsView, key: &ServiceKey, id: ContainerInstanceId) -> Option<String> {
    let instance = InstanceKey { scope: key.scope.clone(), cluster: key.cluster.clone(), id };
    view.host(&instance)?.row.as_ref()?.capacity_provider.clone()
}

fn tags(
    key: &ServiceKey,
    record: &ServiceRecord,
    revision: &ServiceRevisionRecord,
    definition: &TaskDefinitionRecord,
) -> Vec<(String, String)> {
    if let Some(daemon) = &revision.daemon {
        let mut tags = if daemon.propagate_tags { record.tags.clone() } else { BTreeMap::new() };
        if daemon.enable_ecs_managed_tags {
            tags.insert("aws:ecs:clusterName".to_owned(), key.cluster.to_string());
            tags.insert("aws:ecs:daemonName".to_owned(), key.service.to_string());
        }
        return tags.into_iter().collect();
    }
    let mut tags = match record.propagate_tags {
        ecs::PropagateTags::Service => record.tags.clone(),
        ecs::PropagateTags::TaskDefinition => definition.tags.clone(),
        ecs::PropagateTags::None | ecs::PropagateTags::Unknown(_) => Default::default(),
    };
    if record.enable_ecs_managed_tags {
        tags.insert("aws:ecs:clusterName".to_owned(), key.cluster.to_string());
        tags.insert("aws:ecs:serviceName".to_owned(), key.service.to_string());
    }
    tags.into_iter().collect()
}

/// The capacity provider of each new task of a deployment, by what its tasks have already.
fn providers(
    view: &EcsView,
    key: &ServiceKey,
    deployment: DeploymentId,
    revision: &ServiceRevisionRecord,
    count: usize,
) -> Vec<String> {
    let strategy = &revision.capacity_provider_strategy;
    let started_by = deployment.to_string();
    let tasks = view.cluster(&key.scope, &key.cluster).map(|cluster| cluster.tasks());
    let running = tasks.and_then(|tasks| Some((tasks, tasks.started_by(&started_by)?)));
    let mut placed = vec![0_u32; strategy.len()];
    for task in running.into_iter().flat_map(|(tasks, group)| tasks.walk(group, &[Phase::Wanted], None)) {
        let item = strategy.iter().position(|item| item.capacity_provider == task.capacity_provider);
        if let Some(placed) = item.and_then(|index| placed.get_mut(index)) {
            *placed += 1;
        }
    }
    launch::share(strategy, &placed, count)
}

/// What a task remembers while it waits for an instance of its provider.
fn waiting(record: &ServiceRecord, revision: &ServiceRevisionRecord) -> WaitingRecord {
    WaitingRecord {
        placement_constraints: record.placement_constraints.clone(),
        placement_strategy: placement_strategy(record),
        network_configuration: revision.network_configuration.clone(),
    }
}

/// Writes what became of a launch into the service. Returns whether that changed anything.
pub(crate) fn record_outcome(
    record: &mut ServiceRecord,
    (key, unit): (&ServiceKey, Unit),
    (zone, launched): (Option<&str>, &Launched),
    // Another launch of the same unit and run has complained already; two that complain in turn never come to rest.
    spoken: bool,
    random: &Random,
    now: Timestamp,
) -> bool {
    let before = record.clone();
    let name = act::name_in_events(key, unit);
    if !launched.tasks.is_empty() {
        let tasks = launched.tasks.iter().map(ToString::to_string).collect();
        let event = match zone {
            Some(zone) => ServiceEvent::StartedToRebalance { zone: zone.to_owned(), tasks },
            None => ServiceEvent::Started { tasks },
        };
        act::tell(record, &name, &event, random, now);
    }
    let failed = launched.unplaced > 0;
    if spoken || (zone.is_some() && failed) {
        return *record != before;
    }
    let launch_type = match unit {
        Unit::Service => {
            record.placement_failed = failed;
            record.launch_type
        }
        Unit::TaskSet(id) => {
            let Some(set) = record.task_set_mut(id) else { return *record != before };
            set.placement_failed = failed;
            set.revision.launch_type
        }
    };
    if failed {
        let trouble = trouble(launch_type, launched);
        act::complain(record, (key, unit), &ServiceEvent::NotPlaced(trouble), random, now);
    } else if let Some(complaint) = act::complaint_of(record, unit) {
        *complaint = complaint.take().filter(|last| !last.message.contains("unable to place a task"));
    }
    *record != before
}

fn trouble(launch_type: LaunchType, launched: &Launched) -> PlacementTrouble {
    // Instances that were named are looked at one by one: the first refusal speaks for them.
    match launched.closest.as_ref().or(launched.refused.first()) {
        _ if launch_type == LaunchType::Fargate => PlacementTrouble::CapacityUnavailable,
        Some(Refused { instance, why }) => {
            PlacementTrouble::Closest { instance: instance.id.to_string(), lack: lack(why) }
        }
        None => PlacementTrouble::NoInstances,
    }
}

fn lack(why: &Refusal) -> Lack {
    match why {
        Refusal::Lacks(placement::Lack::Agent) => Lack::Agent,
        Refusal::Lacks(placement::Lack::Daemon) => Lack::Daemon,
        Refusal::Lacks(placement::Lack::Cpu) => Lack::Cpu,
        Refusal::Lacks(placement::Lack::Memory) => Lack::Memory,
        Refusal::Lacks(placement::Lack::Ports | placement::Lack::UdpPorts) => Lack::Port,
        Refusal::Lacks(placement::Lack::Attribute(_)) => Lack::Attribute,
        other => Lack::Other(other.code()),
    }
}
