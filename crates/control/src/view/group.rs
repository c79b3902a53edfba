//! Tasks that share something (a service, a family, a starter), with their numbers.

use std::collections::BTreeSet;

use gantry_domain::{
    arn::TaskId,
    task::{DesiredStatus, LastStatus},
};

use crate::records::{LaunchType, TaskRecord};

/// What a list needs to tell apart without looking at each task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Desired RUNNING.
    Wanted,
    /// Desired STOPPED, but something of it is still there.
    Stopping,
    /// STOPPED.
    Stopped,
}

impl Phase {
    /// The phase of a task.
    pub fn of(task: &TaskRecord) -> Self {
        if task.is_stopped() {
            return Self::Stopped;
        }
        match task.life.desired_status {
            DesiredStatus::Running => Self::Wanted,
            DesiredStatus::Stopped => Self::Stopping,
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Wanted => 0,
            Self::Stopping => 1,
            Self::Stopped => 2,
        }
    }
}

/// Numbers of tasks as clusters, services and instances show them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    running: [u32; 3],
    pending: [u32; 3],
}

impl Counts {
    /// Tasks that are RUNNING.
    pub fn running(&self) -> u32 {
        self.running.iter().sum()
    }

    /// Tasks on their way to RUNNING.
    pub fn pending(&self) -> u32 {
        self.pending.iter().sum()
    }

    /// Tasks of a launch type that are RUNNING.
    pub fn running_of(&self, launch_type: LaunchType) -> u32 {
        self.running[launch_index(launch_type)]
    }

    /// Tasks of a launch type on their way to RUNNING.
    pub fn pending_of(&self, launch_type: LaunchType) -> u32 {
        self.pending[launch_index(launch_type)]
    }

    fn slot(&mut self, task: &TaskRecord) -> Option<&mut u32> {
        let index = launch_index(task.launch_type);
        match task.life.last_status {
            LastStatus::Running => Some(&mut self.running[index]),
            status if status.is_starting() => Some(&mut self.pending[index]),
            _ => None,
        }
    }

    pub(super) fn add(&mut self, task: &TaskRecord) {
        if let Some(slot) = self.slot(task) {
            *slot += 1;
        }
    }

    pub(super) fn remove(&mut self, task: &TaskRecord) {
        if let Some(slot) = self.slot(task) {
            *slot = slot.saturating_sub(1);
        }
    }
}

const fn launch_index(launch_type: LaunchType) -> usize {
    match launch_type {
        LaunchType::Ec2 => 0,
        LaunchType::Fargate => 1,
        LaunchType::External => 2,
    }
}

/// A set of tasks by phase, in the order of their ids.
#[derive(Debug, Default)]
pub struct Group {
    phases: [BTreeSet<TaskId>; 3],
    counts: Counts,
}

impl Group {
    /// The tasks in a phase.
    pub fn in_phase(&self, phase: Phase) -> &BTreeSet<TaskId> {
        &self.phases[phase.index()]
    }

    /// The numbers.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Tasks of which something is there: wanted or still stopping.
    pub fn alive(&self) -> impl Iterator<Item = TaskId> {
        self.in_phase(Phase::Wanted).iter().chain(self.in_phase(Phase::Stopping)).copied()
    }

    /// Whether it has no task at all.
    pub fn is_empty(&self) -> bool {
        self.phases.iter().all(BTreeSet::is_empty)
    }

    pub(super) fn add(&mut self, id: TaskId, task: &TaskRecord) {
        self.phases[Phase::of(task).index()].insert(id);
        self.counts.add(task);
    }

    pub(super) fn remove(&mut self, id: TaskId, task: &TaskRecord) {
        self.phases[Phase::of(task).index()].remove(&id);
        self.counts.remove(task);
    }
}
