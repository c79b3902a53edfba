//! A service as the planner sees it, out of one picture of the store.

use std::sync::Arc;

use gantry_domain::{
    Timestamp,
    deployment::{DeploymentId, RolloutState, StopKind, Watch},
    reason::StoppedReason,
    service::{DeploymentView, End, ScaleInRule, ServiceView, TaskView},
    task::StopCode,
};

use super::{alarms, configuration, daemon, find, rollout, wire, zones};
use crate::{
    clusters,
    keys::ServiceKey,
    records::{
        DeploymentRecord, InstanceStatus, LaunchType, Scheduling, ServiceRecord, ServiceRevisionRecord, ServiceStatus,
        SharedRow, TaskRecord, TaskSetRecord, TaskSetStatus, ZONE_ATTRIBUTE,
    },
    settings::Settings,
    tasks::request,
    view::{EcsView, Phase, TaskRow},
};

/// Ended tasks, and as many strays, that one plan looks at: half of what a transaction may touch each.
const ENDED_AT_ONCE: usize = super::act::TASKS_MAX / 2;

/// What a plan is made for: a service with its deployments, or one task set of a service whose owner drives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Service,
    TaskSet(DeploymentId),
}

/// The units of a service.
pub(crate) fn units(record: &ServiceRecord) -> Vec<Unit> {
    if record.external {
        return record.task_sets.iter().map(|set| Unit::TaskSet(set.id)).collect();
    }
    vec![Unit::Service]
}

/// A service with everything a plan is made from, and the rows that acting on the plan must compare with.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) unit: Unit,
    pub(crate) row: SharedRow<ServiceRecord>,
    pub(crate) view: ServiceView,
    /// The rows behind [`ServiceView::tasks`].
    pub(crate) tasks: Vec<Arc<TaskRow>>,
    /// Ended tasks of deployments that are gone, or of an earlier service of this name: nothing to learn from.
    pub(crate) strays: Vec<Arc<TaskRow>>,
    /// When the first of its tasks stops being protected, which nobody will announce.
    pub(crate) protection_ends_at: Option<Timestamp>,
}

/// The service, unless it is INACTIVE or does not exist.
pub(crate) fn observe(
    view: &EcsView,
    key: &ServiceKey,
    unit: Unit,
    (settings, now): (&Settings, Timestamp),
) -> Option<Observed> {
    let row = find::row(view, key).filter(|row| row.status != ServiceStatus::Inactive)?.clone();
    let cluster = view.cluster(&key.scope, &key.cluster)?;
    let name = key.service.as_str();
    let tasks = cluster.tasks();
    let alive = tasks
        .kept_by(key.kind, name)
        .into_iter()
        .flat_map(|group| tasks.walk(group, &[Phase::Wanted, Phase::Stopping], None));
    let deployments = deployments(view, key, &row, unit);
    if deployments.is_empty() {
        return None;
    }
    let own = |task: &Arc<TaskRow>| {
        deployment_of(task).is_some_and(|id| deployments.iter().any(|deployment| deployment.id == id))
    };
    let stray = |task: &&Arc<TaskRow>| {
        deployment_of(task).is_none_or(|id| {
            row.task_set(id).is_none() && !row.deployments.iter().any(|deployment| deployment.id == id)
        })
    };
    // Counted and marked as counted by one transaction, which has a bound; the next run sees the rest.
    let strays = tasks.uncounted_of(key.kind, name).filter(stray).take(ENDED_AT_ONCE).cloned().collect();
    let ended = tasks.uncounted_of(key.kind, name).filter(|task| own(task)).take(ENDED_AT_ONCE).cloned();
    let tasks: Vec<Arc<TaskRow>> = alive.filter(|task| own(task)).cloned().chain(ended).collect();
    let set = match unit {
        Unit::Service => None,
        Unit::TaskSet(id) => Some(row.task_set(id)?),
    };
    let revision = match set {
        Some(set) => Some(&set.revision),
        None => row.primary().and_then(|primary| wire::revision(view, key, primary.revision)),
    };
    let rules = Rules::of(&row).with_providers(revision);
    let draining =
        row.status == ServiceStatus::Draining || set.is_some_and(|set| set.status == TaskSetStatus::Draining);
    let daemon = (row.scheduling == Scheduling::Daemon).then(|| daemon::instances(view, key, &row));
    let active = daemon.iter().flatten().filter(|instance| instance.active).count();
    let instances = u32::try_from(active).unwrap_or(u32::MAX);
    let service = ServiceView {
        desired_count: match (&daemon, set) {
            (Some(_), _) => instances,
            (None, Some(set)) => set.computed_desired_count(row.desired_count),
            (None, None) => row.desired_count,
        },
        daemon,
        draining,
        limits: configuration::limits(&row.deployment_configuration),
        missing_max: row.daemon.as_ref().map(|daemon| daemon::missing_max(daemon, instances)),
        room_max: None,
        circuit_breaker: configuration::circuit_breaker(&row.deployment_configuration).filter(|_| set.is_none()),
        watch: watch(view, key, &row),
        rollout: row.rollout.as_ref().filter(|_| set.is_none()).and_then(rollout::of),
        health_check_grace_period_seconds: row.health_check_grace_period_seconds.into(),
        healthy_after_running_ms: i64::try_from(settings.healthy_after_running.as_millis()).unwrap_or(i64::MAX),
        placement_failed: set.map_or(row.placement_failed, |set| set.placement_failed),
        steady_since: set.map_or(row.steady_since, |set| set.steady_since),
        scale_in: rules.scale_in(),
        rebalance: zones::rebalance(view, key, &row, &tasks).filter(|_| set.is_none()),
        tasks: tasks.iter().filter_map(|task| task_view(view, &rules, task, now)).collect(),
        deployments,
    };
    let protection_ends_at = tasks.iter().filter_map(|task| task.protection_at(now)).min();
    Some(Observed { unit, row, view: service, tasks, strays, protection_ends_at })
}

