//! How managed daemons, their deployments and revisions look on the wire.

use std::collections::BTreeSet;

use gantry_api::ecs::{
    self, DaemonAlarmConfiguration, DaemonCapacityProvider, DaemonCircuitBreaker, DaemonContainerImage,
    DaemonDeployment, DaemonDeploymentAlarms, DaemonDeploymentCapacityProvider, DaemonDeploymentConfiguration,
    DaemonDeploymentRevisionDetail, DaemonDeploymentRollbackMonitorsStatus as Monitor, DaemonDeploymentStatus,
    DaemonDeploymentSummary, DaemonDetail, DaemonPropagateTags, DaemonRevision, DaemonRevisionDetail, DaemonRollback,
    DaemonStatus, DaemonSummary,
};
use gantry_domain::deployment::DeploymentId;

use crate::{
    keys::ServiceKey,
    records::{InstanceStatus, ServiceDeploymentRecord, ServiceRecord, ServiceRevisionRecord, ServiceStatus},
    services::{
        deployment_wire, find,
        wire::{container_images, count, revision, revision_arn, timestamp},
    },
    view::{EcsView, Host, Phase},
};

/// DELETE_IN_PROGRESS until nothing of it is left.
pub(crate) fn status(record: &ServiceRecord) -> DaemonStatus {
    match record.status {
        ServiceStatus::Active => DaemonStatus::Active,
        ServiceStatus::Draining | ServiceStatus::Inactive => DaemonStatus::DeleteInProgress,
    }
}

/// When it was created.
pub(crate) fn created_at(record: &ServiceRecord) -> Option<gantry_api::Timestamp> {
    Some(timestamp(record.created_at))
}

/// When a request last changed it.
pub(crate) fn updated_at(record: &ServiceRecord) -> Option<gantry_api::Timestamp> {
    record.daemon.as_ref().map(|daemon| timestamp(daemon.updated_at))
}

/// The ARN of the deployment that was begun last.
pub(crate) fn newest_deployment(key: &ServiceKey, record: &ServiceRecord) -> Option<String> {
    let deletion = record.daemon.as_ref().and_then(|daemon| daemon.deletion.as_ref());
    let newest = deletion.or(record.primary().map(|primary| &primary.service_deployment));
    newest.map(|id| key.deployment_arn(id))
}

/// What DescribeDaemon answers.
pub(crate) fn detail(view: &EcsView, key: &ServiceKey, record: &ServiceRecord) -> DaemonDetail {
    DaemonDetail {
        daemon_arn: Some(key.arn()),
        cluster_arn: Some(key.scope.cluster_arn(key.cluster.as_str())),
        status: Some(status(record)),
        current_revisions: Some(current_revisions(view, key, record)),
        deployment_arn: newest_deployment(key, record),
        created_at: Some(timestamp(record.created_at)),
        updated_at: updated_at(record),
    }
}

fn current_revisions(view: &EcsView, key: &ServiceKey, record: &ServiceRecord) -> Vec<DaemonRevisionDetail> {
    let mut numbers: Vec<u64> = record.deployments.iter().map(|deployment| deployment.revision).collect();
    // A rollback brings back a revision that an older deployment may still have tasks of.
    let mut shown = BTreeSet::new();
    numbers.retain(|number| shown.insert(*number));
    let detail = |number: u64| {
        let numbers = numbers_of(view, key, record, number);
        let provider = |one: &Numbers| DaemonCapacityProvider {
            arn: Some(key.scope.capacity_provider_arn(&one.provider)),
            running_count: count(one.running),
            without_daemon_count: count(one.without),
        };
        DaemonRevisionDetail {
            arn: Some(revision_arn(key, number)),
            total_running_count: count(numbers.iter().map(|one| one.running).sum::<usize>()),
            total_without_daemon_count: count(numbers.iter().map(|one| one.without).sum::<usize>()),
            capacity_providers: Some(numbers.iter().map(provider).collect()),
        }
    };
    numbers.into_iter().map(detail).collect()
}

/// How a revision stands on the instances of one of its providers.
struct Numbers {
    provider: String,
    running: usize,
    draining: usize,
    without: usize,
}

