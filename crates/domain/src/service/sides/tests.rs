//! What must hold for two sides in any state: the floor of what serves, twice the desired count, and that it ends.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::super::plan_service;
use super::super::properties::{any_service, apply, healthy, live as live_of_all, obey};
use super::super::tests::{NOW, deployment, moves, service, task};
use super::*;
use crate::deployment::{CircuitBreaker, StopKind, Threshold};
use crate::rollout::{Course, Hook, TimeoutAction};

fn rollout(stage: Stage) -> Rollout {
    Rollout {
        course: Course::BlueGreen,
        bake_ms: 60_000,
        hooks: Vec::new(),
        green: DeploymentId::from_random(2),
        blue: Some(DeploymentId::from_random(1)),
        direction: Direction::Forward,
        stage,
        since: NOW,
        production: 0,
        test: 0,
        runs: Vec::new(),
        runs_made: 0,
    }
}

fn two_sides(desired_count: u32, stage: Stage, blue: &[&str], green: &[&str]) -> ServiceView {
    let sides = [(blue, 1), (green, 2)];
    let tasks = sides.iter().flat_map(|(ids, number)| ids.iter().map(|id| task(id, *number)));
    ServiceView {
        deployments: vec![deployment(2), DeploymentView { rollout: RolloutState::Completed, ..deployment(1) }],
        tasks: tasks.collect(),
        rollout: Some(rollout(stage)),
        ..service(desired_count)
    }
}

fn stage_after(plan: &Plan) -> Option<Stage> {
    plan.actions.iter().find_map(|action| match action {
        Action::SetRollout(rollout) => Some(rollout.stage),
        _ => None,
    })
}

#[test]
fn green_starts_beside_blue_and_blue_is_kept() {
    let view = two_sides(2, Stage::PreScaleUp, &["a"], &[]);
    let plan = plan_service(NOW, &view);
    assert_eq!((moves(&plan).as_str(), stage_after(&plan)), ("+1", Some(Stage::ScaleUp)));
    let view = two_sides(2, Stage::ScaleUp, &["a", "b"], &[]);
    let plan = plan_service(NOW, &view);
    assert_eq!((moves(&plan).as_str(), stage_after(&plan)), ("+2", None));
    let view = two_sides(2, Stage::ScaleUp, &["a", "b"], &["c", "d"]);
    assert_eq!(stage_after(&plan_service(NOW, &view)), Some(Stage::PostScaleUp));
}

#[test]
fn blue_goes_only_in_the_end() {
    let view = two_sides(2, Stage::BakeTime, &["a", "b"], &["c", "d"]);
    let plan = plan_service(NOW, &view);
    assert_eq!((moves(&plan).as_str(), stage_after(&plan)), ("", None));
    assert_eq!(plan.wake_at, Some(NOW.plus_seconds(60)));
    let view = two_sides(2, Stage::CleanUp, &["a", "b"], &["c", "d"]);
    assert_eq!(moves(&plan_service(NOW, &view)), "-a -b");
}

#[test]
fn a_way_back_to_what_does_not_start_has_an_end() {
    let mut view = two_sides(2, Stage::CleanUp, &["a"], &["c"]);
    view.deployments.reverse();
    view.rollout.as_mut().unwrap().direction = Direction::Back;
    let ends = |now: Timestamp, view: &ServiceView| {
        let plan = plan_service(now, view);
        let end = plan.actions.iter().find_map(|action| match action {
            Action::EndRollback { failed, .. } => Some(failed.clone()),
            _ => None,
        });
        (end, plan)
    };
    let over = NOW.plus_millis(STAGE_MS_MAX);
    let (end, plan) = ends(NOW, &view);
    assert_eq!((end, moves(&plan).contains("+1")), (None, true));
    assert!(plan.wake_at.is_some_and(|at| at <= over));
    let timed_out = Cause::Stage { stage: "CLEAN_UP", trouble: Trouble::StageTimedOut };
    assert_eq!(ends(over, &view).0, Some(Some(timed_out)));
    view.circuit_breaker =
        Some(CircuitBreaker { threshold: Threshold::Count(2), rollback: true, reset_on_healthy_task: true });
    view.deployments[0].failures.failed_tasks = 1;
    assert_eq!(ends(NOW, &view).0, None);
    view.deployments[0].failures.failed_tasks = 2;
    let (end, plan) = ends(NOW, &view);
    assert_eq!((end, moves(&plan).contains("+1")), (Some(Some(Cause::CircuitBreaker)), true), "it is tried on");
    view.tasks = vec![task("a", 1), task("b", 1)];
    assert_eq!(ends(NOW, &view).0, Some(None), "it is there");
}

#[test]
fn several_older_deployments_become_one_first() {
    let mut view = two_sides(2, Stage::ReconcileService, &["a", "b"], &[]);
    view.deployments.insert(1, deployment(3));
    view.tasks.push(task("x", 3));
    view.rollout.as_mut().unwrap().blue = None;
    let plan = plan_service(NOW, &view);
    assert_eq!((moves(&plan).as_str(), stage_after(&plan)), ("-x", None));
    view.tasks.pop();
    let plan = plan_service(NOW, &view);
    let moved = plan.actions.iter().find_map(|action| match action {
        Action::SetRollout(rollout) => Some((rollout.stage, rollout.blue)),
        _ => None,
    });
    assert_eq!(moved, Some((Stage::PreScaleUp, Some(DeploymentId::from_random(1)))));
}

