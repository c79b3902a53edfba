//! Service deployments: what is written of a deployment while it goes on, and how it ended.

use gantry_api::ecs;
use gantry_domain::{Timestamp, arn::Name, deployment::Cause};
use gantry_store::Txn;

use super::{configuration, deploy::NewIds, wire};
use crate::{
    keys::{ServiceKey, ServiceKind},
    paging::Listing,
    records::{
        DeploymentRecord, RollbackRecord, ServiceDeploymentRecord, ServiceRecord, SharedRow, TriggerRecord, encode,
    },
    view::{ClusterView, EcsView},
};

/// Finished service deployments (and their revisions) that a service keeps for its history.
const HISTORY_MAX: usize = 100;

/// How a deployment ends.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// It reached its goal; of a rollback: the older revision is back.
    Completed,
    /// A newer one took its place before it was done.
    Superseded,
    /// The service was deleted.
    Deleted,
    /// It was given up; the revision with this number comes back.
    Failed { reason: String, cause: Cause, rollback_to: Option<u64> },
}

/// Writes that a deployment of `revision` begins.
pub(crate) fn begin(
    txn: Txn,
    view: &EcsView,
    key: &ServiceKey,
    record: &ServiceRecord,
    (revision, ids): (u64, &NewIds),
    now: Timestamp,
) -> Txn {
    let txn = prune(txn, view, key, record);
    let history = ServiceDeploymentRecord { target_revision: Some(revision), ..beginning(record, now) };
    txn.put(key.deployment_path(&ids.service_deployment), encode(&history))
}

/// A service deployment that has not ended.
pub(crate) fn open(view: &EcsView, key: &ServiceKey, id: &str) -> Option<ServiceDeploymentRecord> {
    use ecs::ServiceDeploymentStatus as Status;
    let cluster = view.cluster(&key.scope, &key.cluster)?;
    let row = cluster.kept(key.kind).deployments().get(&(key.service.clone(), id.to_owned()))?;
    let open = matches!(
        row.status,
        Status::Pending
            | Status::InProgress
            | Status::StopRequested
            | Status::RollbackRequested
            | Status::RollbackInProgress
    );
    open.then(|| row.record.clone())
}

/// Writes that a managed daemon is being taken away by the deployment `id`.
pub(crate) fn begin_deletion(txn: Txn, key: &ServiceKey, record: &ServiceRecord, id: &str, now: Timestamp) -> Txn {
    let history = beginning(record, now);
    txn.put(key.deployment_path(id), encode(&history))
}

/// Writes that a managed daemon is gone.
pub(crate) fn end_deletion(txn: Txn, view: &EcsView, key: &ServiceKey, id: &str, now: Timestamp) -> Txn {
    let Some(mut record) = open(view, key, id) else { return txn };
    record.status = ecs::ServiceDeploymentStatus::Successful;
    record.finished_at = Some(now);
    record.updated_at = now;
    txn.put(key.deployment_path(id), encode(&record))
}

fn beginning(record: &ServiceRecord, now: Timestamp) -> ServiceDeploymentRecord {
    ServiceDeploymentRecord {
        created_at: now,
        updated_at: now,
        finished_at: None,
        stopped_at: None,
        status: ecs::ServiceDeploymentStatus::InProgress,
        status_reason: None,
        source_revisions: record.deployments.iter().map(|deployment| deployment.revision).collect(),
        target_revision: None,
        drain_percent: record.daemon.as_ref().map(|daemon| daemon.drain_percent),
        deployment_configuration: record.deployment_configuration.clone(),
        failure_count: 0,
        threshold: None,
        trigger: None,
        alarms_ignored: false,
        rollback: None,
    }
}

/// Writes how a deployment ended; one that ended before keeps its end.
pub(crate) fn end(
    txn: Txn,
    view: &EcsView,
    key: &ServiceKey,
    (service, deployment): (&ServiceRecord, &DeploymentRecord),
    how: End,
    now: Timestamp,
) -> Txn {
    use ecs::ServiceDeploymentStatus as Status;
    let id = &deployment.service_deployment;
    let Some(mut record) = open(view, key, id) else { return txn };
    let returning = record.status == Status::RollbackInProgress;
    record.updated_at = now;
    if !returning {
        let threshold = configuration::threshold(&service.deployment_configuration);
        record.failure_count = deployment.failures.failed_tasks;
        record.threshold = Some(threshold.tasks(service.desired_count));
        record.alarms_ignored = deployment.alarms_ignored;
    }
    let what = match key.kind {
        ServiceKind::Service => "Service",
        ServiceKind::Daemon => "Daemon",
    };
    let given_up = |record: &mut ServiceDeploymentRecord, why: &str| {
        record.status = if returning { Status::RollbackFailed } else { Status::Stopped };
        record.status_reason = Some(why.to_owned());
        record.stopped_at = Some(now);
    };
    match how {
        End::Completed => {
            record.status = match record.status {
                Status::RollbackInProgress => Status::RollbackSuccessful,
                // Told to stop, and nothing is left to do for it.
                Status::StopRequested => Status::Stopped,
                _ => Status::Successful,
            };
            record.finished_at = Some(now);
        }
        End::Superseded => given_up(&mut record, &format!("{what} deployment superseded by a new deployment.")),
        End::Deleted => given_up(&mut record, &format!("{what} deleted.")),
        End::Failed { reason, .. } if returning => given_up(&mut record, &reason),
        End::Failed { reason, cause, rollback_to } => {
            record.status = match (&record.status, rollback_to) {
                // Somebody wanted it to end: it has when its tasks have.
                (Status::StopRequested, Some(_)) => Status::StopRequested,
                (_, Some(_)) => Status::RollbackInProgress,
                (_, None) => Status::Stopped,
            };
            record.trigger = trigger(&cause);
            record.status_reason = Some(reason.clone());
            record.stopped_at = Some(now);
            let rolls_back = record.status == Status::RollbackInProgress;
            let rollback = |revision| RollbackRecord { reason, started_at: now, revision };
            record.rollback = rollback_to.filter(|_| rolls_back).map(rollback);
        }
    }
    txn.put(key.deployment_path(id), encode(&record))
}

