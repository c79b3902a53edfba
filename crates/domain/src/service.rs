//! Moves one service towards its desired count, one safe step at a time.
//!
//! [`plan_service`] looks at a service, its deployments and its tasks, and says what to do now. It must hold that
//! - our own stops never leave fewer healthy tasks than the floor (minimumHealthyPercent),
//! - our own starts never make more tasks exist than the ceiling (maximumPercent); tasks that are stopping count,
//!   because they hold memory and ports until the agent reports STOPPED,
//! - repeating observe, plan, apply comes to an end when the world holds still.
//!
//! Where a task goes is not decided here ([`crate::placement`] does), nor how a stop is carried out. The older
//! deployments are only ever emptied: what dies there is replaced by a task of the primary deployment.

mod account;
mod daemon;
mod finish;
mod model;
mod rebalance;
mod scale_in;
mod sides;
mod stops;

use crate::deployment::{DeploymentId, Failures, RolloutState};
use crate::reason::{ServiceEvent, StoppedReason};
use crate::task::{HealthStatus, LastStatus};
use crate::time::Timestamp;

pub use daemon::DaemonInstance;
pub use model::{Action, DeploymentView, End, Plan, ServiceView, TaskView, WaitingOn};
pub use rebalance::Rebalance;
pub use scale_in::ScaleInRule;

/// At most this many tasks are started by one plan, so that one transaction stays small; the next plan goes on.
pub const START_BATCH_MAX: u32 = 100;

/// A service that stays steady says so again after this long.
pub const STEADY_EVENT_REPEAT_MS: i64 = 6 * 3600 * 1000;

/// Decides the next step of a service.
pub fn plan_service(now: Timestamp, service: &ServiceView) -> Plan {
    match &service.rollout {
        Some(rollout) if !service.draining => sides::plan(now, service, rollout),
        _ => plan_one(now, service),
    }
}

/// The same when tasks of the primary deployment simply replace those of older ones.
fn plan_one(now: Timestamp, service: &ServiceView) -> Plan {
    let mut planner = Planner::new(now, service);
    planner.count_ended();
    if service.draining {
        planner.drain();
        return planner.plan;
    }
    planner.give_up();
    let (stops, starts) = match &service.daemon {
        Some(instances) => (planner.stop_daemon_tasks(instances), planner.start_daemon_tasks(instances)),
        None => (planner.stop_tasks(), planner.start_tasks()),
    };
    planner.remove_empty_deployments();
    planner.settle(starts, stops);
    planner.start_rebalancing();
    planner.plan
}

/// What a planning pass knows and has decided so far.
struct Planner<'a> {
    now: Timestamp,
    service: &'a ServiceView,
    primary: DeploymentId,
    /// The primary deployment's failures, as counted by this pass.
    failures: Failures,
    /// Whether the primary deployment may start tasks: not after it was given up.
    launching: bool,
    /// Healthy tasks, less those that this pass stops.
    healthy: u32,
    plan: Plan,
}

/// What a task is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fitness {
    /// Its check failed, and the grace period is over.
    Unhealthy,
    /// Not RUNNING yet.
    Starting,
    /// RUNNING, but not counted as healthy yet.
    Settling,
    /// Counted.
    Healthy,
}

impl<'a> Planner<'a> {
    fn new(now: Timestamp, service: &'a ServiceView) -> Self {
        let primary = &service.deployments[0];
        let mut planner = Planner {
            now,
            service,
            primary: primary.id,
            failures: primary.failures,
            launching: primary.rollout != RolloutState::Failed,
            healthy: 0,
            plan: Plan::default(),
        };
        planner.healthy = count(planner.wanted().filter(|task| planner.fitness(task) == Fitness::Healthy));
        planner
    }

    fn wanted(&self) -> impl Iterator<Item = &'a TaskView> + use<'a> {
        self.service.tasks.iter().filter(|task| task.is_wanted())
    }

    fn is_primary(&self, task: &TaskView) -> bool {
        task.deployment == self.primary
    }

    /// A task that serves the goal: of the primary deployment, in the right place, and not known to be broken.
    fn is_good(&self, task: &TaskView) -> bool {
        self.is_primary(task) && !task.on_draining_instance && self.fitness(task) != Fitness::Unhealthy
    }