fn deployments(view: &EcsView, key: &ServiceKey, row: &ServiceRecord, unit: Unit) -> Vec<DeploymentView> {
    let deployment = |deployment: &DeploymentRecord| DeploymentView {
        id: deployment.id,
        has_health_check: has_health_check(view, key, wire::revision(view, key, deployment.revision)),
        rollout: deployment.rollout,
        rollback: deployment.rollback,
        baking_since: deployment.baking_since,
        failures: deployment.failures,
    };
    // A task set is its own only deployment. Nobody waits for it to complete: its owner looks at its stability.
    let of_set = |set: &TaskSetRecord| DeploymentView {
        id: set.id,
        has_health_check: has_health_check(view, key, Some(&set.revision)),
        rollout: RolloutState::Completed,
        rollback: false,
        baking_since: None,
        failures: set.failures,
    };
    match unit {
        Unit::Service => row.deployments.iter().map(deployment).collect(),
        Unit::TaskSet(id) => row.task_set(id).map(of_set).into_iter().collect(),
    }
}

/// What the primary deployment is held to.
fn watch(view: &EcsView, key: &ServiceKey, row: &ServiceRecord) -> Watch {
    let Some(primary) = row.primary() else { return Watch::default() };
    let configuration = row.rollout.as_ref().map_or(&row.deployment_configuration, |rollout| &rollout.configuration);
    let stop = primary.stop.as_ref().map(|kind| match kind {
        gantry_api::ecs::StopServiceDeploymentStopType::Abort => StopKind::Abort,
        _ => StopKind::Rollback,
    });
    Watch {
        bake_ms: alarms::bake_ms(view, &key.scope, configuration),
        early_success: configuration::early_success(configuration),
        alarms: if primary.alarms_ignored { Vec::new() } else { alarms::firing(view, &key.scope, configuration) },
        alarm_rollback: configuration::alarms(configuration).is_some_and(|alarms| alarms.rollback == Some(true)),
        stop,
    }
}

/// The deployment or task set that started a task.
fn deployment_of(task: &TaskRecord) -> Option<DeploymentId> {
    DeploymentId::parse(task.started_by.as_deref()?)
}

fn has_health_check(view: &EcsView, key: &ServiceKey, revision: Option<&ServiceRevisionRecord>) -> bool {
    let definition = revision.and_then(|revision| find::definition(view, key, revision));
    let containers = definition.and_then(|row| row.document.container_definitions.as_deref()).unwrap_or_default();
    containers.iter().any(|container| container.essential != Some(false) && container.health_check.is_some())
}

fn task_view(view: &EcsView, rules: &Rules, task: &TaskRow, now: Timestamp) -> Option<TaskView> {
    let host = task.host.as_ref().and_then(|host| view.host(host));
    let status = host.and_then(|host| host.row.as_ref()).map(|row| row.status);
    let times = &task.life.times;
    Some(TaskView {
        id: task.id.to_string(),
        deployment: deployment_of(task)?,
        last_status: task.life.last_status,
        desired_status: task.life.desired_status,
        health: task.health,
        created_at: times.created_at,
        started_at: times.started_at,
        stopped_at: times.stopped_at,
        end: task.is_stopped().then(|| end(task)),
        instance: task.host.as_ref().map(|host| host.id.to_string()).unwrap_or_default(),
        zone: task.availability_zone.clone().unwrap_or_default(),
        on_draining_instance: task.host.is_some() && status != Some(InstanceStatus::Active),
        protected: task.protection_at(now).is_some(),
        provider: rules.provider(task),
        spread: rules.spread_values(task, host),
        instance_free: rules.free(host),
    })
}

