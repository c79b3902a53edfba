#![allow(clippy::unwrap_used, unused_must_use)]

use super::*;
use crate::deployment::{Cause, CircuitBreaker, DeploymentLimits, EarlySuccess, StopKind, Threshold, Watch};
use crate::limits::HEALTHY_AFTER_SECONDS;
use crate::task::DesiredStatus;

pub(super) const NOW: Timestamp = Timestamp::from_seconds(100_000);

pub(super) fn deployment(number: u64) -> DeploymentView {
    DeploymentView {
        id: DeploymentId::from_random(number),
        has_health_check: false,
        rollout: RolloutState::InProgress,
        rollback: false,
        baking_since: None,
        failures: Failures::default(),
    }
}

pub(super) fn service(desired_count: u32) -> ServiceView {
    ServiceView {
        desired_count,
        daemon: None,
        draining: false,
        limits: DeploymentLimits::REPLICA,
        missing_max: None,
        room_max: None,
        circuit_breaker: None,
        watch: Watch::default(),
        rollout: None,
        health_check_grace_period_seconds: 0,
        healthy_after_running_ms: 1000 * i64::try_from(HEALTHY_AFTER_SECONDS).unwrap(),
        placement_failed: false,
        steady_since: None,
        scale_in: vec![ScaleInRule::Spread, ScaleInRule::Spread],
        rebalance: None,
        deployments: vec![deployment(1)],
        tasks: Vec::new(),
    }
}

/// A task of deployment `number`, RUNNING for a minute.
pub(super) fn task(id: &str, number: u64) -> TaskView {
    TaskView {
        id: id.to_owned(),
        deployment: DeploymentId::from_random(number),
        last_status: LastStatus::Running,
        desired_status: DesiredStatus::Running,
        health: HealthStatus::Unknown,
        created_at: NOW.plus_seconds(-70),
        started_at: Some(NOW.plus_seconds(-60)),
        stopped_at: None,
        end: None,
        instance: String::new(),
        zone: String::new(),
        on_draining_instance: false,
        protected: false,
        provider: None,
        spread: vec![String::new(), String::new()],
        instance_free: 0,
    }
}

pub(super) fn pending(id: &str, number: u64) -> TaskView {
    TaskView { last_status: LastStatus::Pending, started_at: None, ..task(id, number) }
}

fn ended(id: &str, end: End, created: i64, started: Option<i64>, stopped: i64) -> TaskView {
    TaskView {
        last_status: LastStatus::Stopped,
        desired_status: DesiredStatus::Stopped,
        created_at: NOW.plus_seconds(created),
        started_at: started.map(|seconds| NOW.plus_seconds(seconds)),
        stopped_at: Some(NOW.plus_seconds(stopped)),
        end: Some(end),
        ..task(id, 1)
    }
}

fn tasks(ids: &[&str], number: u64) -> Vec<TaskView> {
    ids.iter().map(|id| task(id, number)).collect()
}