    fn fitness(&self, task: &TaskView) -> Fitness {
        if task.last_status < LastStatus::Running {
            return Fitness::Starting;
        }
        // A running task always has the moment it started; a record without it is treated as just started.
        let running_ms = self.now.millis_since(task.started_at.unwrap_or(self.now));
        if !self.has_health_check(task.deployment) {
            let settled = running_ms >= self.service.healthy_after_running_ms;
            return if settled { Fitness::Healthy } else { Fitness::Settling };
        }
        let in_grace = running_ms < self.service.health_check_grace_period_seconds.saturating_mul(1000);
        match task.health {
            HealthStatus::Healthy => Fitness::Healthy,
            HealthStatus::Unhealthy if !in_grace => Fitness::Unhealthy,
            HealthStatus::Unhealthy | HealthStatus::Unknown => Fitness::Settling,
        }
    }

    fn has_health_check(&self, id: DeploymentId) -> bool {
        self.service.deployments.iter().any(|deployment| deployment.id == id && deployment.has_health_check)
    }

    fn floor(&self) -> u32 {
        match self.service.missing_max {
            Some(missing) => self.service.desired_count.saturating_sub(missing),
            None => self.service.limits.floor(self.service.desired_count),
        }
    }

    /// How many tasks are missing, counting only good ones.
    fn need(&self) -> u32 {
        let good = count(self.wanted().filter(|task| self.is_good(task)));
        self.service.desired_count.saturating_sub(good)
    }

    /// How many tasks may be added under the ceiling.
    fn room(&self) -> u32 {
        let live = count(self.service.tasks.iter().filter(|task| task.is_live()));
        let room = self.service.limits.ceiling(self.service.desired_count).saturating_sub(live);
        room.min(self.service.room_max.unwrap_or(u32::MAX))
    }

    fn start_tasks(&mut self) -> u32 {
        let need = self.need();
        if need == 0 || !self.launching {
            return 0;
        }
        if let Some(until) = self.failures.next_start_at().filter(|&until| until > self.now) {
            self.wake_at(until);
            return 0;
        }
        let starts = need.min(self.room()).min(START_BATCH_MAX);
        if starts > 0 {
            self.act(Action::StartTasks { deployment: self.primary, count: starts });
        }
        starts
    }

    fn remove_empty_deployments(&mut self) {
        for older in &self.service.deployments[1..] {
            if !self.service.tasks.iter().any(|task| task.is_live() && task.deployment == older.id) {
                self.act(Action::RemoveDeployment { deployment: older.id });
            }
        }
    }

    /// Says whether the service is where it should be, and if not, what it waits for.
    fn settle(&mut self, starts: u32, stops: u32) {
        let steady = starts == 0 && stops == 0 && self.is_steady();
        self.finish(steady);
        if steady {
            self.announce_steady();
            return;
        }
        if self.service.steady_since.is_some() {
            self.act(Action::SetSteady { since: None });
        }
        self.wake_when_tasks_settle();
        self.plan.waiting_on = Some(self.waiting_on());
        let idle = starts == 0 && stops == 0;
        match self.plan.waiting_on {
            Some(WaitingOn::Configuration) if idle => self.announce(ServiceEvent::ConfigurationStuck),
            Some(WaitingOn::Protection { .. }) if idle => {
                self.announce(ServiceEvent::ProtectedTasks { deployment: self.primary.to_string() });
            }
            _ => {}
        }
    }

    /// Exactly the wanted tasks, all of them counted as healthy, and nothing else left. A task that was just started
    /// does not count yet: a crash loop would otherwise be steady again and again.
    fn is_steady(&self) -> bool {
        let live = self.service.tasks.iter().filter(|task| task.is_live());
        let all_good =
            live.clone().all(|task| task.is_wanted() && self.is_good(task) && self.fitness(task) == Fitness::Healthy);
        all_good && count(live) == self.service.desired_count
    }

    fn announce_steady(&mut self) {
        match self.service.steady_since {
            Some(since) if self.now.millis_since(since) < STEADY_EVENT_REPEAT_MS => {
                self.wake_at(since.plus_millis(STEADY_EVENT_REPEAT_MS));
            }
            _ => {
                self.act(Action::SetSteady { since: Some(self.now) });
                self.announce(ServiceEvent::SteadyState);
                self.wake_at(self.now.plus_millis(STEADY_EVENT_REPEAT_MS));
            }
        }
    }

