//! A service with two sides: while a deployment moves production from blue to green, each side is kept by itself.
//!
//! Blue stays at the full count until green has proved itself, and comes back without a start when it has not. Both
//! sides together never exceed twice the desired count. The floor binds a side while it serves production; a side that
//! serves nobody may be rearranged freely. When only one side has a future (RECONCILE_SERVICE, CLEAN_UP), the ordinary
//! plan empties the rest.

use super::{
    Action, DeploymentView, Fitness, Plan, Planner, ServiceView, TaskView, WaitingOn, count, finish, plan_one,
};
use crate::deployment::{Cause, DeploymentId, DeploymentLimits, Failures, RolloutState, Trouble, Watch};
use crate::reason::ServiceEvent;
use crate::rollout::{ALL, Direction, Rollout, STAGE_MS_MAX, Seen, Stage, advance};
use crate::time::Timestamp;

/// Decides the next step of a service whose deployment has two sides.
pub(super) fn plan(now: Timestamp, service: &ServiceView, rollout: &Rollout) -> Plan {
    let (plan, seen) = match (rollout.stage, rollout.direction) {
        (Stage::CleanUp, _) => return clean_up(now, service, rollout),
        (Stage::ReconcileService, Direction::Forward) => reconcile(now, service, rollout),
        _ => both(now, service, rollout),
    };
    move_on(now, service, rollout, plan, seen)
}

/// The primary deployment stays, whatever is older goes.
fn clean_up(now: Timestamp, service: &ServiceView, rollout: &Rollout) -> Plan {
    let view = ServiceView { limits: doubled(service.limits), ..alone(service) };
    let mut plan = plan_one(now, &view);
    if rollout.direction == Direction::Forward {
        return plan;
    }
    let deployment = rollout.green;
    if plan.waiting_on.is_none() {
        plan.actions.insert(0, Action::EndRollback { deployment, failed: None });
        return plan;
    }
    let end = rollout.since.plus_millis(STAGE_MS_MAX);
    let failed = if finish::trips(service, &counted(&service.deployments[0], &plan)) {
        Some(Cause::CircuitBreaker)
    } else {
        (end <= now).then_some(Cause::Stage { stage: rollout.stage.as_str(), trouble: Trouble::StageTimedOut })
    };
    match failed {
        Some(cause) => {
            // Blue stays what is to serve, and goes on being started.
            let event = ServiceEvent::DeploymentFailed { deployment: deployment.to_string(), cause: cause.clone() };
            plan.actions.push(Action::Announce(event));
            plan.actions.push(Action::EndRollback { deployment, failed: Some(cause) });
        }
        None => plan.wake_at = plan.wake_at.into_iter().chain([end]).min(),
    }
    plan
}

/// A deployment's failures, as a plan has counted them.
fn counted(deployment: &DeploymentView, plan: &Plan) -> Failures {
    let counted = plan.actions.iter().find_map(|action| match action {
        Action::SetFailures { deployment: id, failures } if *id == deployment.id => Some(*failures),
        _ => None,
    });
    counted.unwrap_or(deployment.failures)
}

/// The best of the older deployments becomes blue, the others go.
fn reconcile(now: Timestamp, service: &ServiceView, rollout: &Rollout) -> (Plan, Seen) {
    let Some(source) = source(now, service, rollout) else {
        return (Plan::default(), Seen { reconciled: true, green_ready: false });
    };
    let older = service.deployments.iter().filter(|deployment| deployment.id != rollout.green);
    let mut deployments: Vec<DeploymentView> = older.cloned().collect();
    deployments.sort_by_key(|deployment| deployment.id != source);
    let mut view = part(service, deployments);
    view.limits = doubled(view.limits);
    let mut plan = plan_one(now, &view);
    // It keeps the service as it is: it neither ends a deployment nor says that anything is reached.
    plan.actions.retain(|action| {
        !matches!(action, Action::SetSteady { .. } | Action::CompleteDeployment { .. })
            && !matches!(action, Action::Announce(ServiceEvent::SteadyState | ServiceEvent::DeploymentCompleted { .. }))
    });
    let others = view.tasks.iter().any(|task| task.is_live() && task.deployment != source);
    (plan, Seen { reconciled: !others, green_ready: false })
}

/// Of the older deployments one that was completed, else the one that serves most, else the newest.
fn source(now: Timestamp, service: &ServiceView, rollout: &Rollout) -> Option<DeploymentId> {
    let planner = Planner::new(now, service);
    let healthy = |id: DeploymentId| {
        count(planner.wanted().filter(|task| task.deployment == id && planner.fitness(task) == Fitness::Healthy))
    };
    let older = service.deployments.iter().filter(|deployment| deployment.id != rollout.green);
    // Of equals the last one wins, and the newest comes first.
    let best =
        older.rev().max_by_key(|deployment| (deployment.rollout == RolloutState::Completed, healthy(deployment.id)));
    best.map(|deployment| deployment.id)
}