/// What a plan starts and stops: `+3` and task ids.
pub(super) fn moves(plan: &Plan) -> String {
    let moves = plan.actions.iter().filter_map(|action| match action {
        Action::StartTasks { count, .. } => Some(format!("+{count}")),
        Action::StartTasksOn { instances, .. } => Some(format!("+{}", instances.join("+"))),
        Action::StartTasksInZone { zone, count, .. } => Some(format!("+{count}@{zone}")),
        Action::MoveAway { zone, tasks, .. } => Some(format!("-{}@{zone}", tasks.join("-"))),
        Action::StopTask { task, .. } => Some(format!("-{task}")),
        _ => None,
    });
    moves.collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(service: &ServiceView, expected: &str) -> Plan {
    let plan = plan_service(NOW, service);
    assert_eq!(moves(&plan), expected, "{plan:#?}");
    plan
}

#[test]
fn a_new_service_starts_its_tasks() {
    check(&service(3), "+3");
}

#[test]
fn a_big_service_starts_in_batches() {
    check(&service(1000), "+100");
}

#[test]
fn a_service_with_all_tasks_running_completes_and_is_steady() {
    let view = ServiceView { tasks: tasks(&["a", "b"], 1), ..service(2) };
    let plan = check(&view, "");
    let id = DeploymentId::from_random(1);
    let expected = [
        Action::CompleteDeployment { deployment: id },
        Action::Announce(ServiceEvent::DeploymentCompleted { deployment: id.to_string() }),
        Action::SetSteady { since: Some(NOW) },
        Action::Announce(ServiceEvent::SteadyState),
    ];
    assert_eq!(plan.actions, expected);
    assert_eq!(plan.waiting_on, None);
}

#[test]
fn a_steady_service_says_so_again_after_six_hours() {
    let mut view = ServiceView { tasks: tasks(&["a"], 1), steady_since: Some(NOW.plus_seconds(-60)), ..service(1) };
    view.deployments[0].rollout = RolloutState::Completed;
    let plan = check(&view, "");
    assert_eq!(plan.actions, []);
    assert_eq!(plan.wake_at, Some(NOW.plus_seconds(6 * 3600 - 60)));
    view.steady_since = Some(NOW.plus_seconds(-6 * 3600));
    let plan = check(&view, "");
    let expected = [Action::SetSteady { since: Some(NOW) }, Action::Announce(ServiceEvent::SteadyState)];
    assert_eq!(plan.actions, expected);
}

#[test]
fn a_dead_task_is_replaced_at_once() {
    let mut view = ServiceView { tasks: tasks(&["a"], 1), steady_since: Some(NOW), ..service(2) };
    view.tasks.push(ended("b", End::Exited, -900, Some(-890), -1));
    let plan = check(&view, "+1");
    assert!(plan.actions.contains(&Action::ForgetTask { task: "b".into() }));
    assert!(plan.actions.contains(&Action::SetSteady { since: None }));
}

#[test]
fn a_rolling_update_starts_first_and_stops_when_the_new_tasks_are_healthy() {
    let mut view = service(2);
    view.deployments = vec![deployment(2), deployment(1)];
    view.tasks = tasks(&["a", "b"], 1);
    check(&view, "+2");

    view.tasks.extend([pending("c", 2), pending("d", 2)]);
    let plan = check(&view, "");
    assert_eq!(plan.waiting_on, Some(WaitingOn::Starting { tasks: 2 }));

    view.tasks[2] = TaskView { started_at: Some(NOW.plus_seconds(-30)), ..task("c", 2) };
    view.tasks[3] = task("d", 2);
    let plan = check(&view, "-a");
    assert_eq!(plan.wake_at, Some(NOW.plus_seconds(10)));

    view.tasks = vec![task("c", 2), task("d", 2)];
    let plan = check(&view, "");
    assert!(plan.actions.contains(&Action::RemoveDeployment { deployment: DeploymentId::from_random(1) }));
    assert!(plan.actions.contains(&Action::CompleteDeployment { deployment: DeploymentId::from_random(2) }));
}

#[test]
fn a_rolling_update_with_a_low_floor_stops_first() {
    let mut view = service(4);
    view.limits = DeploymentLimits { minimum_healthy_percent: 50, maximum_percent: 100 };
    view.deployments = vec![deployment(2), deployment(1)];
    view.tasks = tasks(&["a", "b", "c", "d"], 1);
    let plan = check(&view, "-a -b");
    let reason = StoppedReason::ScalingActivity { deployment: "ecs-svc/0000000000000000002".into() };
    assert!(plan.actions.contains(&Action::StopTask { task: "a".into(), reason }));
    view.tasks.drain(..2);
    check(&view, "+2");
}

#[test]
fn stopping_tasks_count_towards_the_ceiling() {
    let mut view = service(2);
    view.limits.maximum_percent = 100;
    let stopping =
        TaskView { last_status: LastStatus::Stopping, desired_status: DesiredStatus::Stopped, ..task("b", 1) };
    view.tasks = vec![task("a", 1), stopping];
    let plan = check(&view, "");
    assert_eq!(plan.waiting_on, Some(WaitingOn::Stopping { tasks: 1 }));
}

#[test]
fn percentages_without_room_are_said_aloud() {
    let check_stuck = |desired: u32, minimum: u32, maximum: u32| {
        let mut view = service(desired);
        view.limits = DeploymentLimits { minimum_healthy_percent: minimum, maximum_percent: maximum };
        view.deployments = vec![deployment(2), deployment(1)];
        view.tasks = (0..desired).map(|index| task(&index.to_string(), 1)).collect();
        let plan = check(&view, "");
        assert_eq!(plan.waiting_on, Some(WaitingOn::Configuration), "{desired} {minimum} {maximum}");
        assert!(plan.actions.contains(&Action::Announce(ServiceEvent::ConfigurationStuck)));
    };
    check_stuck(1, 100, 100);
    check_stuck(2, 75, 100);
    check_stuck(3, 100, 125);
}

#[test]
fn scaling_in_takes_from_the_fullest_zone_then_the_fullest_instance_then_the_oldest() {
    let placed = |id: &str, zone: &str, instance: &str, age: i64| TaskView {
        provider: None,
        spread: vec![zone.into(), instance.into()],
        created_at: NOW.plus_seconds(-age),
        ..task(id, 1)
    };
    let mut view = service(4);
    view.tasks = vec![
        placed("a", "z1", "i1", 500),
        placed("b", "z1", "i2", 600),
        placed("c", "z1", "i2", 300),
        placed("d", "z2", "i3", 900),
        placed("e", "z2", "i4", 900),
    ];
    check(&view, "-b");
    view.desired_count = 2;
    check(&view, "-b -d -a");
    view.tasks[1].protected = true;
    check(&view, "-c -d -a");
    view.desired_count = 0;
    view.tasks[1].protected = false;
    let plan = check(&view, "-b -d -a -e -c");
    let reason = StoppedReason::ScalingActivity { deployment: "ecs-svc/0000000000000000001".into() };
    assert!(plan.actions.contains(&Action::StopTask { task: "b".into(), reason }));
}

#[test]
fn scaling_in_keeps_the_shares_of_a_capacity_provider_strategy() {
    use crate::capacity::strategy::Item;
    let of = |id: &str, provider: usize, age: i64| TaskView {
        provider: Some(provider),
        created_at: NOW.plus_seconds(-age),
        ..task(id, 1)
    };
    let mut view = service(5);
    let strategy = vec![Item { base: 1, weight: 1 }, Item { base: 0, weight: 1 }];
    view.scale_in = vec![ScaleInRule::Provider(strategy), ScaleInRule::Spread];
    view.tasks = vec![of("a", 0, 900), of("b", 0, 800), of("c", 0, 700), of("d", 1, 600), of("e", 1, 500)];
    check(&view, "");
    // What is above the base is shared alike: 1 + 1 and 1, then the base alone.
    view.desired_count = 3;
    check(&view, "-d -a");
    view.desired_count = 1;
    check(&view, "-d -a -e -b");
    // A task that no item started goes first.
    view.desired_count = 5;
    view.tasks.push(TaskView { created_at: NOW, ..task("f", 1) });
    check(&view, "-f");
}

#[test]
fn scaling_in_a_packed_service_empties_the_emptiest_instance() {
    let mut view = service(2);
    view.scale_in = vec![ScaleInRule::Binpack];
    view.tasks = tasks(&["a", "b", "c"], 1);
    view.tasks[1].instance_free = 700;
    view.tasks[2].instance_free = 100;
    check(&view, "-b");
}

#[test]
fn scaling_in_takes_tasks_that_do_not_serve_first() {
    let mut view = service(1);
    view.tasks = vec![task("a", 1), pending("b", 1), task("c", 1)];
    check(&view, "-b -a");
}

#[test]
fn tasks_on_a_draining_instance_are_replaced_before_they_stop() {
    let mut view = service(2);
    let draining = |task: TaskView| TaskView { on_draining_instance: true, ..task };
    view.tasks = vec![draining(task("a", 1)), draining(pending("b", 1)), task("c", 1)];
    check(&view, "-b +1");
    view.tasks = vec![draining(task("a", 1)), task("c", 1), task("d", 1)];
    check(&view, "-a");
    view.limits = DeploymentLimits { minimum_healthy_percent: 50, maximum_percent: 100 };
    view.tasks = vec![draining(task("a", 1)), task("c", 1)];
    check(&view, "-a");
    view.limits.minimum_healthy_percent = 100;
    let plan = check(&view, "");
    assert_eq!(plan.waiting_on, Some(WaitingOn::Configuration));
}

#[test]
fn an_unhealthy_task_is_replaced_first_and_stopped_when_the_replacement_is_healthy() {
    let with_health = |id: &str, health| TaskView { health, ..task(id, 1) };
    let mut view = service(1);
    view.deployments[0].has_health_check = true;
    view.tasks = vec![with_health("a", HealthStatus::Unhealthy)];
    check(&view, "+1");
    view.tasks.push(with_health("b", HealthStatus::Unknown));
    check(&view, "");
    view.tasks[1].health = HealthStatus::Healthy;
    let plan = check(&view, "-a");
    let event = ServiceEvent::FailedContainerHealthChecks { task: "a".into() };
    assert!(plan.actions.contains(&Action::Announce(event)));
}

#[test]
fn an_unhealthy_task_makes_way_when_nothing_can_be_added() {
    let with_health = |id: &str, health| TaskView { health, ..task(id, 1) };
    let mut view = service(2);
    view.deployments[0].has_health_check = true;
    view.limits.maximum_percent = 100;
    view.tasks = vec![with_health("a", HealthStatus::Unhealthy), with_health("b", HealthStatus::Unhealthy)];
    check(&view, "-a");
    view.tasks[0].last_status = LastStatus::Stopping;
    view.tasks[0].desired_status = DesiredStatus::Stopped;
    check(&view, "");
    view.tasks.remove(0);
    check(&view, "+1");

    view.limits.maximum_percent = 200;
    view.placement_failed = true;
    view.desired_count = 1;
    check(&view, "-b +1");
}

#[test]
fn the_grace_period_forgives_a_failing_check() {
    let mut view = service(1);
    view.deployments[0].has_health_check = true;
    view.health_check_grace_period_seconds = 90;
    view.tasks = vec![TaskView { health: HealthStatus::Unhealthy, ..task("a", 1) }];
    let plan = check(&view, "");
    assert_eq!(plan.wake_at, Some(NOW.plus_seconds(30)));
    view.health_check_grace_period_seconds = 60;
    check(&view, "+1");
}

#[test]
fn tasks_that_never_run_delay_the_next_start() {
    let mut view = service(2);
    view.deployments[0].failures.start_failures = 2;
    view.deployments[0].failures.failed_tasks = 4;
    view.deployments[0].failures.last_at = Some(NOW.plus_seconds(-5));
    view.tasks = vec![ended("a", End::FailedToStart, -5, None, -1), ended("b", End::FailedToStart, -5, None, -1)];
    let plan = check(&view, "");
    let failures = Failures { failed_tasks: 6, start_failures: 3, early_exits: 0, last_at: Some(NOW.plus_seconds(-1)) };
    let deployment = DeploymentId::from_random(1);
    assert!(plan.actions.contains(&Action::SetFailures { deployment, failures }));
    assert!(plan.actions.contains(&Action::Announce(ServiceEvent::StartImpaired)));
    assert_eq!(plan.waiting_on, Some(WaitingOn::Delay { until: NOW.plus_seconds(9) }));
    assert_eq!(plan.wake_at, Some(NOW.plus_seconds(9)));
}

#[test]
fn a_task_that_runs_ends_the_delay() {
    let mut view = service(2);
    view.deployments[0].failures =
        Failures { failed_tasks: 6, start_failures: 5, early_exits: 0, last_at: Some(NOW.plus_seconds(-65)) };
    view.tasks = tasks(&["a"], 1);
    let plan = check(&view, "+1");
    let failures = Failures::default();
    assert!(plan.actions.contains(&Action::SetFailures { deployment: DeploymentId::from_random(1), failures }));
}

#[test]
fn a_crash_loop_is_slowed_down() {
    let mut view = service(1);
    view.deployments[0].failures.early_exits = 2;
    view.deployments[0].failures.last_at = Some(NOW.plus_seconds(-3));
    view.tasks = vec![ended("a", End::Exited, -3, Some(-2), 0)];
    let plan = check(&view, "");
    assert_eq!(plan.waiting_on, Some(WaitingOn::Delay { until: NOW.plus_seconds(10) }));
    assert!(!plan.actions.contains(&Action::Announce(ServiceEvent::StartImpaired)));
}

#[test]
fn a_task_that_a_user_stopped_is_nobodys_fault() {
    let mut view = service(1);
    view.tasks = vec![ended("a", End::Blameless, -3, None, 0)];
    let plan = check(&view, "+1");
    assert!(!plan.actions.iter().any(|action| matches!(action, Action::SetFailures { .. })));
}

#[test]
fn the_circuit_breaker_trips_and_keeps_the_older_deployment() {
    let mut view = service(2);
    view.circuit_breaker =
        Some(CircuitBreaker { threshold: Threshold::DEFAULT, rollback: true, reset_on_healthy_task: true });
    view.deployments = vec![deployment(2), deployment(1)];
    view.deployments[0].failures.failed_tasks = 2;
    view.tasks = tasks(&["a", "b"], 1);
    view.tasks
        .push(TaskView { deployment: DeploymentId::from_random(2), ..ended("c", End::FailedToStart, -3, None, 0) });
    let plan = check(&view, "");
    let deployment = DeploymentId::from_random(2);
    assert!(plan.actions.contains(&Action::FailDeployment {
        deployment,
        cause: Cause::CircuitBreaker,
        rollback: true
    }));
    assert_eq!(plan.waiting_on, Some(WaitingOn::GivenUp));

    view.deployments[0].rollout = RolloutState::Failed;
    view.tasks.pop();
    check(&view, "");
    view.desired_count = 1;
    check(&view, "-a");
    view.desired_count = 0;
    check(&view, "-a -b");
}

#[test]
fn a_healthy_task_resets_the_circuit_breaker() {
    let mut view = service(2);
    view.circuit_breaker =
        Some(CircuitBreaker { threshold: Threshold::Count(3), rollback: true, reset_on_healthy_task: true });
    view.deployments[0].failures =
        Failures { failed_tasks: 2, start_failures: 2, early_exits: 0, last_at: Some(NOW.plus_seconds(-100)) };
    view.tasks = tasks(&["a"], 1);
    let plan = check(&view, "+1");
    let failures = Failures::default();
    assert!(plan.actions.contains(&Action::SetFailures { deployment: DeploymentId::from_random(1), failures }));
}

#[test]
fn a_deleted_service_stops_everything_and_then_becomes_inactive() {
    let mut view = service(5);
    view.draining = true;
    view.deployments = vec![deployment(2), deployment(1)];
    view.tasks = vec![task("a", 1), pending("b", 2)];
    let plan = check(&view, "-a -b");
    assert!(!plan.actions.contains(&Action::Deactivate));
    for task in &mut view.tasks {
        task.desired_status = DesiredStatus::Stopped;
        task.last_status = LastStatus::Stopping;
    }
    assert_eq!(check(&view, "").actions, [Action::Deactivate]);
}

#[test]
fn no_room_is_what_a_service_waits_for() {
    let mut view = service(2);
    view.placement_failed = true;
    let plan = check(&view, "+2");
    assert_eq!(plan.waiting_on, Some(WaitingOn::Room));
}

#[test]
fn once_a_task_runs_only_health_checks_trip_the_circuit_breaker() {
    let mut view = service(3);
    view.circuit_breaker =
        Some(CircuitBreaker { threshold: Threshold::Count(2), rollback: true, reset_on_healthy_task: true });
    let failed = |id: &str| ended(id, End::FailedToStart, -3, None, 0);
    let trips = |view: &ServiceView| {
        plan_service(NOW, view).actions.iter().any(|action| matches!(action, Action::FailDeployment { .. }))
    };
    view.tasks = vec![failed("a"), failed("b")];
    assert!(trips(&view));
    view.tasks.push(TaskView { started_at: Some(NOW.plus_seconds(-1)), ..task("c", 1) });
    assert!(!trips(&view));
    let sick = |id: &str| ended(id, End::FailedHealthChecks, -3, Some(-2), 0);
    view.tasks.extend([sick("d"), sick("e")]);
    assert!(trips(&view));
}

fn events(plan: &Plan) -> Vec<&Action> {
    let told = |action: &&Action| {
        matches!(action, Action::BeginBake { .. } | Action::CompleteDeployment { .. } | Action::FailDeployment { .. })
    };
    plan.actions.iter().filter(told).collect()
}

#[test]
fn a_deployment_is_watched_for_its_bake_time() {
    let deployment = DeploymentId::from_random(1);
    let mut view = ServiceView { tasks: tasks(&["a"], 1), ..service(1) };
    view.watch.bake_ms = 60_000;
    let plan = check(&view, "");
    assert_eq!(events(&plan), [&Action::BeginBake { deployment }]);
    assert_eq!(plan.wake_at, Some(NOW.plus_seconds(60)));
    view.deployments[0].baking_since = Some(NOW.plus_seconds(-59));
    assert_eq!(events(&check(&view, "")), Vec::<&Action>::new());
    view.deployments[0].baking_since = Some(NOW.plus_seconds(-60));
    assert_eq!(events(&check(&view, "")), [&Action::CompleteDeployment { deployment }]);
    view.deployments[0].baking_since = None;
    view.deployments[0].rollback = true;
    assert_eq!(events(&check(&view, "")), [&Action::CompleteDeployment { deployment }]);
}

#[test]
fn an_alarm_or_a_stop_gives_the_deployment_up_unless_it_is_a_rollback() {
    let deployment = DeploymentId::from_random(1);
    let mut view = ServiceView { tasks: tasks(&["a"], 1), ..service(1) };
    view.watch = Watch { alarms: vec!["high".into()], alarm_rollback: true, ..Watch::default() };
    let cause = Cause::Alarms(vec!["high".into()]);
    let failed = |cause: Cause, rollback| Action::FailDeployment { deployment, cause, rollback };
    assert_eq!(events(&check(&view, "")), [&failed(cause, true)]);
    view.watch.stop = Some(StopKind::Abort);
    assert_eq!(events(&check(&view, "")), [&failed(Cause::Stopped(StopKind::Abort), false)]);
    view.watch.stop = None;
    view.deployments[0].rollback = true;
    assert_eq!(events(&check(&view, "")), [&Action::CompleteDeployment { deployment }]);
}

#[test]
fn the_circuit_breaker_ends_a_rollback_too() {
    let deployment = DeploymentId::from_random(1);
    let mut view = service(1);
    view.circuit_breaker =
        Some(CircuitBreaker { threshold: Threshold::Count(2), rollback: true, reset_on_healthy_task: true });
    view.deployments[0].rollback = true;
    view.deployments[0].failures.failed_tasks = 1;
    assert_eq!(moves(&plan_service(NOW, &view)), "+1");
    view.deployments[0].failures.failed_tasks = 2;
    let plan = plan_service(NOW, &view);
    assert_eq!(moves(&plan), "");
    let failed = Action::FailDeployment { deployment, cause: Cause::CircuitBreaker, rollback: false };
    assert!(plan.actions.contains(&failed), "{plan:?}");
}

#[test]
fn early_success_waits_for_the_older_tasks_unless_their_cleanup_is_deferred() {
    let deployment = DeploymentId::from_random(2);
    let mut view = service(4);
    view.limits = DeploymentLimits { minimum_healthy_percent: 100, maximum_percent: 100 };
    view.deployments = vec![super::tests::deployment(2), super::tests::deployment(1)];
    view.tasks = tasks(&["a", "b", "c"], 2);
    view.tasks.push(task("d", 1));
    view.watch.early_success = Some(EarlySuccess { healthy_percent: 75, cleanup_deferred: false });
    assert_eq!(events(&check(&view, "")), Vec::<&Action>::new());
    view.watch.early_success = Some(EarlySuccess { healthy_percent: 75, cleanup_deferred: true });
    assert_eq!(events(&check(&view, "")), [&Action::CompleteDeployment { deployment }]);
    view.watch.early_success = Some(EarlySuccess { healthy_percent: 76, cleanup_deferred: true });
    assert_eq!(events(&check(&view, "")), Vec::<&Action>::new());
}
