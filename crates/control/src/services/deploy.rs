//! Begins and ends deployments: what changes in the service's row, in its revisions and in its service deployments.

use base64::Engine;
use gantry_api::ecs;
use gantry_domain::{
    Timestamp,
    deployment::{CircuitBreaker, DeploymentId, DeploymentLimits, RolloutState, Threshold},
};
use gantry_store::Txn;

use super::wire;
use crate::{
    Random,
    keys::{self, ServiceKey},
    records::{
        DeploymentRecord, RollbackRecord, ServiceDeploymentRecord, ServiceRecord, ServiceRevisionRecord, encode,
    },
    view::EcsView,
};

/// Finished service deployments (and their revisions) that a service keeps for its history.
const HISTORY_MAX: usize = 100;

/// Random numbers for one new deployment. Drawn before planning, so that planning again gives the same names.
#[derive(Debug, Clone)]
pub(crate) struct NewIds {
    /// Names the deployment and, unless it goes back to an older one, its service revision.
    pub(crate) deployment: DeploymentId,
    /// Names the service deployment: 21 characters.
    pub(crate) service_deployment: String,
}

/// Draws the names of a new deployment.
pub(crate) fn new_ids(random: &Random) -> NewIds {
    let mut service_deployment = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random.id());
    service_deployment.truncate(21);
    NewIds { deployment: DeploymentId::from_random(random.bits()), service_deployment }
}

/// The two percentages of a stored configuration, which always has them.
pub(crate) fn limits(configuration: &ecs::DeploymentConfiguration) -> DeploymentLimits {
    let percent = |value: Option<i32>, default| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(default);
    let DeploymentLimits { minimum_healthy_percent, maximum_percent } = DeploymentLimits::REPLICA;
    DeploymentLimits {
        minimum_healthy_percent: percent(configuration.minimum_healthy_percent, minimum_healthy_percent),
        maximum_percent: percent(configuration.maximum_percent, maximum_percent),
    }
}

/// The circuit breaker, when it is enabled.
pub(crate) fn circuit_breaker(configuration: &ecs::DeploymentConfiguration) -> Option<CircuitBreaker> {
    let breaker = configuration.deployment_circuit_breaker.as_ref().filter(|breaker| breaker.enable == Some(true))?;
    Some(CircuitBreaker {
        threshold: threshold(configuration),
        rollback: breaker.rollback == Some(true),
        reset_on_healthy_task: breaker.reset_on_healthy_task != Some(false),
    })
}

/// When the circuit breaker trips, or would.
pub(crate) fn threshold(configuration: &ecs::DeploymentConfiguration) -> Threshold {
    let breaker = configuration.deployment_circuit_breaker.as_ref();
    let Some(given) = breaker.and_then(|breaker| breaker.threshold_configuration.as_ref()) else {
        return Threshold::DEFAULT;
    };
    let value = given.value.and_then(|value| u32::try_from(value).ok());
    match (&given.r#type, value) {
        (Some(ecs::ThresholdType::Count), Some(value)) => Threshold::Count(value),
        (Some(ecs::ThresholdType::UnboundedPercent), Some(value)) => Threshold::UnboundedPercent(value),
        (_, Some(value)) => Threshold::BoundedPercent(value),
        (_, None) => Threshold::DEFAULT,
    }
}

/// Makes a deployment of `revision` the primary one. The one before goes on only until its tasks are replaced.
pub(crate) fn begin(
    txn: Txn,
    view: &EcsView,
    key: &ServiceKey,
    record: &mut ServiceRecord,
    revision: &ServiceRevisionRecord,
    ids: &NewIds,
    now: Timestamp,
) -> Txn {
    let number = ids.deployment.number();
    record.launch_type = revision.launch_type;
    let path =
        keys::service_revision(&key.scope, key.cluster.as_str(), key.service.as_str(), &wire::revision_id(number));
    let txn = txn.put(path, encode(revision));
    begin_at(txn, view, key, record, number, ids, now)
}

/// Goes back to a revision that exists already.
pub(crate) fn begin_at(
    txn: Txn,
    view: &EcsView,
    key: &ServiceKey,
    record: &mut ServiceRecord,
    revision: u64,
    ids: &NewIds,
    now: Timestamp,
) -> Txn {
    let source_revisions = record.deployments.iter().map(|deployment| deployment.revision).collect();
    let superseded = record.primary().filter(|primary| primary.rollout == RolloutState::InProgress).cloned();
    let mut txn = prune(txn, view, key, record);
    if let Some(superseded) = superseded {
        txn = end(txn, view, key, &superseded, End::Superseded, now);
    }
    let deployment = DeploymentRecord::new(ids.deployment, revision, ids.service_deployment.clone(), now);
    let history = ServiceDeploymentRecord {
        created_at: now,
        updated_at: now,
        finished_at: None,
        stopped_at: None,
        status: ecs::ServiceDeploymentStatus::InProgress,
        status_reason: None,
        source_revisions,
        target_revision: revision,
        deployment_configuration: record.deployment_configuration.clone(),
        failure_count: 0,
        rollback: None,
    };
    record.deployments.insert(0, deployment);
    record.steady_since = None;
    record.placement_failed = false;
    record.complaint = None;
    txn.put(deployment_path(key, &ids.service_deployment), encode(&history))
}

