//! What must hold for any service in any state: the floor, the ceiling, and that it ends.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::tests::{NOW, deployment, service, task};
use super::*;
use crate::deployment::{CircuitBreaker, DeploymentLimits, Threshold};
use crate::task::DesiredStatus;

fn any_status() -> impl Strategy<Value = (LastStatus, DesiredStatus)> {
    use DesiredStatus as D;
    use LastStatus as L;
    prop_oneof![
        1 => Just((L::Provisioning, D::Running)),
        1 => Just((L::Pending, D::Running)),
        4 => Just((L::Running, D::Running)),
        1 => Just((L::Running, D::Stopped)),
        1 => Just((L::Stopping, D::Stopped)),
        1 => Just((L::Stopped, D::Stopped)),
    ]
}

fn any_task() -> impl Strategy<Value = TaskView> {
    let health = prop_oneof![Just(HealthStatus::Unknown), Just(HealthStatus::Healthy), Just(HealthStatus::Unhealthy)];
    let end =
        prop_oneof![Just(End::FailedToStart), Just(End::Exited), Just(End::FailedHealthChecks), Just(End::Blameless)];
    (any_status(), 1..=3u64, health, end, 0..120i64, prop::bool::weighted(0.2), prop::bool::weighted(0.1), 0..4u32)
        .prop_map(|((last_status, desired_status), number, health, end, age, draining, protected, place)| TaskView {
            last_status,
            desired_status,
            health,
            created_at: NOW.plus_seconds(-age),
            started_at: (last_status >= LastStatus::Running).then(|| NOW.plus_seconds(-age)),
            stopped_at: last_status.is_final().then_some(NOW),
            end: last_status.is_final().then_some(end),
            on_draining_instance: draining,
            protected,
            provider: None,
            spread: vec![format!("z{}", place % 2), format!("i{place}")],
            zone: format!("z{}", place % 2),
            ..task("", number)
        })
}

pub(super) fn any_service() -> impl Strategy<Value = ServiceView> {
    let limits =
        prop_oneof![Just((100, 200)), Just((50, 100)), Just((0, 100)), Just((75, 125)), (0..=100u32, 100..=300u32)];
    let tasks = prop::collection::vec(any_task(), 0..14);
    let zones = prop_oneof![Just(vec![]), Just(vec!["z0"]), Just(vec!["z1", "z2"])];
    let rebalance = (zones, [0..4u32, 0..4u32], any::<bool>()).prop_map(|(zones, room, active)| {
        let zones = zones.into_iter().map(str::to_owned).zip(room).collect();
        Rebalance { zones, active }
    });
    let rebalance = prop::option::of(rebalance);
    let percents = (limits, prop::option::of(1..4u32), 0..60i64);
    (0..7u32, percents, tasks, any::<[bool; 3]>(), 1..=3u64, any::<[bool; 2]>(), rebalance).prop_map(
        |(desired, ((minimum, maximum), breaker, grace), mut tasks, checks, newest, flags, rebalance)| {
            let [placement_failed, completed] = flags;
            for (index, task) in tasks.iter_mut().enumerate() {
                task.id = format!("t{index}");
            }
            tasks.retain(|task| task.deployment <= DeploymentId::from_random(newest));
            let deployments = (1..=newest).rev().map(|number| DeploymentView {
                has_health_check: checks[usize::try_from(number).unwrap() - 1],
                rollout: if completed { RolloutState::Completed } else { RolloutState::InProgress },
                ..deployment(number)
            });
            ServiceView {
                limits: DeploymentLimits { minimum_healthy_percent: minimum, maximum_percent: maximum },
                circuit_breaker: breaker.map(|count| CircuitBreaker {
                    threshold: Threshold::Count(count),
                    rollback: false,
                    reset_on_healthy_task: true,
                }),
                deployments: deployments.collect(),
                tasks,
                placement_failed,
                rebalance,
                health_check_grace_period_seconds: grace,
                ..service(desired)
            }
        },
    )
}

pub(super) fn healthy(now: Timestamp, service: &ServiceView) -> u32 {
    let planner = Planner::new(now, service);
    count(planner.wanted().filter(|task| planner.fitness(task) == Fitness::Healthy))
}

