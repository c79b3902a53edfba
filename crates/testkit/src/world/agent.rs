//! An agent that runs nothing: it says about its tasks what their behaviour prescribes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gantry_control::{keys::InstanceKey, view::TaskRow};
use gantry_domain::{
    Timestamp,
    arn::TaskId,
    reason::{ContainerError, ContainerReason, StoppedReason},
    task::{DesiredStatus, HealthStatus, Stop, StopCode},
};

/// What tasks of an image do. Times in milliseconds.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// From the moment the agent has the task to RUNNING (or to the failure).
    pub start_ms: i64,
    /// It never starts, for this reason.
    pub start_fails: Option<String>,
    /// It ends by itself so long after it started.
    pub exit_ms: Option<i64>,
    /// Its health check says HEALTHY so long after it started.
    pub healthy_ms: Option<i64>,
    /// Its health check says UNHEALTHY so long after it started.
    pub unhealthy_ms: Option<i64>,
    /// From the stop request to STOPPED; none: it never stops.
    pub stop_ms: Option<i64>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            start_ms: 1000,
            start_fails: None,
            exit_ms: None,
            healthy_ms: None,
            unhealthy_ms: None,
            stop_ms: Some(500),
        }
    }
}

/// What an agent says about a task.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Report {
    pub(super) task: TaskId,
    pub(super) instance: InstanceKey,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    Running(HealthStatus),
    Stopped(Stop),
}

/// An agent on a host. The host survives the agent, unless it reboots.
#[derive(Debug)]
pub(super) struct FakeAgent {
    pub(super) key: InstanceKey,
    pub(super) up: bool,
    tasks: BTreeMap<TaskId, Known>,
    /// Tasks that were there before a reboot: gone without a trace.
    vanished: BTreeSet<TaskId>,
}

#[derive(Debug)]
struct Known {
    since: Timestamp,
    started: Option<Timestamp>,
    stop_asked: Option<Timestamp>,
    said: Option<What>,
}

impl FakeAgent {
    pub(super) fn new(key: InstanceKey) -> Self {
        Self { key, up: true, tasks: BTreeMap::new(), vanished: BTreeSet::new() }
    }

    /// Everything that ran is gone.
    pub(super) fn reboot(&mut self) {
        let gone = std::mem::take(&mut self.tasks);
        self.vanished.extend(gone.into_keys());
        self.up = true;
    }

    /// Looks at the tasks it is to run and says what is new.
    pub(super) fn work(
        &mut self,
        now: Timestamp,
        tasks: &[Arc<TaskRow>],
        behaviour: impl Fn(&TaskRow) -> Behaviour,
    ) -> Vec<Report> {
        let here: BTreeSet<TaskId> = tasks.iter().filter(|task| !task.is_stopped()).map(|task| task.id).collect();
        self.tasks.retain(|id, _| here.contains(id));
        self.vanished.retain(|id| here.contains(id));
        let mut reports = Vec::new();
        for task in tasks.iter().filter(|task| !task.is_stopped()) {
            let what = if self.vanished.contains(&task.id) {
                Some(What::Stopped(vanished()))
            } else {
                self.advance(now, task, &behaviour(task))
            };
            if let Some(what) = what {
                reports.push(Report { task: task.id, instance: self.key.clone(), what });
            }
        }
        reports
    }

    fn advance(&mut self, now: Timestamp, task: &TaskRow, behaviour: &Behaviour) -> Option<What> {
        let new = || Known { since: now, started: None, stop_asked: None, said: None };
        let known = self.tasks.entry(task.id).or_insert_with(new);
        if task.life.desired_status == DesiredStatus::Stopped {
            known.stop_asked.get_or_insert(now);
        }
        let what = known.what(now, behaviour)?;
        // Said again until the control plane shows it: a message may be lost with a restart.
        known.said = Some(what.clone());
        Some(what)
    }
}

impl Known {
    fn what(&mut self, now: Timestamp, behaviour: &Behaviour) -> Option<What> {
        if let Some(What::Stopped(_)) = &self.said {
            return self.said.clone();
        }
        if let Some(asked) = self.stop_asked {
            let stopped = behaviour.stop_ms.is_some_and(|stop_ms| now.millis_since(asked) >= stop_ms);
            // A task that never started stops at once.
            return (stopped || self.started.is_none()).then(|| What::Stopped(exited()));
        }
        if self.started.is_none() && now.millis_since(self.since) >= behaviour.start_ms {
            if let Some(why) = &behaviour.start_fails {
                return Some(What::Stopped(failed(why)));
            }
            self.started = Some(now);
        }
        let ran_ms = now.millis_since(self.started?);
        if behaviour.exit_ms.is_some_and(|exit_ms| ran_ms >= exit_ms) {
            return Some(What::Stopped(exited()));
        }
        let since = |at: Option<i64>| at.is_some_and(|at| ran_ms >= at);
        Some(What::Running(match (since(behaviour.unhealthy_ms), since(behaviour.healthy_ms)) {
            (true, _) => HealthStatus::Unhealthy,
            (_, true) => HealthStatus::Healthy,
            _ => HealthStatus::Unknown,
        }))
    }
}

fn exited() -> Stop {
    Stop { code: StopCode::EssentialContainerExited, reason: StoppedReason::EssentialContainerExited }
}

fn failed(why: &str) -> Stop {
    let reason = ContainerReason::new(ContainerError::CannotPullContainer, why);
    Stop { code: StopCode::TaskFailedToStart, reason: StoppedReason::Container(reason) }
}

fn vanished() -> Stop {
    Stop { code: StopCode::EssentialContainerExited, reason: StoppedReason::Container(ContainerReason::vanished()) }
}
