//! Which tasks a service stops now. Every stop of a task that serves is paid from the surplus over the floor.

use super::{Action, Fitness, Planner, TaskView, count, scale_in};
use crate::reason::{ServiceEvent, StoppedReason};

impl<'a> Planner<'a> {
    /// Returns how many tasks were told to stop.
    pub(super) fn stop_tasks(&mut self) -> u32 {
        let before = self.plan.actions.len();
        self.stop_surplus();
        self.stop_misplaced();
        self.stop_superseded();
        self.stop_unhealthy();
        super::stops(&self.plan.actions[before..])
    }

    /// More good tasks than wanted: the service scales in.
    fn stop_surplus(&mut self) {
        if self.is_rebalancing() {
            return self.stop_rebalanced();
        }
        let mut pool: Vec<&TaskView> = self.wanted().filter(|task| self.is_good(task)).collect();
        let surplus = count(pool.iter()).saturating_sub(self.service.desired_count);
        // What serves least goes first. The floor can still be in the way: a protected task that is starting keeps its
        // place, and stopping a healthy one instead would leave too few.
        let chosen = scale_in::choose(&mut pool, &self.service.scale_in, surplus, |task| self.fitness(task));
        for task in chosen {
            if self.fitness(task) != Fitness::Healthy || self.fits_surplus(task) {
                self.stop(task, self.scaling_activity(task));
            }
        }
    }

    /// Tasks of the primary deployment on draining instances.
    fn stop_misplaced(&mut self) {
        let tasks: Vec<&TaskView> =
            self.wanted().filter(|task| self.is_primary(task) && task.on_draining_instance).collect();
        for task in tasks {
            if self.is_free(task) || (!task.protected && self.fits_surplus(task)) {
                self.stop(task, self.scaling_activity(task));
            }
        }
    }

    /// Tasks of older deployments: those that serve nobody first, then as many as the floor allows.
    fn stop_superseded(&mut self) {
        if !self.launching {
            self.stop_surplus_of_older();
            return;
        }
        let mut tasks: Vec<&TaskView> =
            self.wanted().filter(|task| !self.is_primary(task) && !task.protected).collect();
        tasks.sort_by_key(|task| (self.fitness(task), !task.on_draining_instance, task.created_at, &task.id));
        for task in tasks {
            if self.is_free(task) || self.fits_surplus(task) {
                self.stop(task, self.scaling_activity(task));
            }
        }
    }

    /// The circuit breaker stopped the new deployment: what the older ones still run takes its place.
    fn stop_surplus_of_older(&mut self) {
        let mut pool: Vec<&TaskView> = self.wanted().filter(|task| !self.is_primary(task)).collect();
        let surplus = count(pool.iter()).saturating_sub(self.need());
        let chosen = scale_in::choose(&mut pool, &self.service.scale_in, surplus, |task| self.fitness(task));
        for task in chosen {
            if self.is_free(task) || self.fits_surplus(task) {
                self.stop(task, self.scaling_activity(task));
            }
        }
    }

    /// Unhealthy tasks of the primary deployment. Replacements come first; when the ceiling or a lack of room forbids
    /// them, one unhealthy task at a time makes way.
    fn stop_unhealthy(&mut self) {
        let unhealthy: Vec<&TaskView> = self
            .wanted()
            .filter(|task| self.is_primary(task) && !task.on_draining_instance)
            .filter(|task| self.fitness(task) == Fitness::Unhealthy)
            .collect();
        let replaced = count(
            self.wanted().filter(|task| self.is_good(task)).filter(|task| self.fitness(task) == Fitness::Healthy),
        ) >= self.service.desired_count;
        let stopping = self.service.tasks.iter().any(|task| task.is_live() && !task.is_wanted());
        let blocked = self.room() == 0 || self.service.placement_failed;
        let make_way = blocked && !stopping && self.need() > 0 && self.launching;
        let stops = if replaced { unhealthy.len() } else { usize::from(make_way) };
        for task in unhealthy.into_iter().take(stops) {
            self.announce(ServiceEvent::FailedContainerHealthChecks { task: task.id.clone() });
            self.stop(task, StoppedReason::FailedContainerHealthChecks);
        }
    }

    /// Stopping it costs nobody anything.
    pub(super) fn is_free(&self, task: &TaskView) -> bool {
        matches!(self.fitness(task), Fitness::Unhealthy | Fitness::Starting)
    }

    /// The floor holds without it. A task that runs but is not counted yet also waits until the floor holds: right
    /// after its start it may be all that serves.
    pub(super) fn fits_surplus(&self, task: &TaskView) -> bool {
        let cost = u32::from(self.fitness(task) == Fitness::Healthy);
        self.healthy.saturating_sub(cost) >= self.floor()
    }

    pub(super) fn stop(&mut self, task: &'a TaskView, reason: StoppedReason) {
        self.healthy -= u32::from(self.fitness(task) == Fitness::Healthy);
        self.act(Action::StopTask { task: task.id.clone(), reason });
    }
}