pub(super) fn live(service: &ServiceView) -> u32 {
    count(service.tasks.iter().filter(|task| task.is_live()))
}

/// Applies a plan the way a willing world does. Returns whether it changed anything but words.
pub(super) fn apply(now: Timestamp, service: &mut ServiceView, plan: &Plan, next_id: &mut u32) -> bool {
    let mut changed = false;
    for action in &plan.actions {
        match action {
            Action::ForgetTask { task } => service.tasks.retain(|other| other.id != *task),
            Action::SetFailures { deployment, failures } => {
                let found = service.deployments.iter_mut().find(|other| other.id == *deployment);
                found.unwrap().failures = *failures;
            }
            Action::StartTasks { deployment, count } | Action::StartTasksInZone { deployment, count, .. } => {
                changed = true;
                // Left alone, tasks crowd in one zone.
                let zone = match action {
                    Action::StartTasksInZone { zone, .. } => zone.as_str(),
                    _ => "z0",
                };
                for _ in 0..*count {
                    *next_id += 1;
                    service.tasks.push(TaskView {
                        id: format!("n{next_id}"),
                        zone: zone.to_owned(),
                        last_status: LastStatus::Pending,
                        created_at: now,
                        started_at: None,
                        ..task("", deployment.number())
                    });
                }
            }
            Action::StopTask { task, .. } => {
                changed = true;
                ask_to_stop(service, task);
            }
            Action::MoveAway { zone, tasks, .. } => {
                changed = true;
                for id in tasks {
                    assert_eq!(ask_to_stop(service, id).zone, *zone);
                }
            }
            Action::SetRebalancing { active } => {
                let rebalance = service.rebalance.as_mut().unwrap();
                assert_ne!(rebalance.active, *active);
                rebalance.active = *active;
            }
            Action::BeginBake { deployment } => {
                let found = service.deployments.iter_mut().find(|other| other.id == *deployment).unwrap();
                assert_eq!(found.baking_since.replace(now), None);
            }
            Action::CompleteDeployment { deployment } | Action::FailDeployment { deployment, .. } => {
                changed = true;
                let completed = matches!(action, Action::CompleteDeployment { .. });
                let found = service.deployments.iter_mut().find(|other| other.id == *deployment).unwrap();
                assert_eq!(found.rollout, RolloutState::InProgress);
                found.rollout = if completed { RolloutState::Completed } else { RolloutState::Failed };
                if completed {
                    service.rollout = None;
                }
                turn_back(now, service);
            }
            Action::RemoveDeployment { deployment } => {
                changed = true;
                assert_ne!(*deployment, service.deployments[0].id, "removed the primary deployment");
                service.deployments.retain(|other| other.id != *deployment);
            }
            Action::SetRollout(rollout) => {
                changed = true;
                assert_ne!(service.rollout.as_ref(), Some(&**rollout), "moved nowhere");
                service.rollout = Some((**rollout).clone());
            }
            Action::EndRollback { .. } => {
                changed = true;
                service.rollout = None;
            }
            Action::SetSteady { since } => service.steady_since = *since,
            Action::StartTasksOn { .. } => panic!("a REPLICA service names no instances"),
            Action::Announce(_) | Action::Deactivate => {}
        }
    }
    changed
}

fn ask_to_stop<'a>(service: &'a mut ServiceView, id: &str) -> &'a TaskView {
    let task = service.tasks.iter_mut().find(|other| other.id == *id).unwrap();
    assert!(task.is_wanted(), "stopped twice: {task:?}");
    task.desired_status = DesiredStatus::Stopped;
    task.last_status = LastStatus::Stopping;
    task
}

/// What a failure means for a deployment with two sides.
fn turn_back(now: Timestamp, service: &mut ServiceView) {
    let Some(rollout) = service.rollout.take() else { return };
    if rollout.blue.is_some() {
        service.deployments.sort_by_key(|deployment| Some(deployment.id) != rollout.blue);
        service.rollout = Some(rollout.back(now, service.watch.stop));
    }
}