/// Why a task ended, as far as its service cares.
fn end(task: &TaskRecord) -> End {
    let Some(stop) = &task.life.stop else { return End::Blameless };
    match stop.code {
        StopCode::TaskFailedToStart => End::FailedToStart,
        StopCode::EssentialContainerExited => End::Exited,
        StopCode::ServiceSchedulerInitiated
            if stop.reason.to_string() == StoppedReason::FailedContainerHealthChecks.to_string() =>
        {
            End::FailedHealthChecks
        }
        _ => End::Blameless,
    }
}

/// What scale-in goes by: the placement strategy, or zones and then instances.
enum Rule {
    Provider(Vec<gantry_api::ecs::CapacityProviderStrategyItem>),
    Instance,
    Attribute(String),
    Cpu,
    Memory,
}

struct Rules(Vec<Rule>);

impl Rules {
    fn of(service: &ServiceRecord) -> Self {
        use gantry_api::ecs::PlacementStrategyType as Type;
        if service.placement_strategy.is_empty() {
            let zone = Rule::Attribute(ZONE_ATTRIBUTE.to_owned());
            let fargate = service.launch_type == LaunchType::Fargate;
            return Self(if fargate { vec![zone] } else { vec![zone, Rule::Instance] });
        }
        let rule = |strategy: &gantry_api::ecs::PlacementStrategy| {
            let field = strategy.field.as_deref().unwrap_or_default();
            match strategy.r#type.as_ref()? {
                Type::Spread => {
                    Some(request::attribute_of(field).map_or(Rule::Instance, |name| Rule::Attribute(name.to_owned())))
                }
                Type::Binpack if field.eq_ignore_ascii_case("cpu") => Some(Rule::Cpu),
                Type::Binpack => Some(Rule::Memory),
                _ => None,
            }
        };
        Self(service.placement_strategy.iter().filter_map(rule).collect())
    }

    /// The same after a look at the strategy of capacity providers, which comes before all placement.
    fn with_providers(mut self, revision: Option<&ServiceRevisionRecord>) -> Self {
        let strategy = revision.map(|revision| &revision.capacity_provider_strategy);
        if let Some(strategy) = strategy.filter(|strategy| strategy.len() > 1) {
            self.0.insert(0, Rule::Provider(strategy.clone()));
        }
        self
    }

    fn provider(&self, task: &TaskRecord) -> Option<usize> {
        let [Rule::Provider(strategy), ..] = &self.0[..] else { return None };
        strategy.iter().position(|item| item.capacity_provider == task.capacity_provider)
    }

    fn scale_in(&self) -> Vec<ScaleInRule> {
        let rule = |rule: &Rule| match rule {
            Rule::Provider(strategy) => ScaleInRule::Provider(clusters::items(strategy)),
            Rule::Instance | Rule::Attribute(_) => ScaleInRule::Spread,
            Rule::Cpu | Rule::Memory => ScaleInRule::Binpack,
        };
        self.0.iter().map(rule).collect()
    }

    fn spread_values(&self, task: &TaskRecord, host: Option<&crate::view::Host>) -> Vec<String> {
        let value = |rule: &Rule| match rule {
            Rule::Instance => Some(task.host.as_ref().map(|host| host.id.to_string()).unwrap_or_default()),
            Rule::Attribute(name) if name == ZONE_ATTRIBUTE => Some(task.availability_zone.clone().unwrap_or_default()),
            Rule::Attribute(name) => {
                let instance = host.and_then(|host| host.row.as_ref());
                let value = instance.and_then(|row| row.attribute(name).flatten().map(str::to_owned));
                Some(value.unwrap_or_default())
            }
            Rule::Provider(_) | Rule::Cpu | Rule::Memory => None,
        };
        self.0.iter().filter_map(value).collect()
    }

    fn free(&self, host: Option<&crate::view::Host>) -> u64 {
        let Some((host, row)) = host.and_then(|host| Some((host, host.row.as_ref()?))) else { return 0 };
        let free = self.0.iter().find_map(|rule| match rule {
            Rule::Cpu => Some(row.resources.cpu.saturating_sub(host.cpu_reserved())),
            Rule::Memory => Some(row.resources.memory.saturating_sub(host.memory_reserved())),
            Rule::Provider(_) | Rule::Instance | Rule::Attribute(_) => None,
        });
        free.unwrap_or(0).into()
    }
}

/// When an INACTIVE service is forgotten.
pub(crate) fn forget_at(record: &ServiceRecord) -> Option<Timestamp> {
    let retention = i64::try_from(gantry_domain::limits::INACTIVE_CLUSTER_RETENTION_SECONDS).unwrap_or(i64::MAX);
    record.deleted_at.map(|deleted_at| deleted_at.plus_seconds(retention))
}