fn numbers_of(view: &EcsView, key: &ServiceKey, record: &ServiceRecord, number: u64) -> Vec<Numbers> {
    let Some(daemon) = revision(view, key, number).and_then(|revision| revision.daemon.as_ref()) else {
        return Vec::new();
    };
    let primary = record.primary().is_some_and(|primary| primary.revision == number);
    let deployments = record.deployments.iter().filter(|deployment| deployment.revision == number);
    let deployments: Vec<DeploymentId> = deployments.map(|deployment| deployment.id).collect();
    let numbers = |provider: &String| Numbers {
        provider: provider.clone(),
        running: tasks(view, key, &deployments, provider, Phase::Wanted),
        draining: tasks(view, key, &deployments, provider, Phase::Stopping),
        // A critical daemon leaves no instance to other tasks.
        without: if primary && !daemon.critical { without(view, key, provider) } else { 0 },
    };
    daemon.capacity_providers.iter().map(numbers).collect()
}

/// Tasks of these deployments on the instances of a provider: RUNNING ones, or ones that stop.
fn tasks(view: &EcsView, key: &ServiceKey, deployments: &[DeploymentId], provider: &str, phase: Phase) -> usize {
    let Some(tasks) = view.cluster(&key.scope, &key.cluster).map(|cluster| cluster.tasks()) else { return 0 };
    let phases = [phase];
    let of = |id: &DeploymentId| {
        let group = tasks.started_by(&id.to_string());
        let rows = group.into_iter().flat_map(|group| tasks.walk(group, &phases, None));
        rows.filter(|task| {
            let runs = phase != Phase::Wanted || task.life.last_status == gantry_domain::task::LastStatus::Running;
            runs && task.capacity_provider.as_deref() == Some(provider)
        })
        .count()
    };
    deployments.iter().map(of).sum()
}

/// ACTIVE instances of a provider where no task of the daemon is RUNNING.
fn without(view: &EcsView, key: &ServiceKey, provider: &str) -> usize {
    let group = key.group();
    let own = |host: &Host| {
        host.row.as_ref().is_some_and(|row| {
            row.status == InstanceStatus::Active && row.capacity_provider.as_deref() == Some(provider)
        })
    };
    let runs = |host: &Host| {
        host.tasks()
            .values()
            .any(|(_, task)| task.group == group && task.life.last_status == gantry_domain::task::LastStatus::Running)
    };
    view.hosts_of_cluster(&key.scope, &key.cluster).filter(|(_, host)| own(host) && !runs(host)).count()
}

/// An entry of ListDaemons.
pub(crate) fn summary(key: &ServiceKey, record: &ServiceRecord) -> DaemonSummary {
    DaemonSummary {
        daemon_arn: Some(key.arn()),
        status: Some(status(record)),
        created_at: Some(timestamp(record.created_at)),
        updated_at: updated_at(record),
    }
}

/// What DescribeDaemonRevisions answers.
pub(crate) fn daemon_revision(
    view: &EcsView,
    key: &ServiceKey,
    number: u64,
    record: &ServiceRevisionRecord,
) -> DaemonRevision {
    let daemon = record.daemon.as_ref();
    let image = |image: ecs::ContainerImage| DaemonContainerImage {
        container_name: image.container_name,
        image: image.image,
        image_digest: image.image_digest,
    };
    let propagates = daemon.is_some_and(|daemon| daemon.propagate_tags);
    DaemonRevision {
        daemon_revision_arn: Some(revision_arn(key, number)),
        daemon_arn: Some(key.arn()),
        cluster_arn: Some(key.scope.cluster_arn(key.cluster.as_str())),
        daemon_task_definition_arn: Some(key.scope.daemon_task_definition_arn(&record.task_definition)),
        created_at: Some(timestamp(record.created_at)),
        container_images: Some(container_images(view, key, record).into_iter().map(image).collect()),
        propagate_tags: Some(if propagates { DaemonPropagateTags::Daemon } else { DaemonPropagateTags::None }),
        enable_ecs_managed_tags: daemon.map(|daemon| daemon.enable_ecs_managed_tags),
        enable_execute_command: daemon.map(|daemon| daemon.enable_execute_command),
        critical: daemon.map(|daemon| daemon.critical),
    }
}

/// The status of a deployment in the words of daemons, which are among those of services.
pub(crate) fn deployment_status(record: &ServiceDeploymentRecord) -> DaemonDeploymentStatus {
    DaemonDeploymentStatus::from(record.status.as_str())
}

