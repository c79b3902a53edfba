//! What to do next for one task. Pure: the same task, state and time give the same plan.

use std::collections::BTreeSet;

use super::{
    dependency::{Readiness, dependents_stopped, earliest, readiness},
    state::{Phase, TaskState},
};
use crate::{
    reason::ContainerReason,
    task::{TaskNetwork, TaskSpec},
};

/// A step of I/O. Numbers are container indexes. An action is its own key: the same one never runs twice at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    /// Put the task's record on disk.
    Record,
    /// Task cgroup, task namespace, volumes.
    Provision,
    Pull(usize),
    Network(usize),
    Create(usize),
    Start(usize),
    /// Wait for the container's end.
    Wait(usize),
    Probe(usize),
    /// The image's stop signal.
    Signal(usize),
    Kill(usize),
    FlushLogs(usize),
}

#[derive(Debug, Default, PartialEq, Eq)]
#[must_use = "a plan changes nothing until it is carried out"]
pub(crate) struct Plan {
    pub(crate) actions: Vec<Action>,
    /// When time alone would change the plan.
    pub(crate) wake_at_ms: Option<u64>,
}

/// How long to wait before a SIGKILL that did not end the container is repeated.
const KILL_AGAIN_AFTER_MS: u64 = 5_000;

/// Exit code of a container that never started because of a dependency.
const DEPENDENCY_FAILED_EXIT_CODE: i32 = 143;

/// Draws every conclusion that needs no I/O: containers that can never start, containers of a stopping task that have
/// not started, an essential container's end. Call it before [`plan_task`].
pub(crate) fn advance(now_ms: u64, task: &TaskSpec, state: &mut TaskState, busy: &BTreeSet<Action>) {
    // Each round stops at least one container, so there are at most as many rounds as containers.
    loop {
        state.conclude(now_ms, task);
        let stopping = state.stop.is_some();
        let mut changed = false;
        for index in 0..task.containers.len() {
            changed |= if stopping {
                stop_unstarted(now_ms, task, state, busy, index)
            } else {
                stop_impossible(now_ms, task, state, index)
            };
        }
        if !changed {
            return;
        }
    }
}

/// Stops a container that has no process when its task is to stop. A start under way is waited for: its outcome is
/// not known, and the process must not be forgotten.
fn stop_unstarted(now_ms: u64, task: &TaskSpec, state: &mut TaskState, busy: &BTreeSet<Action>, index: usize) -> bool {
    let pull_began = state.pull_started_ms.is_some();
    let container = &mut state.containers[index];
    let without_process = container.phase == Phase::Pending || container.restarting;
    let in_flight = [Action::Start(index), Action::Create(index), Action::Network(index)];
    if !without_process || container.phase == Phase::Stopped || in_flight.iter().any(|action| busy.contains(action)) {
        return false;
    }
    container.phase = Phase::Stopped;
    container.restarting = false;
    container.finished_ms.get_or_insert(now_ms);
    if !pull_began {
        container.reason.get_or_insert(ContainerReason::StoppedBeforePull(task.arn.clone()));
    }
    true
}

fn stop_impossible(now_ms: u64, task: &TaskSpec, state: &mut TaskState, index: usize) -> bool {
    // Dependencies count until the container is created; afterwards only its own start decides.
    if state.containers[index].phase != Phase::Pending || state.containers[index].spec.is_some() {
        return false;
    }
    let Readiness::Impossible(why) = readiness(now_ms, task, state, index) else { return false };
    let container = &mut state.containers[index];
    container.exit_code = Some(DEPENDENCY_FAILED_EXIT_CODE);
    container.fail(now_ms, ContainerReason::Dependency(why));
    true
}