/// Every task does what was asked of it.
pub(super) fn obey(now: Timestamp, service: &mut ServiceView) {
    service.placement_failed = false;
    for task in &mut service.tasks {
        if task.desired_status == DesiredStatus::Stopped && !task.last_status.is_final() {
            task.last_status = LastStatus::Stopped;
            task.stopped_at = Some(now);
            task.end = Some(End::Blameless);
        } else if task.last_status < LastStatus::Running {
            task.last_status = LastStatus::Running;
            task.started_at = Some(now);
            task.health = HealthStatus::Unknown;
        } else if task.health == HealthStatus::Unknown {
            task.health = HealthStatus::Healthy;
        }
    }
}

/// By how many tasks the fullest zone is ahead of the emptiest of those in which tasks can be placed.
fn difference(service: &ServiceView) -> u32 {
    let tasks = |zone: &String| count(service.tasks.iter().filter(|task| task.zone == *zone));
    let most = service.tasks.iter().map(|task| tasks(&task.zone)).max().unwrap_or(0);
    let zones = service.rebalance.iter().flat_map(|rebalance| &rebalance.zones);
    let open = zones.filter(|(_, room)| **room > 0).map(|(zone, _)| zone);
    most.saturating_sub(open.map(tasks).min().unwrap_or(most))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn our_stops_respect_the_floor_and_our_starts_the_ceiling(before in any_service()) {
        let mut after = before.clone();
        let plan = plan_service(NOW, &before);
        apply(NOW, &mut after, &plan, &mut 0);
        let floor = before.limits.floor(before.desired_count);
        let (healthy_before, healthy_after) = (healthy(NOW, &before), healthy(NOW, &after));
        prop_assert!(
            healthy_after >= floor.min(healthy_before),
            "{healthy_before} healthy became {healthy_after}, floor {floor}: {plan:#?}"
        );
        let ceiling = before.limits.ceiling(before.desired_count);
        prop_assert!(live(&after) <= ceiling.max(live(&before)), "above the ceiling {ceiling}: {plan:#?}");
    }

    #[test]
    fn planning_is_deterministic_and_says_why_it_waits(view in any_service()) {
        let plan = plan_service(NOW, &view);
        prop_assert_eq!(&plan, &plan_service(NOW, &view));
        let steady = plan.actions.iter().any(|action| matches!(action, Action::SetSteady { since: Some(_) }));
        prop_assert_eq!(plan.waiting_on.is_none(), steady);
    }

    #[test]
    fn a_protected_task_is_stopped_only_for_its_health(view in any_service()) {
        let plan = plan_service(NOW, &view);
        for action in &plan.actions {
            let Action::StopTask { task, reason } = action else { continue };
            let task = view.tasks.iter().find(|other| other.id == *task).unwrap();
            let may = !task.protected
                || *reason == StoppedReason::FailedContainerHealthChecks
                || task.on_draining_instance;
            prop_assert!(may, "{task:?} {reason}");
        }
    }

    /// In a world that obeys, every service comes to rest: steady, or stuck by its own configuration.
    #[test]
    fn it_ends(mut view in any_service()) {
        let (mut now, mut next_id, mut idle) = (NOW, 0, 0);
        for task in &mut view.tasks {
            task.protected = false;
        }
        for _ in 0..200 {
            let plan = plan_service(now, &view);
            let floor = view.limits.floor(view.desired_count);
            let healthy_before = healthy(now, &view);
            let changed = apply(now, &mut view, &plan, &mut next_id);
            prop_assert!(healthy(now, &view) >= floor.min(healthy_before));
            obey(now, &mut view);
            now = now.plus_seconds(20);
            idle = if changed { 0 } else { idle + 1 };
            // Longer than any delay in this world, so that rest is rest.
            if idle == 100 {
                break;
            }
        }
        prop_assert_eq!(idle, 100, "still moving: {:#?}", view);
        let plan = plan_service(now, &view);
        let stuck = matches!(plan.waiting_on, None | Some(WaitingOn::Configuration | WaitingOn::GivenUp));
        prop_assert!(stuck, "resting in {:?}: {:#?}", plan.waiting_on, view);
        // What the circuit breaker gave up is not moved either.
        let completed = view.deployments[0].rollout == RolloutState::Completed;
        if let (None, Some(rebalance), true) = (&plan.waiting_on, &view.rebalance, completed) {
            let room = view.limits.ceiling(view.desired_count) > view.desired_count;
            prop_assert!(!room || (difference(&view) < 2 && !rebalance.active), "not balanced: {:#?}", view);
        }
    }
}