/// An entry of ListDaemonDeployments.
pub(crate) fn deployment_summary(
    key: &ServiceKey,
    id: &str,
    record: &ServiceDeploymentRecord,
) -> DaemonDeploymentSummary {
    DaemonDeploymentSummary {
        daemon_deployment_arn: Some(key.deployment_arn(id)),
        daemon_arn: Some(key.arn()),
        cluster_arn: Some(key.scope.cluster_arn(key.cluster.as_str())),
        status: Some(deployment_status(record)),
        status_reason: record.status_reason.clone(),
        target_daemon_revision_arn: record.target_revision.map(|number| revision_arn(key, number)),
        created_at: Some(timestamp(record.created_at)),
        started_at: Some(timestamp(record.created_at)),
        stopped_at: record.stopped_at.map(timestamp),
        finished_at: record.finished_at.map(timestamp),
    }
}

/// What DescribeDaemonDeployments answers.
pub(crate) fn deployment(
    view: &EcsView,
    key: &ServiceKey,
    id: &str,
    record: &ServiceDeploymentRecord,
) -> DaemonDeployment {
    // What watches it is what watches the deployment of a service.
    let watched = deployment_wire::service_deployment(view, key, id, record);
    let monitor = |status: Option<ecs::ServiceDeploymentRollbackMonitorsStatus>| {
        status.map(|status| Monitor::from(status.as_str()))
    };
    let breaker = watched.deployment_circuit_breaker.unwrap_or_default();
    let alarms = watched.alarms.unwrap_or_default();
    let target = |number: u64| revision_detail(view, key, number);
    DaemonDeployment {
        daemon_deployment_arn: watched.service_deployment_arn,
        cluster_arn: watched.cluster_arn,
        status: Some(deployment_status(record)),
        status_reason: record.status_reason.clone(),
        target_daemon_revision: record.target_revision.map(target),
        source_daemon_revisions: Some(record.source_revisions.iter().map(|number| target(*number)).collect()),
        circuit_breaker: Some(DaemonCircuitBreaker {
            status: monitor(breaker.status),
            failure_count: breaker.failure_count,
            threshold: breaker.threshold,
        }),
        alarms: Some(DaemonDeploymentAlarms {
            status: monitor(alarms.status),
            alarm_names: alarms.alarm_names,
            triggered_alarm_names: alarms.triggered_alarm_names,
        }),
        rollback: record.rollback.as_ref().map(|rollback| DaemonRollback {
            reason: Some(rollback.reason.clone()),
            started_at: Some(timestamp(rollback.started_at)),
            rollback_target_daemon_revision_arn: Some(revision_arn(key, rollback.revision)),
            rollback_capacity_providers: revision(view, key, rollback.revision)
                .and_then(|revision| revision.daemon.as_ref())
                .map(|daemon| daemon.capacity_providers.iter().map(|name| key.scope.capacity_provider_arn(name)))
                .map(Iterator::collect),
        }),
        deployment_configuration: Some(configuration(record)),
        created_at: watched.created_at,
        started_at: watched.started_at,
        stopped_at: watched.stopped_at,
        finished_at: watched.finished_at,
    }
}

fn revision_detail(view: &EcsView, key: &ServiceKey, number: u64) -> DaemonDeploymentRevisionDetail {
    let numbers = match find::row(view, key) {
        Some(row) => numbers_of(view, key, row, number),
        None => Vec::new(),
    };
    let provider = |one: &Numbers| DaemonDeploymentCapacityProvider {
        arn: Some(key.scope.capacity_provider_arn(&one.provider)),
        running_instance_count: count(one.running),
        draining_instance_count: count(one.draining),
        without_daemon_instance_count: count(one.without),
    };
    DaemonDeploymentRevisionDetail {
        arn: Some(revision_arn(key, number)),
        total_running_instance_count: count(numbers.iter().map(|one| one.running).sum::<usize>()),
        total_draining_instance_count: count(numbers.iter().map(|one| one.draining).sum::<usize>()),
        total_without_daemon_instance_count: count(numbers.iter().map(|one| one.without).sum::<usize>()),
        capacity_providers: Some(numbers.iter().map(provider).collect()),
    }
}

fn configuration(record: &ServiceDeploymentRecord) -> DaemonDeploymentConfiguration {
    let alarms = record.deployment_configuration.alarms.as_ref();
    DaemonDeploymentConfiguration {
        drain_percent: record.drain_percent,
        alarms: alarms
            .map(|alarms| DaemonAlarmConfiguration { alarm_names: alarms.alarm_names.clone(), enable: alarms.enable }),
        bake_time_in_minutes: record.deployment_configuration.bake_time_in_minutes,
    }
}
