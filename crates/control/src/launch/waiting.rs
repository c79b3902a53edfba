//! Tasks that wait for an instance of their capacity provider: each gets one as soon as there is room, the oldest first,
//! or ends after waiting for too long.

use gantry_api::Fault;
use gantry_domain::{
    Timestamp,
    limits::PROVISIONING_WAIT_SECONDS,
    placement::{Needs, place},
    reason::StoppedReason,
    task::{LastStatus, Stop, StopCode, TaskEvent},
    task_definition::{NetworkMode, TaskRequirements, TaskResources},
};
use gantry_store::Txn;

use super::{
    Target,
    instances::{Table, TakenByHost},
    plan::{Batch, code},
    template::zone_of,
};
use crate::{
    keys,
    keys::ClusterKey,
    random::Random,
    records::{AttachmentStatus, InstanceStatus, TaskRecord},
    services::daemon::Reserved,
    task_definition,
    tasks::{overrides, request},
    view::{ClusterView, EcsView, TaskRow},
};

/// Rows changed in one transaction, about.
const TASKS_MAX: usize = 200;

/// What is to be done about the waiting tasks of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    /// Tasks that got an instance, or ended.
    pub(crate) txn: Option<Txn>,
    /// When the next one has waited too long.
    pub(crate) next: Option<Timestamp>,
}

/// Looks at the waiting tasks of a cluster, oldest first. `subnet_seed` goes into the choice of new subnets' addresses.
pub(crate) fn admit(
    view: &EcsView,
    cluster: &ClusterKey,
    random: &Random,
    subnet_seed: &str,
    now: Timestamp,
) -> Admission {
    let mut admission = Admission::default();
    let Some(tasks) = view.cluster(&cluster.scope, &cluster.cluster).map(ClusterView::tasks) else {
        return admission;
    };
    let mut batch = Batch::new(subnet_seed);
    // Of tasks that need the same, the second finds no more room than the first.
    let mut without_room: Vec<&TaskRow> = Vec::new();
    for row in tasks.waiting().iter().filter_map(|(_, id)| tasks.get(*id)) {
        if batch.changes() >= TASKS_MAX {
            break;
        }
        let lack = match without_room.iter().any(|other| needs_the_same(row, other)) {
            true => None,
            false => match give_instance(&mut batch, view, cluster, row, random, now) {
                Ok(true) => continue,
                Ok(false) => {
                    without_room.push(row);
                    None
                }
                // It was fit for its provider when it was accepted; now it cannot be placed at all.
                Err(fault) => Some(fault.message),
            },
        };
        let due = row.life.times.created_at.plus_seconds(PROVISIONING_WAIT_SECONDS);
        if due <= now || lack.is_some() {
            let reason = lack.unwrap_or_else(|| why(view, cluster, row));
            end(&mut batch, cluster, row, &reason, now);
        } else {
            admission.next = admission.next.into_iter().chain([due]).min();
        }
    }
    admission.txn = (!batch.is_empty()).then(|| batch.into_txn());
    admission
}

fn needs_the_same(row: &TaskRow, other: &TaskRow) -> bool {
    row.task_definition == other.task_definition
        && row.group == other.group
        && row.capacity_provider == other.capacity_provider
        && row.reserved == other.reserved
        && row.volume_gib() == other.volume_gib()
        && row.overrides == other.overrides
        && row.waiting == other.waiting
}

/// What a waiting task needs of its place, and what its definition says after overrides.
fn needs(row: &TaskRow) -> Result<Option<(Needs, TaskRequirements)>, Fault> {
    let (Some(definition), Some(waiting)) = (row.definition.as_ref(), row.waiting.as_deref()) else { return Ok(None) };
    let mut requirements = task_definition::requirements(&definition.document);
    let given = row.overrides.as_deref().cloned().unwrap_or_default();
    overrides::apply(&mut requirements, &given, row.launch_type)?;
    let needs = Needs {
        resources: TaskResources { volume_gib: row.volume_gib(), ..requirements.resources() },
        attributes: requirements.attributes.clone(),
        group: row.group.clone(),
        constraints: request::constraints(&requirements, &waiting.placement_constraints)?,
        strategies: request::strategies(&waiting.placement_strategy),
    };
    Ok(Some((needs, requirements)))
}

