//! How a service deployment looks on the wire, as DescribeServiceDeployments answers it. While it goes on, numbers come
//! from its service.

use gantry_api::ecs::{self, ServiceDeploymentRollbackMonitorsStatus as Monitor, ServiceDeploymentStatus as Status};

use super::{
    alarms, configuration, find, rollout,
    wire::{count, revision_arn, share, task_counts, timestamp},
};
use crate::{
    keys::ServiceKey,
    records::{DeploymentRecord, ServiceDeploymentRecord, ServiceRecord, TriggerRecord},
    view::EcsView,
};

pub(crate) fn service_deployment(
    view: &EcsView,
    key: &ServiceKey,
    id: &str,
    record: &ServiceDeploymentRecord,
) -> ecs::ServiceDeployment {
    let service = find::row(view, key).map(|row| &row.record);
    // The one that brings an older revision back bears the name of the one that failed.
    let own = |deployment: &&DeploymentRecord| deployment.service_deployment == id && !deployment.rollback;
    let running = service.and_then(|service| service.deployments.iter().find(own));
    let under_way = service.and_then(|service| service.rollout.as_ref().filter(|row| row.service_deployment == id));
    let summary = |number: u64| revision_summary(view, key, (id, record), number);
    ecs::ServiceDeployment {
        service_deployment_arn: Some(key.deployment_arn(id)),
        service_arn: Some(key.arn()),
        cluster_arn: Some(key.scope.cluster_arn(key.cluster.as_str())),
        created_at: Some(timestamp(record.created_at)),
        started_at: Some(timestamp(record.created_at)),
        updated_at: Some(timestamp(record.updated_at)),
        finished_at: record.finished_at.map(timestamp),
        stopped_at: record.stopped_at.map(timestamp),
        status: Some(record.status.clone()),
        status_reason: record.status_reason.clone(),
        lifecycle_stage: under_way.map(rollout::stage),
        lifecycle_hook_details: under_way.map(rollout::hook_details).filter(|details| !details.is_empty()),
        source_service_revisions: Some(record.source_revisions.iter().map(|&number| summary(number)).collect()),
        target_service_revision: record.target_revision.map(summary),
        deployment_configuration: Some(record.deployment_configuration.clone()),
        deployment_circuit_breaker: Some(circuit_breaker(service, running, record)),
        alarms: Some(alarm_monitor(running, record)),
        rollback: record.rollback.as_ref().map(|rollback| ecs::Rollback {
            reason: Some(rollback.reason.clone()),
            started_at: Some(timestamp(rollback.started_at)),
            service_revision_arn: Some(revision_arn(key, rollback.revision)),
        }),
    }
}

fn revision_summary(
    view: &EcsView,
    key: &ServiceKey,
    (id, record): (&str, &ServiceDeploymentRecord),
    number: u64,
) -> ecs::ServiceRevisionSummary {
    let cluster = view.cluster(&key.scope, &key.cluster);
    let service = find::row(view, key);
    let (mut running, mut pending, mut requested) = (0, 0, None);
    for deployment in service.into_iter().flat_map(|row| &row.deployments) {
        if deployment.revision != number {
            continue;
        }
        let (counts, wanted) = task_counts(cluster, deployment.id);
        running += counts.running();
        pending += counts.pending();
        requested = requested.or(service.and_then(|row| share(row, deployment, wanted)));
    }
    let weights = weights(service.map(|row| &row.record), (id, record), number);
    ecs::ServiceRevisionSummary {
        arn: Some(revision_arn(key, number)),
        requested_task_count: Some(requested.unwrap_or(0)),
        running_task_count: count(running),
        pending_task_count: count(pending),
        requested_production_traffic_weight: weights.map(|(production, _)| production),
        requested_test_traffic_weight: weights.map(|(_, test)| test),
    }
}

/// What a revision of a deployment with two sides serves: as its stage says, and all or nothing once it is over.
fn weights(
    service: Option<&ServiceRecord>,
    (id, record): (&str, &ServiceDeploymentRecord),
    number: u64,
) -> Option<(f64, f64)> {
    let strategy = record.deployment_configuration.strategy.as_ref()?;
    if *strategy == ecs::DeploymentStrategy::Rolling {
        return None;
    }
    let under_way = service.and_then(|service| Some((service, service.rollout.as_ref()?)));
    if let Some((service, row)) = under_way.filter(|(_, row)| row.service_deployment == id) {
        let deployment = service.deployments.iter().find(|deployment| deployment.revision == number);
        return Some(deployment.and_then(|deployment| rollout::weights(row, deployment)).unwrap_or((0.0, 0.0)));
    }
    // Not told by the deployment any more when something newer took its place halfway.
    let back = record.rollback.as_ref().map(|rollback| rollback.revision).or(match record.source_revisions[..] {
        [one] => Some(one),
        _ => None,
    });
    let serving = if record.status == Status::Successful { record.target_revision } else { back };
    let serves = serving == Some(number);
    Some(if serves { (100.0, 100.0) } else { (0.0, 0.0) })
}

fn circuit_breaker(
    service: Option<&ServiceRecord>,
    running: Option<&DeploymentRecord>,
    record: &ServiceDeploymentRecord,
) -> ecs::ServiceDeploymentCircuitBreaker {
    let enabled = configuration::circuit_breaker(&record.deployment_configuration).is_some();
    let triggered = record.trigger == Some(TriggerRecord::CircuitBreaker);
    let desired = service.map_or(0, |service| service.desired_count);
    let open = running.filter(|_| is_watched(record));
    let threshold = configuration::threshold(&record.deployment_configuration);
    ecs::ServiceDeploymentCircuitBreaker {
        status: Some(monitor(enabled, triggered, record)),
        failure_count: count(open.map_or(record.failure_count, |running| running.failures.failed_tasks)),
        threshold: count(record.threshold.unwrap_or_else(|| threshold.tasks(desired))),
    }
}

fn alarm_monitor(running: Option<&DeploymentRecord>, record: &ServiceDeploymentRecord) -> ecs::ServiceDeploymentAlarms {
    let names = alarms::names(&record.deployment_configuration);
    let ignored = record.alarms_ignored || running.is_some_and(|running| running.alarms_ignored);
    let triggered = match &record.trigger {
        Some(TriggerRecord::Alarms(names)) => Some(names.clone()),
        _ => None,
    };
    ecs::ServiceDeploymentAlarms {
        status: Some(monitor(!names.is_empty() && !ignored, triggered.is_some(), record)),
        alarm_names: (!names.is_empty()).then(|| names.to_vec()),
        triggered_alarm_names: triggered,
    }
}

fn monitor(enabled: bool, triggered: bool, record: &ServiceDeploymentRecord) -> Monitor {
    match (enabled, triggered) {
        (_, true) => Monitor::Triggered,
        (false, _) => Monitor::Disabled,
        (true, _) if is_watched(record) => Monitor::Monitoring,
        (true, _) => Monitor::MonitoringComplete,
    }
}

/// It can still fail.
fn is_watched(record: &ServiceDeploymentRecord) -> bool {
    matches!(record.status, Status::Pending | Status::InProgress)
}
