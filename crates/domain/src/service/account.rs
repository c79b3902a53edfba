//! What the end of a task teaches the service: the failures of its deployment, and the delay of the next start.
//!
//! What counts for the circuit breaker has two stages. While no task of the deployment runs, a task that stops before it
//! ran counts. Once one runs, only failed health checks do.

use super::{Action, End, Fitness, Planner, TaskView};
use crate::deployment::{DeploymentId, Failures};
use crate::reason::ServiceEvent;
use crate::task::LastStatus;

impl Planner<'_> {
    /// Counts every ended task once and forgets it.
    pub(super) fn count_ended(&mut self) {
        let service = self.service;
        for deployment in &service.deployments {
            let before = deployment.failures;
            let mut failures = before;
            let own = || service.tasks.iter().filter(|task| task.deployment == deployment.id);
            let one_runs = own().any(|task| task.last_status == LastStatus::Running);
            for task in own().filter(|task| !task.is_live()) {
                failures = count_end(failures, task, one_runs, service.healthy_after_running_ms);
            }
            failures = self.forgive(failures, deployment.id);
            if failures != before {
                self.act(Action::SetFailures { deployment: deployment.id, failures });
            }
            if deployment.id == self.primary {
                self.failures = failures;
                if failures.start_impaired() && failures.start_failures > before.start_failures && !service.draining {
                    self.announce(ServiceEvent::StartImpaired);
                }
            }
        }
        for task in service.tasks.iter().filter(|task| !task.is_live()) {
            self.act(Action::ForgetTask { task: task.id.clone() });
        }
    }

    /// One task that runs ends a streak of failing starts, and one that is healthy forgives everything, if it was
    /// started after the last failure: an older healthy task says nothing about why the new ones fail.
    fn forgive(&self, mut failures: Failures, deployment: DeploymentId) -> Failures {
        let Some(last_at) = failures.last_at else { return failures };
        let later = |task: &&TaskView| {
            task.deployment == deployment && task.started_at.is_some_and(|started_at| started_at >= last_at)
        };
        if self.wanted().any(|task| later(&task)) {
            failures.start_failures = 0;
        }
        if self.wanted().filter(later).any(|task| self.fitness(task) == Fitness::Healthy) {
            let reset = self.service.circuit_breaker.is_none_or(|breaker| breaker.reset_on_healthy_task);
            let failed_tasks = if reset { 0 } else { failures.failed_tasks };
            failures = Failures { failed_tasks, ..Failures::default() };
        }
        failures
    }
}

fn count_end(mut failures: Failures, task: &TaskView, one_runs: bool, healthy_after_running_ms: i64) -> Failures {
    let ended_at = task.stopped_at.unwrap_or(task.created_at);
    let new_round = failures.is_new_round(task.created_at);
    let ran_ms = task.started_at.map(|started_at| ended_at.millis_since(started_at));
    match (task.end.unwrap_or(End::Blameless), ran_ms) {
        (End::Blameless, _) => return failures,
        (End::FailedToStart | End::Exited, None) => {
            failures.failed_tasks += u32::from(!one_runs);
            failures.start_failures += u32::from(new_round);
        }
        // The checks themselves take their time: nothing has to slow down the next start.
        (End::FailedHealthChecks, _) => {
            failures.failed_tasks += 1;
            failures.start_failures = 0;
        }
        (End::FailedToStart | End::Exited, Some(ran_ms)) if ran_ms < healthy_after_running_ms => {
            failures.start_failures = 0;
            failures.early_exits += u32::from(new_round);
        }
        (End::FailedToStart | End::Exited, Some(_)) => {
            failures.start_failures = 0;
            failures.early_exits = 0;
        }
    }
    failures.last_at = failures.last_at.max(Some(ended_at));
    failures
}