/// How a deployment ends.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// It reached a steady state.
    Completed,
    /// A newer one took its place before it was done.
    Superseded,
    /// The service was deleted.
    Deleted,
    /// The circuit breaker stopped it.
    Failed { reason: String, rollback_to: Option<u64> },
}

/// Writes into the history how a deployment ended; one that ended before keeps its end.
pub(crate) fn end(
    txn: Txn,
    view: &EcsView,
    key: &ServiceKey,
    deployment: &DeploymentRecord,
    how: End,
    now: Timestamp,
) -> Txn {
    use ecs::ServiceDeploymentStatus as Status;
    let Some(cluster) = view.cluster(&key.scope, &key.cluster) else { return txn };
    let id = (key.service.clone(), deployment.service_deployment.clone());
    let Some(row) = cluster.service_deployments().get(&id) else { return txn };
    if row.status != Status::InProgress {
        return txn;
    }
    let mut record = row.record.clone();
    record.updated_at = now;
    record.failure_count = deployment.failures.failed_tasks;
    match how {
        End::Completed => {
            record.status = Status::Successful;
            record.finished_at = Some(now);
        }
        End::Superseded => {
            record.status = Status::Stopped;
            record.status_reason = Some("Service deployment superseded by a new deployment.".to_owned());
            record.stopped_at = Some(now);
        }
        End::Deleted => {
            record.status = Status::Stopped;
            record.status_reason = Some("Service deleted.".to_owned());
            record.stopped_at = Some(now);
        }
        End::Failed { reason, rollback_to } => {
            record.status = if rollback_to.is_some() { Status::RollbackInProgress } else { Status::Stopped };
            record.status_reason = Some(reason.clone());
            record.stopped_at = Some(now);
            record.rollback = rollback_to.map(|revision| RollbackRecord { reason, started_at: now, revision });
        }
    }
    txn.put(deployment_path(key, &deployment.service_deployment), encode(&record))
}

/// Drops the oldest of a long history, but nothing that the service still refers to.
fn prune(mut txn: Txn, view: &EcsView, key: &ServiceKey, record: &ServiceRecord) -> Txn {
    let Some(cluster) = view.cluster(&key.scope, &key.cluster) else { return txn };
    let mut history: Vec<_> = of_service(cluster.service_deployments(), &key.service).collect();
    if history.len() < HISTORY_MAX {
        return txn;
    }
    history.sort_by_key(|(_, row)| row.created_at);
    let used = |row: &ServiceDeploymentRecord, id: &str| {
        let current = record.deployments.iter().any(|deployment| deployment.service_deployment == id);
        current || row.status == ecs::ServiceDeploymentStatus::InProgress
    };
    let excess = history.len() + 1 - HISTORY_MAX;
    for (id, _) in history.into_iter().filter(|(id, row)| !used(row, id)).take(excess) {
        txn = txn.delete(deployment_path(key, id));
    }
    let mut revisions: Vec<_> = of_service(cluster.service_revisions(), &key.service).collect();
    revisions.sort_by_key(|(_, row)| row.created_at);
    let used = |id: &str| {
        let numbers = record.deployments.iter().map(|deployment| deployment.revision).chain(record.completed_revision);
        numbers.into_iter().any(|number| wire::revision_id(number) == id)
    };
    let excess = (revisions.len() + 1).saturating_sub(HISTORY_MAX);
    for (id, _) in revisions.into_iter().filter(|(id, _)| !used(id)).take(excess) {
        txn = txn.delete(keys::service_revision(&key.scope, key.cluster.as_str(), key.service.as_str(), id));
    }
    txn
}

/// The rows of one service out of a map by service and id.
pub(crate) fn of_service<'a, T>(
    rows: &'a std::collections::BTreeMap<(gantry_domain::arn::Name, String), T>,
    service: &'a gantry_domain::arn::Name,
) -> impl Iterator<Item = (&'a String, &'a T)> {
    rows.range((service.clone(), String::new())..)
        .take_while(move |((name, _), _)| name == service)
        .map(|((_, id), row)| (id, row))
}

fn deployment_path(key: &ServiceKey, id: &str) -> String {
    keys::service_deployment(&key.scope, key.cluster.as_str(), key.service.as_str(), id)
}

/// The rollback to `revision` has arrived: the failed deployment that asked for it says so.
pub(crate) fn end_rollback(mut txn: Txn, view: &EcsView, key: &ServiceKey, revision: u64, now: Timestamp) -> Txn {
    use ecs::ServiceDeploymentStatus as Status;
    let Some(cluster) = view.cluster(&key.scope, &key.cluster) else { return txn };
    for (id, row) in of_service(cluster.service_deployments(), &key.service) {
        let waits = row.status == Status::RollbackInProgress
            && row.rollback.as_ref().is_some_and(|rollback| rollback.revision == revision);
        if waits {
            let record = ServiceDeploymentRecord {
                status: Status::RollbackSuccessful,
                finished_at: Some(now),
                updated_at: now,
                ..row.record.clone()
            };
            txn = txn.put(deployment_path(key, id), encode(&record));
        }
    }
    txn
}