/// The instances of the task's provider, less what the batch and daemons take; and those daemons.
fn table<'a>(
    view: &'a EcsView,
    cluster: &ClusterKey,
    row: &TaskRow,
    needs: &Needs,
    taken: &TakenByHost,
) -> (Table<'a>, Reserved) {
    let target = Target::Provider(row.capacity_provider.clone().unwrap_or_default());
    let mut table = Table::new(view, cluster, &target, taken);
    let reserved = Reserved::of(view, cluster, &needs.group, row.kind());
    let mut claims = reserved.claims();
    table.candidates.iter().zip(&mut table.instances).for_each(|(candidate, free)| claims.take(*candidate, free));
    (table, reserved)
}

/// Puts a task on an instance, if one has room.
fn give_instance(
    batch: &mut Batch,
    view: &EcsView,
    cluster: &ClusterKey,
    row: &TaskRow,
    random: &Random,
    now: Timestamp,
) -> Result<bool, Fault> {
    let Some((needs, requirements)) = needs(row)? else { return Ok(false) };
    let (Table { candidates, mut instances, .. }, reserved) = table(view, cluster, row, &needs, batch.taken());
    let placement = place(&needs, &mut instances, 1, random.bits());
    let Some(chosen) = placement.chosen.first().and_then(|index| candidates.get(*index)).copied() else {
        return Ok(false);
    };
    let (host, _, host_row) = chosen;
    let mut record = row.record.clone();
    if requirements.network_mode == NetworkMode::Awsvpc {
        let asked = row.waiting.as_deref().and_then(|waiting| waiting.network_configuration.as_ref());
        let Some(request) = request::network_request(asked) else { return Ok(false) };
        let Some(network) = batch.draw_address(view, &cluster.scope, &request, random) else { return Ok(false) };
        record.network = Some(Box::new(network));
    } else if record.volume.is_none() && record.life.last_status == LastStatus::Provisioning {
        // Cannot fail: that is what PROVISIONING waits for.
        let _ = record.life.apply(TaskEvent::Provisioned, None, now);
    }
    // Last: what the batch gave is taken.
    if !batch.give_gpus(&mut record, &requirements, chosen) {
        return Ok(false);
    }
    record.availability_zone = Some(zone_of(host, host_row.zone()));
    record.host = Some(host.clone());
    if let Some(volume) = &mut record.volume {
        volume.status = AttachmentStatus::Created;
    }
    record.waiting = None;
    let path = keys::cluster(&cluster.scope, cluster.cluster.as_str());
    let cluster_row = view.cluster(&cluster.scope, &cluster.cluster).and_then(ClusterView::row);
    let rests_on = reserved.rests_on(chosen).chain(cluster_row.map(|row| (path, row.revision)));
    batch.move_to_host(&cluster.task(row.id), row.revision, &record, chosen, (needs.resources, needs.group), rests_on);
    Ok(true)
}

/// What the provider lacks.
fn why(view: &EcsView, cluster: &ClusterKey, row: &TaskRow) -> String {
    let provider = row.capacity_provider.as_deref();
    let of_provider = |status: Option<InstanceStatus>| {
        let mut hosts = view.hosts_of_cluster(&cluster.scope, &cluster.cluster);
        hosts.any(|(_, host)| {
            host.row.as_ref().is_some_and(|row| {
                row.is_registered()
                    && row.capacity_provider.as_deref() == provider
                    && status.is_none_or(|status| row.status == status)
            })
        })
    };
    if !of_provider(None) {
        return "EMPTY CAPACITY PROVIDER".to_owned();
    }
    if !of_provider(Some(InstanceStatus::Active)) {
        return "NO ACTIVE INSTANCES".to_owned();
    }
    let Ok(Some((needs, _))) = needs(row) else { return "ATTRIBUTE".to_owned() };
    let (mut table, _) = table(view, cluster, row, &needs, &TakenByHost::new());
    let placement = place(&needs, &mut table.instances, 1, 0);
    placement.closest().map_or_else(|| "RESOURCE:CPU".to_owned(), |rejection| code(&rejection.lack))
}

fn end(batch: &mut Batch, cluster: &ClusterKey, row: &TaskRow, reason: &str, now: Timestamp) {
    let mut record: TaskRecord = row.record.clone();
    let reason = StoppedReason::Verbatim(format!("TaskFailedToStart: {reason}"));
    record.ask_to_stop(Stop { code: StopCode::TaskFailedToStart, reason }, now);
    let key = cluster.task(row.id);
    batch.change_task(&key, row.revision, &record);
}
