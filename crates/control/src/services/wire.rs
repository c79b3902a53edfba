//! How services, their deployments and revisions look on the wire.

use gantry_api::{Timestamp, ecs};
use gantry_domain::{arn::Scope, deployment::DeploymentId};

use super::find;
use crate::{
    keys::ServiceKey,
    records::{DeploymentRecord, LaunchType, Scheduling, ServiceRecord, ServiceRevisionRecord, ServiceStatus},
    tags,
    view::{ClusterView, Counts, EcsView, Phase},
};

/// The platform every Fargate task runs on.
pub(crate) const PLATFORM_VERSION: &str = "1.4.0";
pub(crate) const PLATFORM_FAMILY: &str = "Linux";

pub(crate) fn timestamp(at: gantry_domain::Timestamp) -> Timestamp {
    Timestamp(at.as_epoch_seconds())
}

/// A count on the wire.
pub(crate) fn count(count: impl TryInto<i32>) -> Option<i32> {
    Some(count.try_into().unwrap_or(i32::MAX))
}

/// The last part of a service revision's ARN.
pub(crate) fn revision_id(number: u64) -> String {
    format!("{number:019}")
}

pub(crate) fn revision_arn(key: &ServiceKey, number: u64) -> String {
    key.revision_arn(&revision_id(number))
}

/// The revision a deployment brings about.
pub(crate) fn revision<'a>(view: &'a EcsView, key: &ServiceKey, number: u64) -> Option<&'a ServiceRevisionRecord> {
    let cluster = view.cluster(&key.scope, &key.cluster)?;
    cluster.kept(key.kind).revisions().get(&(key.service.clone(), revision_id(number))).map(|row| &row.record)
}