#[test]
fn what_fails_while_older_deployments_are_reconciled_goes_back_to_what_serves_most() {
    let mut view = two_sides(2, Stage::ReconcileService, &["a", "b"], &[]);
    view.deployments[1].rollout = RolloutState::Failed;
    view.deployments.insert(1, DeploymentView { rollout: RolloutState::Failed, ..deployment(3) });
    view.rollout.as_mut().unwrap().blue = None;
    view.watch.stop = Some(StopKind::Rollback);
    let plan = plan_service(NOW, &view);
    let back = plan.actions.iter().position(|action| matches!(action, Action::FailDeployment { .. })).unwrap();
    let blue = plan.actions[..back].iter().find_map(|action| match action {
        Action::SetRollout(rollout) => Some(rollout.blue),
        _ => None,
    });
    assert_eq!(blue, Some(Some(DeploymentId::from_random(1))));
}

fn any_rollout() -> impl Strategy<Value = Rollout> {
    let stage = prop::sample::select(Stage::ALL.to_vec());
    let hooks = prop::collection::vec((prop::sample::select(Stage::ALL.to_vec()), any::<bool>(), any::<bool>()), 0..3);
    (stage, 0..=ALL, any::<bool>(), hooks, 0..3u8, any::<bool>()).prop_map(
        |(stage, share, tested, hooks, course, back)| {
            let hook = |(stage, pause, goes_on)| Hook {
                stages: vec![stage],
                pause,
                timeout_ms: 60_000,
                on_timeout: if goes_on { TimeoutAction::Continue } else { TimeoutAction::Rollback },
            };
            let course = match course {
                0 => Course::BlueGreen,
                1 => Course::Linear { step: 300, bake_ms: 30_000 },
                _ => Course::Canary { first: 50, bake_ms: 30_000 },
            };
            let forward = Rollout {
                course,
                hooks: hooks.into_iter().map(hook).collect(),
                production: match stage {
                    stage if stage < Stage::ProductionTrafficShift => 0,
                    Stage::ProductionTrafficShift => share,
                    _ => ALL,
                },
                test: if tested { ALL } else { 0 },
                ..rollout(stage)
            };
            if back { forward.back(NOW, None) } else { forward }
        },
    )
}

fn any_two_sides() -> impl Strategy<Value = ServiceView> {
    (any_service(), any_rollout()).prop_map(|(mut view, rollout)| {
        let forward = rollout.direction == Direction::Forward;
        let reconciles = rollout.stage == Stage::ReconcileService;
        let blue = DeploymentView { rollout: RolloutState::Completed, ..deployment(1) };
        let green = deployment(2);
        view.deployments = match (forward, reconciles) {
            (true, false) => vec![green, blue],
            (true, true) => vec![green, deployment(3), blue],
            (false, _) => vec![blue, DeploymentView { rollout: RolloutState::Failed, ..green }],
        };
        let known: Vec<DeploymentId> = view.deployments.iter().map(|deployment| deployment.id).collect();
        // Green has nothing before the older deployments are reconciled.
        let early = |task: &TaskView| reconciles && task.deployment == rollout.green;
        view.tasks.retain(|task| known.contains(&task.deployment) && !early(task));
        view.rollout = Some(Rollout { blue: rollout.blue.filter(|_| !reconciles), ..rollout });
        view
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_below_the_floor_and_never_above_twice_the_count(before in any_two_sides()) {
        let mut after = before.clone();
        let plan = plan_service(NOW, &before);
        apply(NOW, &mut after, &plan, &mut 0);
        let ceiling = before.desired_count * 2;
        prop_assert!(live_of_all(&after) <= ceiling.max(live_of_all(&before)), "above {ceiling}: {plan:#?}");
        let rollout = before.rollout.clone().unwrap();
        let sides = [(rollout.blue, ALL - rollout.production), (Some(rollout.green), rollout.production)];
        let floor = before.limits.floor(before.desired_count);
        for (side, _) in sides.into_iter().filter(|(_, share)| *share == ALL) {
            let Some(side) = side.filter(|_| rollout.stage != Stage::ReconcileService) else { continue };
            let of = |view: &ServiceView| {
                let own = view.deployments.iter().filter(|deployment| deployment.id == side).cloned().collect();
                healthy(NOW, &part(view, own))
            };
            // With one side in charge its own tasks carry the floor; in CLEAN_UP the others may help it.
            let (was, is) = if rollout.stage == Stage::CleanUp {
                (healthy(NOW, &before), healthy(NOW, &after))
            } else {
                (of(&before), of(&after))
            };
            prop_assert!(is >= floor.min(was), "{was} healthy became {is}, floor {floor}: {plan:#?}");
        }
    }

    /// In a world that obeys, every such deployment comes to its end, one way or the other.
    #[test]
    fn it_ends(mut view in any_two_sides()) {
        let (mut now, mut next_id) = (NOW, 0);
        for task in &mut view.tasks {
            task.protected = false;
            // An instance that drains is empty some day; here it never is.
            task.on_draining_instance = false;
        }
        for _ in 0..300 {
            let plan = plan_service(now, &view);
            apply(now, &mut view, &plan, &mut next_id);
            if view.rollout.is_none() {
                return Ok(());
            }
            obey(now, &mut view);
            now = now.plus_seconds(20);
        }
        prop_assert!(false, "still under way: {:#?}", view);
    }
}