/// What to do now. `busy` are the actions under way; they are not planned again.
pub(crate) fn plan_task(now_ms: u64, task: &TaskSpec, state: &TaskState, busy: &BTreeSet<Action>) -> Plan {
    let mut planner = Planner { now_ms, task, state, busy, plan: Plan::default() };
    if !state.recorded {
        planner.act(Action::Record);
    }
    if state.stop.is_none() && state.provision.is_none() {
        planner.act(Action::Provision);
    }
    for index in 0..task.containers.len() {
        match state.containers[index].phase {
            Phase::Pending if state.stop.is_none() => planner.pending(index),
            Phase::Pending => {}
            Phase::Running => planner.running(index),
            Phase::Stopped if state.containers[index].owes_logs() => planner.act(Action::FlushLogs(index)),
            Phase::Stopped => {}
        }
    }
    planner.plan
}

struct Planner<'a> {
    now_ms: u64,
    task: &'a TaskSpec,
    state: &'a TaskState,
    busy: &'a BTreeSet<Action>,
    plan: Plan,
}

impl Planner<'_> {
    fn act(&mut self, action: Action) {
        if !self.busy.contains(&action) {
            self.plan.actions.push(action);
        }
    }

    fn at(&mut self, at_ms: u64, action: Action) {
        if self.now_ms >= at_ms {
            self.act(action);
        } else {
            self.wake_at(at_ms);
        }
    }

    fn wake_at(&mut self, at_ms: u64) {
        self.plan.wake_at_ms = earliest(self.plan.wake_at_ms, Some(at_ms));
    }

    fn pending(&mut self, index: usize) {
        let container = &self.state.containers[index];
        if container.spec.is_some() {
            self.start(index);
            return;
        }
        match readiness(self.now_ms, self.task, self.state, index) {
            Readiness::Ready => {}
            Readiness::Waiting { until_ms } => {
                if let Some(at_ms) = until_ms {
                    self.wake_at(at_ms);
                }
                return;
            }
            Readiness::Impossible(_) => return,
        }
        self.prepare(index);
    }

    /// Whatever is still missing before the container can start.
    fn prepare(&mut self, index: usize) {
        let container = &self.state.containers[index];
        // The network does not need the image: the two go on side by side.
        if container.image.is_none() {
            self.act(Action::Pull(index));
        }
        let network_ready = container.network.is_some();
        let task_namespace_missing =
            matches!(self.task.network, TaskNetwork::Awsvpc(_)) && self.state.provision.is_none();
        if !network_ready && !task_namespace_missing {
            self.act(Action::Network(index));
        }
        let ready = container.image.is_some() && network_ready && self.state.provision.is_some();
        if ready && self.may_enter_shared_namespace() {
            self.act(Action::Create(index));
        }
    }

    fn start(&mut self, index: usize) {
        if self.state.recorded {
            self.act(Action::Start(index));
        }
    }

    /// The first container that is created starts the pause container, so it is created alone, and only when the
    /// task's record is on disk.
    fn may_enter_shared_namespace(&self) -> bool {
        let pause_runs = self.state.containers.iter().any(|container| container.spec.is_some());
        let creating = |action: &Action| matches!(action, Action::Create(_));
        !self.task.has_pause()
            || pause_runs
            || (self.state.recorded && !self.busy.iter().chain(&self.plan.actions).any(creating))
    }

    fn running(&mut self, index: usize) {
        let container = &self.state.containers[index];
        if container.restarting {
            if self.state.stop.is_some() {
                return;
            }
            // Its description is missing when the agent was killed between the first start and the record of it.
            if container.spec.is_some() {
                self.start(index);
            } else {
                self.prepare(index);
            }
            return;
        }
        self.act(Action::Wait(index));
        if self.state.stop.is_some() {
            self.stopping(index);
        } else if let (Some(check), Some(started)) = (&self.task.containers[index].health_check, container.started_ms) {
            self.at(container.health.next_probe_ms(check, started), Action::Probe(index));
        }
    }

    fn stopping(&mut self, index: usize) {
        if !dependents_stopped(self.task, self.state, index) {
            return;
        }
        match &self.state.containers[index].stopping {
            None => self.act(Action::Signal(index)),
            Some(stopping) => {
                let kill_at = stopping.killed_ms.map_or(stopping.kill_at_ms, |killed| killed + KILL_AGAIN_AFTER_MS);
                self.at(kill_at, Action::Kill(index));
            }
        }
    }
}