/// A service as DescribeServices answers it.
pub(crate) fn service(view: &EcsView, key: &ServiceKey, record: &ServiceRecord, with_tags: bool) -> ecs::Service {
    let cluster = view.cluster(&key.scope, &key.cluster);
    let counts =
        cluster.and_then(|cluster| cluster.tasks().of_service(key.service.as_str())).map(|group| *group.counts());
    let counts = counts.unwrap_or_default();
    let primary = record.primary();
    let current = primary.and_then(|primary| revision(view, key, primary.revision));
    let current = current.or(record.primary_task_set().map(|set| &set.revision));
    let controller =
        if record.external { ecs::DeploymentControllerType::External } else { ecs::DeploymentControllerType::Ecs };
    let launch = current.map(Launch::of).unwrap_or_default();
    let inactive = record.status == ServiceStatus::Inactive;
    let deployments = if inactive { &[] } else { record.deployments.as_slice() };
    ecs::Service {
        availability_zone_rebalancing: Some(record.availability_zone_rebalancing.clone()),
        capacity_provider_strategy: launch.strategy.clone(),
        cluster_arn: Some(key.scope.cluster_arn(key.cluster.as_str())),
        created_at: Some(timestamp(record.created_at)),
        created_by: Some(record.created_by.clone()),
        current_service_deployment: primary.map(|primary| key.deployment_arn(&primary.service_deployment)),
        current_service_revisions: Some(current_revisions(cluster, key, record, deployments)),
        deployment_configuration: Some(record.deployment_configuration.clone()),
        deployment_controller: Some(ecs::DeploymentController { r#type: Some(controller) }),
        deployments: Some(
            deployments.iter().map(|deployment| self::deployment(view, cluster, key, record, deployment)).collect(),
        ),
        desired_count: count(record.desired_count),
        enable_ecs_managed_tags: Some(record.enable_ecs_managed_tags),
        enable_execute_command: Some(record.enable_execute_command),
        events: Some(events(record)),
        health_check_grace_period_seconds: Some(record.health_check_grace_period_seconds),
        launch_type: launch.launch_type,
        load_balancers: Some(Vec::new()),
        network_configuration: current.and_then(|current| current.network_configuration.clone()),
        pending_count: count(counts.pending()),
        placement_constraints: Some(record.placement_constraints.clone()),
        placement_strategy: Some(record.placement_strategy.clone()),
        platform_family: launch.platform_family,
        platform_version: current.and_then(|current| current.platform_version.clone()),
        propagate_tags: Some(record.propagate_tags.clone()),
        resource_management_type: Some(ecs::ResourceManagementType::Customer),
        role_arn: current.and_then(|current| current.network_configuration.as_ref()).map(|_| service_role(&key.scope)),
        running_count: count(counts.running()),
        scheduling_strategy: Some(scheduling(record.scheduling)),
        service_arn: Some(key.arn()),
        service_name: Some(key.service.to_string()),
        service_registries: Some(Vec::new()),
        status: Some(record.status.as_str().to_owned()),
        tags: with_tags.then(|| tags::wire(&record.tags)),
        task_definition: current.map(|current| key.scope.task_definition_arn(&current.task_definition)),
        task_sets: Some(
            record.task_sets.iter().map(|set| super::task_sets::wire(view, key, record, set, false)).collect(),
        ),
    }
}

/// The scheduling strategy on the wire.
pub(crate) fn scheduling(scheduling: Scheduling) -> ecs::SchedulingStrategy {
    match scheduling {
        Scheduling::Replica => ecs::SchedulingStrategy::Replica,
        Scheduling::Daemon => ecs::SchedulingStrategy::Daemon,
    }
}

/// The role ECS itself acts under for tasks with network interfaces.
fn service_role(scope: &Scope) -> String {
    let Scope { account, .. } = scope;
    let partition = scope.partition();
    format!("arn:{partition}:iam::{account}:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS")
}

fn events(record: &ServiceRecord) -> Vec<ecs::ServiceEvent> {
    let event = |event: &crate::records::EventRecord| ecs::ServiceEvent {
        id: Some(event.id.clone()),
        created_at: Some(timestamp(event.at)),
        message: Some(event.message.clone()),
    };
    record.events.iter().map(event).collect()
}

/// How a revision's tasks are launched, as services and deployments show it: a strategy hides the launch type.
#[derive(Default)]
pub(super) struct Launch {
    pub(super) launch_type: Option<ecs::LaunchType>,
    pub(super) strategy: Option<Vec<ecs::CapacityProviderStrategyItem>>,
    pub(super) platform_family: Option<String>,
}

impl Launch {
    pub(super) fn of(revision: &ServiceRevisionRecord) -> Self {
        let strategy = &revision.capacity_provider_strategy;
        let fargate = revision.launch_type == LaunchType::Fargate;
        Self {
            launch_type: strategy.is_empty().then(|| revision.launch_type.to_wire()),
            strategy: (!strategy.is_empty()).then(|| strategy.clone()),
            platform_family: fargate.then(|| PLATFORM_FAMILY.to_owned()),
        }
    }
}

pub(super) fn task_counts(cluster: Option<&ClusterView>, id: DeploymentId) -> (Counts, usize) {
    let group = cluster.and_then(|cluster| cluster.tasks().started_by(&id.to_string()));
    group.map(|group| (*group.counts(), group.in_phase(Phase::Wanted).len())).unwrap_or_default()
}

/// What a deployment still aims for: the primary one for the desired count, older ones for what they still have. Of two
/// sides each aims for the desired count while it is to serve.
pub(super) fn share(record: &ServiceRecord, deployment: &DeploymentRecord, wanted: usize) -> Option<i32> {
    let full = match &record.rollout {
        Some(rollout) => super::rollout::is_full(rollout, deployment.id),
        None => record.primary().is_some_and(|primary| primary.id == deployment.id),
    };
    if full { count(record.desired_count) } else { count(wanted) }
}

fn deployment(
    view: &EcsView,
    cluster: Option<&ClusterView>,
    key: &ServiceKey,
    record: &ServiceRecord,
    deployment: &DeploymentRecord,
) -> ecs::Deployment {
    let revision = revision(view, key, deployment.revision);
    let launch = revision.map(Launch::of).unwrap_or_default();
    let (counts, wanted) = task_counts(cluster, deployment.id);
    let primary = record.primary().is_some_and(|primary| primary.id == deployment.id);
    ecs::Deployment {
        id: Some(deployment.id.to_string()),
        status: Some(if primary { "PRIMARY" } else { "ACTIVE" }.to_owned()),
        task_definition: revision.map(|revision| key.scope.task_definition_arn(&revision.task_definition)),
        desired_count: share(record, deployment, wanted),
        pending_count: count(counts.pending()),
        running_count: count(counts.running()),
        failed_tasks: count(deployment.failures.failed_tasks),
        created_at: Some(timestamp(deployment.created_at)),
        updated_at: Some(timestamp(deployment.updated_at)),
        platform_version: launch.platform_family.as_ref().map(|_| PLATFORM_VERSION.to_owned()),
        launch_type: launch.launch_type,
        capacity_provider_strategy: launch.strategy,
        platform_family: launch.platform_family,
        network_configuration: revision.and_then(|revision| revision.network_configuration.clone()),
        volume_configurations: revision.and_then(volume_configurations),
        rollout_state: Some(ecs::DeploymentRolloutState::from(deployment.rollout.as_str())),
        rollout_state_reason: Some(deployment.rollout_reason.clone()),
        ..ecs::Deployment::default()
    }
}

fn current_revisions(
    cluster: Option<&ClusterView>,
    key: &ServiceKey,
    record: &ServiceRecord,
    deployments: &[DeploymentRecord],
) -> Vec<ecs::ServiceCurrentRevisionSummary> {
    let summary = |deployment: &DeploymentRecord| {
        let (counts, wanted) = task_counts(cluster, deployment.id);
        ecs::ServiceCurrentRevisionSummary {
            arn: Some(revision_arn(key, deployment.revision)),
            requested_task_count: share(record, deployment, wanted),
            running_task_count: count(counts.running()),
            pending_task_count: count(counts.pending()),
        }
    };
    deployments.iter().map(summary).collect()
}

/// A service revision as DescribeServiceRevisions answers it.
pub(crate) fn service_revision(
    view: &EcsView,
    key: &ServiceKey,
    number: u64,
    record: &ServiceRevisionRecord,
) -> ecs::ServiceRevision {
    let launch = Launch::of(record);
    ecs::ServiceRevision {
        service_revision_arn: Some(revision_arn(key, number)),
        service_arn: Some(key.arn()),
        cluster_arn: Some(key.scope.cluster_arn(key.cluster.as_str())),
        task_definition: Some(key.scope.task_definition_arn(&record.task_definition)),
        container_images: Some(container_images(view, key, record)),
        created_at: Some(timestamp(record.created_at)),
        guard_duty_enabled: Some(false),
        platform_version: launch.platform_family.as_ref().map(|_| PLATFORM_VERSION.to_owned()),
        launch_type: launch.launch_type,
        capacity_provider_strategy: launch.strategy,
        platform_family: launch.platform_family,
        network_configuration: record.network_configuration.clone(),
        volume_configurations: volume_configurations(record),
        ..ecs::ServiceRevision::default()
    }
}

fn volume_configurations(record: &ServiceRevisionRecord) -> Option<Vec<ecs::ServiceVolumeConfiguration>> {
    Some(record.volume_configurations.clone()).filter(|volumes| !volumes.is_empty())
}

pub(crate) fn container_images(
    view: &EcsView,
    key: &ServiceKey,
    record: &ServiceRevisionRecord,
) -> Vec<ecs::ContainerImage> {
    let definition = find::definition(view, key, record);
    let containers = definition.and_then(|row| row.document.container_definitions.as_deref()).unwrap_or_default();
    let image = |container: &ecs::ContainerDefinition| ecs::ContainerImage {
        container_name: container.name.clone(),
        image: container.image.clone(),
        image_digest: container.name.as_ref().and_then(|name| record.image_digests.get(name)).cloned(),
    };
    containers.iter().map(image).collect()
}
