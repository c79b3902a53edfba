//! When the primary deployment is done, and when it is given up.
//!
//! It is done when the service is steady, or earlier where `earlySuccessCriteria` say so, and has been watched for its
//! bake time since. It is given up when it was told to stop, when an alarm goes off, or when the circuit breaker trips:
//! whichever comes first decides whether the last completed one comes back. A deployment that brings an older revision
//! back is given up by the circuit breaker alone, and there is nothing behind it to go back to.

use super::{Action, DeploymentView, Fitness, Planner, ServiceView, count};
use crate::deployment::{Cause, CircuitBreaker, Failures, RolloutState, StopKind};
use crate::reason::ServiceEvent;

/// Why a deployment is given up now, and whether the last completed one comes back then.
pub(super) fn cause(service: &ServiceView, deployment: &DeploymentView, failures: &Failures) -> Option<(Cause, bool)> {
    if deployment.rollout != RolloutState::InProgress {
        return None;
    }
    if deployment.rollback {
        return trips(service, failures).then_some((Cause::CircuitBreaker, false));
    }
    let watch = &service.watch;
    if let Some(stop) = watch.stop {
        return Some((Cause::Stopped(stop), stop == StopKind::Rollback));
    }
    if !watch.alarms.is_empty() {
        return Some((Cause::Alarms(watch.alarms.clone()), watch.alarm_rollback));
    }
    let breaker = service.circuit_breaker?;
    trips(service, failures).then_some((Cause::CircuitBreaker, breaker.rollback))
}

/// Whether the circuit breaker trips.
pub(super) fn trips(service: &ServiceView, failures: &Failures) -> bool {
    let tasks = |breaker: CircuitBreaker| breaker.threshold.tasks(service.desired_count);
    service.circuit_breaker.is_some_and(|breaker| failures.failed_tasks >= tasks(breaker))
}

impl Planner<'_> {
    /// Gives the primary deployment up when something says so.
    pub(super) fn give_up(&mut self) {
        let Some((cause, rollback)) = cause(self.service, &self.service.deployments[0], &self.failures) else { return };
        self.launching = false;
        self.announce(ServiceEvent::DeploymentFailed { deployment: self.primary.to_string(), cause: cause.clone() });
        self.act(Action::FailDeployment { deployment: self.primary, cause, rollback });
    }

    /// Completes the primary deployment when it has reached its goal and its bake time is over.
    pub(super) fn finish(&mut self, steady: bool) {
        let primary = &self.service.deployments[0];
        if primary.rollout != RolloutState::InProgress || !self.launching || !(steady || self.is_early_success()) {
            return;
        }
        let bake_ms = if primary.rollback { 0 } else { self.service.watch.bake_ms };
        let since = primary.baking_since.unwrap_or(self.now);
        if bake_ms > 0 && primary.baking_since.is_none() {
            self.act(Action::BeginBake { deployment: self.primary });
        }
        if self.now.millis_since(since) < bake_ms {
            self.wake_at(since.plus_millis(bake_ms));
            return;
        }
        self.act(Action::CompleteDeployment { deployment: self.primary });
        self.announce(ServiceEvent::DeploymentCompleted { deployment: self.primary.to_string() });
    }

    fn is_early_success(&self) -> bool {
        let Some(early) = self.service.watch.early_success else { return false };
        let healthy =
            self.wanted().filter(|task| self.is_good(task)).filter(|task| self.fitness(task) == Fitness::Healthy);
        let replaced = !self.service.tasks.iter().any(|task| task.is_live() && !self.is_primary(task));
        count(healthy) >= early.tasks(self.service.desired_count) && (early.cleanup_deferred || replaced)
    }
}