/// The same for everything of a service that is under way: the primary deployment, and one that is on its way back.
pub(crate) fn end_all(
    mut txn: Txn,
    view: &EcsView,
    key: &ServiceKey,
    service: &ServiceRecord,
    how: &End,
    now: Timestamp,
) -> Txn {
    let green = service.rollout.as_ref().map(|rollout| (rollout.green, rollout.service_deployment.as_str()));
    if let Some(primary) = service.primary().filter(|primary| Some(primary.id) != green.map(|(id, _)| id)) {
        txn = end(txn, view, key, (service, primary), how.clone(), now);
    }
    let Some((id, service_deployment)) = green else { return txn };
    match service.deployments.iter().find(|deployment| deployment.id == id) {
        Some(deployment) => end(txn, view, key, (service, deployment), how.clone(), now),
        // Its last task is gone, and blue is not complete yet.
        None => end_rollback(txn, view, key, service_deployment, how, now),
    }
}

/// Writes that a deployment with two sides has gone back, or never will.
pub(crate) fn end_rollback(txn: Txn, view: &EcsView, key: &ServiceKey, id: &str, how: &End, now: Timestamp) -> Txn {
    use ecs::ServiceDeploymentStatus as Status;
    let Some(mut record) = open(view, key, id) else { return txn };
    record.status = match (&record.status, how) {
        (Status::StopRequested, _) => Status::Stopped,
        (_, End::Completed) => Status::RollbackSuccessful,
        _ => Status::RollbackFailed,
    };
    if let End::Failed { reason, .. } = how {
        record.status_reason = Some(reason.clone());
    }
    record.finished_at = Some(now);
    record.updated_at = now;
    txn.put(key.deployment_path(id), encode(&record))
}

fn trigger(cause: &Cause) -> Option<TriggerRecord> {
    match cause {
        Cause::CircuitBreaker => Some(TriggerRecord::CircuitBreaker),
        Cause::Alarms(names) => Some(TriggerRecord::Alarms(names.clone())),
        Cause::Stopped(_) | Cause::Stage { .. } => None,
    }
}

/// Drops the oldest of a long history, but nothing that the service still refers to.
fn prune(mut txn: Txn, view: &EcsView, key: &ServiceKey, record: &ServiceRecord) -> Txn {
    let Some(cluster) = view.cluster(&key.scope, &key.cluster) else { return txn };
    let mut history: Vec<_> = of_service(cluster.kept(key.kind).deployments(), &key.service).collect();
    if history.len() < HISTORY_MAX {
        return txn;
    }
    history.sort_by_key(|(_, row)| row.created_at);
    let used = |id: &str| {
        let current = record.deployments.iter().any(|deployment| deployment.service_deployment == id);
        current || open(view, key, id).is_some()
    };
    let excess = history.len() + 1 - HISTORY_MAX;
    for (id, _) in history.into_iter().filter(|(id, _)| !used(id)).take(excess) {
        txn = txn.delete(key.deployment_path(id));
    }
    let mut revisions: Vec<_> = of_service(cluster.kept(key.kind).revisions(), &key.service).collect();
    revisions.sort_by_key(|(_, row)| row.created_at);
    let used = |id: &str| {
        let numbers = record.deployments.iter().map(|deployment| deployment.revision).chain(record.completed_revision);
        numbers.into_iter().any(|number| wire::revision_id(number) == id)
    };
    let excess = (revisions.len() + 1).saturating_sub(HISTORY_MAX);
    for (id, _) in revisions.into_iter().filter(|(id, _)| !used(id)).take(excess) {
        txn = txn.delete(key.revision_path(id));
    }
    txn
}

/// A page of the deployments of a service that match, newest first.
pub(crate) fn newest_first<'a>(
    cluster: &'a ClusterView,
    key: &'a ServiceKey,
    matches: impl Fn(&ServiceDeploymentRecord) -> bool,
    listing: &Listing,
) -> (Vec<(&'a String, &'a SharedRow<ServiceDeploymentRecord>)>, Option<String>) {
    let order = |id: &str, row: &ServiceDeploymentRecord| format!("{:019} {id}", i64::MAX - row.created_at.as_millis());
    let rows = of_service(cluster.kept(key.kind).deployments(), &key.service);
    let mut matching: Vec<_> = rows.filter(|(_, row)| matches(row)).collect();
    matching.sort_by_key(|(id, row)| order(id, row));
    let rest = matching.into_iter().filter(|(id, row)| listing.after().is_none_or(|after| *order(id, row) > *after));
    listing.page(rest, |(id, row)| order(id, row))
}

/// Whether a deployment was created in that time.
pub(crate) fn was_created(row: &ServiceDeploymentRecord, range: Option<&ecs::CreatedAt>) -> bool {
    let created = row.created_at.as_epoch_seconds();
    let (after, before) = range.map_or((None, None), |range| (range.after, range.before));
    after.is_none_or(|after| created >= after.0) && before.is_none_or(|before| created <= before.0)
}

/// The rows of one service out of a map by service and id.
pub(crate) fn of_service<'a, T>(
    rows: &'a std::collections::BTreeMap<(Name, String), T>,
    service: &'a Name,
) -> impl Iterator<Item = (&'a String, &'a T)> {
    rows.range((service.clone(), String::new())..)
        .take_while(move |((name, _), _)| name == service)
        .map(|((_, id), row)| (id, row))
}