    fn wake_when_tasks_settle(&mut self) {
        let grace_ms = self.service.health_check_grace_period_seconds.saturating_mul(1000);
        for task in self.service.tasks.iter().filter(|task| task.is_wanted()) {
            if self.fitness(task) != Fitness::Settling {
                continue;
            }
            let Some(started_at) = task.started_at else { continue };
            if !self.has_health_check(task.deployment) {
                self.wake_at(started_at.plus_millis(self.service.healthy_after_running_ms));
            } else if task.health == HealthStatus::Unhealthy {
                self.wake_at(started_at.plus_millis(grace_ms));
            }
        }
    }

    fn waiting_on(&self) -> WaitingOn {
        let need = self.need();
        let delay = self.failures.next_start_at().filter(|&until| need > 0 && until > self.now);
        let live = || self.service.tasks.iter().filter(|task| task.is_live());
        let starting = count(self.wanted().filter(|task| self.fitness(task) == Fitness::Starting));
        let settling = count(self.wanted().filter(|task| self.fitness(task) == Fitness::Settling));
        let stopping = count(live().filter(|task| !task.is_wanted())) + self.stops_planned();
        let protected = count(self.wanted().filter(|task| task.protected));
        let leaving = count(self.wanted().filter(|task| task.on_draining_instance && self.service.daemon.is_some()));
        if need > 0 && !self.launching {
            WaitingOn::GivenUp
        } else if let Some(until) = delay {
            WaitingOn::Delay { until }
        } else if need > 0 && self.service.placement_failed && self.room() > 0 {
            WaitingOn::Room
        } else if starting > 0 || self.starts_planned() > 0 {
            WaitingOn::Starting { tasks: starting + self.starts_planned() }
        } else if stopping > 0 {
            WaitingOn::Stopping { tasks: stopping }
        } else if settling > 0 {
            WaitingOn::Healthy { tasks: settling }
        } else if leaving > 0 && need == 0 {
            WaitingOn::LeavingLast { tasks: leaving }
        } else if protected > 0 && need == 0 {
            WaitingOn::Protection { tasks: protected }
        } else {
            WaitingOn::Configuration
        }
    }

    fn starts_planned(&self) -> u32 {
        let planned = self.plan.actions.iter().map(|action| match action {
            Action::StartTasks { count, .. } => *count,
            Action::StartTasksOn { instances, .. } => count(instances.iter()),
            _ => 0,
        });
        planned.sum()
    }

    fn stops_planned(&self) -> u32 {
        stops(&self.plan.actions)
    }

    /// A deleted service: stop everything, then become INACTIVE.
    fn drain(&mut self) {
        let tasks: Vec<&TaskView> = self.wanted().collect();
        for task in &tasks {
            self.act(Action::StopTask { task: task.id.clone(), reason: self.scaling_activity(task) });
        }
        let before_stopping = self.service.tasks.iter().any(|task| task.last_status < LastStatus::Stopping);
        if before_stopping {
            let tasks = count(self.service.tasks.iter().filter(|task| task.is_live()));
            self.plan.waiting_on = Some(WaitingOn::Stopping { tasks });
        } else {
            self.act(Action::Deactivate);
        }
    }

    fn scaling_activity(&self, task: &TaskView) -> StoppedReason {
        // A deployment replaces another one's tasks under its own name; a scale-in speaks for the task's own.
        let deployment = if self.is_primary(task) { task.deployment } else { self.primary };
        StoppedReason::ScalingActivity { deployment: deployment.to_string() }
    }

    fn act(&mut self, action: Action) {
        self.plan.actions.push(action);
    }

    fn announce(&mut self, event: ServiceEvent) {
        self.act(Action::Announce(event));
    }

    fn wake_at(&mut self, at: Timestamp) {
        if at > self.now {
            self.plan.wake_at = Some(self.plan.wake_at.map_or(at, |earlier| earlier.min(at)));
        }
    }
}

/// How many tasks these steps stop.
fn stops(actions: &[Action]) -> u32 {
    let stops = actions.iter().map(|action| match action {
        Action::StopTask { .. } => 1,
        Action::MoveAway { tasks, .. } => count(tasks.iter()),
        _ => 0,
    });
    stops.sum()
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