/// Keeps blue at the full count and brings green there, each by itself.
fn both(now: Timestamp, service: &ServiceView, rollout: &Rollout) -> (Plan, Seen) {
    let green_count =
        if rollout.direction == Direction::Forward && !rollout.wants_green() { 0 } else { service.desired_count };
    let serves = |share: u32| share > 0;
    let mut plan = Plan::default();
    if let Some(blue) = rollout.blue {
        let other = live(service, rollout.green).max(green_count);
        let (side, _) = keep(now, service, blue, service.desired_count, other, serves(ALL - rollout.production));
        merge(&mut plan, side);
    }
    let other = rollout.blue.map_or(0, |blue| live(service, blue).max(service.desired_count));
    let (side, green_ready) = keep(now, service, rollout.green, green_count, other, serves(rollout.production));
    merge(&mut plan, side);
    (plan, Seen { reconciled: true, green_ready })
}

/// One side, kept at `desired_count` while the other one has `other` tasks or is to have them. Says whether it is there.
fn keep(
    now: Timestamp,
    service: &ServiceView,
    side: DeploymentId,
    desired_count: u32,
    other: u32,
    serves: bool,
) -> (Plan, bool) {
    let deployments =
        service.deployments.iter().filter(|deployment| deployment.id == side).cloned().collect::<Vec<_>>();
    if deployments.is_empty() {
        return (Plan::default(), false);
    }
    let room = service.desired_count.saturating_mul(2).saturating_sub(other);
    let minimum_healthy_percent = if serves { service.limits.minimum_healthy_percent } else { 0 };
    let limits = doubled(DeploymentLimits { minimum_healthy_percent, ..service.limits });
    let room_max = Some(room.saturating_sub(live(service, side)));
    let circuit_breaker = service.circuit_breaker;
    let view = ServiceView { desired_count, limits, room_max, circuit_breaker, ..part(service, deployments) };
    let mut planner = Planner::new(now, &view);
    planner.count_ended();
    let (stops, starts) = (planner.stop_tasks(), planner.start_tasks());
    let there = starts == 0 && stops == 0 && planner.is_steady();
    planner.wake_when_tasks_settle();
    (planner.plan, there)
}

/// What follows for the deployment as a whole.
fn move_on(now: Timestamp, service: &ServiceView, rollout: &Rollout, mut plan: Plan, seen: Seen) -> Plan {
    plan.waiting_on = Some(WaitingOn::Stage { stage: rollout.stage });
    if service.steady_since.is_some() {
        plan.actions.push(Action::SetSteady { since: None });
    }
    let next = advance(now, rollout, seen);
    let trouble = next.failed.map(|trouble| Cause::Stage { stage: rollout.stage.as_str(), trouble });
    if let Some(cause) = given_up(service, rollout, &plan).or(trouble) {
        // Whatever serves most is what production stays with.
        if let Some(blue) = source(now, service, rollout).filter(|_| rollout.blue.is_none()) {
            plan.actions.push(Action::SetRollout(Box::new(Rollout { blue: Some(blue), ..rollout.clone() })));
        }
        let deployment = rollout.green;
        let event = ServiceEvent::DeploymentFailed { deployment: deployment.to_string(), cause: cause.clone() };
        plan.actions.push(Action::Announce(event));
        plan.actions.push(Action::FailDeployment { deployment, cause, rollback: true });
        return plan;
    }
    if let Some(mut moved) = next.next {
        if rollout.stage == Stage::ReconcileService && moved.stage != rollout.stage {
            moved.blue = source(now, service, rollout);
        }
        plan.actions.push(Action::SetRollout(Box::new(moved)));
    }
    plan.wake_at = plan.wake_at.into_iter().chain(next.wake_at).min();
    plan
}

/// Why the deployment is given up although its stages go well. On the way back its tasks are not asked.
fn given_up(service: &ServiceView, rollout: &Rollout, plan: &Plan) -> Option<Cause> {
    if rollout.direction != Direction::Forward {
        return None;
    }
    let green = service.deployments.iter().find(|deployment| deployment.id == rollout.green)?;
    finish::cause(service, green, &counted(green, plan)).map(|(cause, _)| cause)
}

/// The service without what decides how its deployment ends.
fn alone(service: &ServiceView) -> ServiceView {
    ServiceView { rollout: None, watch: Watch::default(), circuit_breaker: None, rebalance: None, ..service.clone() }
}

/// The service as if it had these deployments only, all of which may start tasks unless they were given up.
fn part(service: &ServiceView, deployments: Vec<DeploymentView>) -> ServiceView {
    let own = |task: &&TaskView| deployments.iter().any(|deployment| deployment.id == task.deployment);
    let tasks = service.tasks.iter().filter(own).cloned().collect();
    ServiceView { deployments, tasks, ..alone(service) }
}

const fn doubled(limits: DeploymentLimits) -> DeploymentLimits {
    DeploymentLimits { maximum_percent: 200, ..limits }
}

fn live(service: &ServiceView, side: DeploymentId) -> u32 {
    count(service.tasks.iter().filter(|task| task.is_live() && task.deployment == side))
}

fn merge(plan: &mut Plan, side: Plan) {
    plan.actions.extend(side.actions);
    plan.wake_at = plan.wake_at.into_iter().chain(side.wake_at).min();
}

#[cfg(test)]
mod tests;
