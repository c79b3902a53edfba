//! Turns a plan into one transaction: rows that change, and what the service says about it.

mod outcome;

use std::sync::Arc;

use gantry_domain::{
    Timestamp,
    arn::TaskId,
    deployment::DeploymentId,
    reason::{ServiceEvent, StoppedReason},
    service::Action,
    task::{Stop, StopCode},
};
use gantry_store::Txn;

use super::{
    history,
    observe::{Observed, Unit},
};
use crate::{
    Random,
    keys::{ServiceKey, TaskKey},
    records::{DeploymentRecord, EventRecord, Scheduling, ServiceRecord, ServiceStatus, TaskRecord, encode},
    view::{EcsView, TaskRow},
};

/// At most this many tasks are touched by one transaction; the next run does the rest.
pub(super) const TASKS_MAX: usize = 200;

/// The same complaint is repeated only after this long.
const COMPLAINT_REPEAT_MS: i64 = 6 * 3600 * 1000;

/// A transaction in the making.
pub(crate) struct Act<'a> {
    view: &'a EcsView,
    key: &'a ServiceKey,
    observed: &'a Observed,
    record: ServiceRecord,
    random: &'a Random,
    now: Timestamp,
    txn: Txn,
    stopped: Vec<String>,
    touched: usize,
}

impl<'a> Act<'a> {
    pub(crate) fn new(
        view: &'a EcsView,
        key: &'a ServiceKey,
        observed: &'a Observed,
        random: &'a Random,
        now: Timestamp,
    ) -> Self {
        let record = observed.row.record.clone();
        let txn = Txn::new().require(key.path(), observed.row.revision);
        Self { view, key, observed, record, random, now, txn, stopped: Vec::new(), touched: 0 }
    }

    /// The transaction that does the actions (but those that start tasks, which go through the launcher); none when
    /// nothing would change.
    pub(crate) fn transaction(mut self, actions: &[Action]) -> Option<Txn> {
        for task in &self.observed.strays {
            self.forget(task);
        }
        for action in actions {
            self.act(action);
        }
        if self.record.scheduling == Scheduling::Daemon {
            self.record.desired_count = self.observed.view.desired_count;
        }
        if !self.stopped.is_empty() {
            let tasks = std::mem::take(&mut self.stopped);
            self.tell(&ServiceEvent::Stopped { tasks });
        }
        if self.record != self.observed.row.record {
            self.txn = self.txn.put(self.key.path(), encode(&self.record));
        }
        (!self.txn.then.is_empty()).then_some(self.txn)
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::StartTasks { .. } | Action::StartTasksOn { .. } | Action::StartTasksInZone { .. } => {}
            Action::ForgetTask { task } => {
                if let Some(task) = self.task(task) {
                    self.forget(&task);
                }
            }
            Action::SetFailures { deployment, failures } => {
                self.deployment(*deployment, |record| record.failures = *failures);
                if let Some(set) = self.record.task_set_mut(*deployment) {
                    set.failures = *failures;
                }
            }
            Action::StopTask { task, reason } => {
                let stop = Stop { code: StopCode::ServiceSchedulerInitiated, reason: reason.clone() };
                self.stop(task, stop);
            }
            Action::MoveAway { zone, tasks, reason } => self.move_away(zone, tasks, reason),
            Action::SetRebalancing { active } => self.record.rebalancing = *active,
            Action::CompleteDeployment { deployment } => self.complete(*deployment),
            Action::BeginBake { deployment } => {
                let now = self.now;
                self.deployment(*deployment, |record| record.baking_since = Some(now));
            }
            Action::FailDeployment { deployment, cause, rollback } => self.fail(*deployment, cause, *rollback),
            Action::SetRollout(rollout) => {
                if let Some(row) = &mut self.record.rollout {
                    row.update(rollout);
                }
            }
            Action::EndRollback { failed, .. } => self.end_rollback(failed.as_ref()),
            // The primary one has just come back, so that there is one more use for it.
            Action::RemoveDeployment { deployment }
                if self.record.primary().is_some_and(|one| one.id == *deployment) => {}
            Action::RemoveDeployment { deployment } => {
                self.record.deployments.retain(|record| record.id != *deployment);
            }
            Action::SetSteady { since } => self.set_steady(*since),
            Action::Announce(event) => self.announce(event),
            Action::Deactivate => match self.observed.unit {
                Unit::Service => {
                    deactivate(&mut self.record, self.now);
                    if let Some(id) = self.record.daemon.as_ref().and_then(|daemon| daemon.deletion.clone()) {
                        let txn = std::mem::take(&mut self.txn);
                        self.txn = history::end_deletion(txn, self.view, self.key, &id, self.now);
                    }
                }
                Unit::TaskSet(id) => self.record.task_sets.retain(|set| set.id != id),
            },
        }
    }

    fn task(&self, id: &str) -> Option<Arc<TaskRow>> {
        let id: TaskId = id.parse().ok()?;
        self.observed.tasks.iter().find(|task| task.id == id).cloned()
    }

    fn forget(&mut self, task: &TaskRow) {
        let record = TaskRecord { counted_by_service: true, ..task.record.clone() };
        self.put_task(task, &record);
    }

    fn stop(&mut self, id: &str, stop: Stop) {
        let Some(task) = self.task(id).filter(|_| self.touched < TASKS_MAX) else { return };
        let mut record = task.record.clone();
        if record.ask_to_stop(stop, self.now) {
            self.stopped.push(id.to_owned());
            self.put_task(&task, &record);
        }
    }

    /// Stops tasks and says of those why, and not that they were stopped.
    fn move_away(&mut self, zone: &str, tasks: &[String], reason: &StoppedReason) {
        let others = std::mem::take(&mut self.stopped);
        for task in tasks {
            self.stop(task, Stop { code: StopCode::ServiceSchedulerInitiated, reason: reason.clone() });
        }
        let tasks = std::mem::replace(&mut self.stopped, others);
        if !tasks.is_empty() {
            self.tell(&ServiceEvent::StoppedToRebalance { zone: zone.to_owned(), tasks });
        }
    }

    fn put_task(&mut self, task: &TaskRow, record: &TaskRecord) {
        if self.touched >= TASKS_MAX {
            return;
        }
        self.touched += 1;
        let key = TaskKey { scope: self.key.scope.clone(), cluster: self.key.cluster.clone(), id: task.id };
        let txn = std::mem::take(&mut self.txn);
        self.txn = txn.require(key.path(), task.revision).put(key.path(), encode(record));
    }

    fn set_steady(&mut self, since: Option<Timestamp>) {
        match self.observed.unit {
            Unit::Service => self.record.steady_since = since,
            Unit::TaskSet(id) => {
                if let Some(set) = self.record.task_set_mut(id) {
                    if set.steady_since.is_some() != since.is_some() {
                        set.stability_at = self.now;
                    }
                    set.steady_since = since;
                }
            }
        }
    }

    fn deployment(&mut self, id: DeploymentId, change: impl FnOnce(&mut DeploymentRecord)) {
        if let Some(record) = self.record.deployments.iter_mut().find(|record| record.id == id) {
            change(record);
            record.updated_at = self.now;
        }
    }

    fn announce(&mut self, event: &ServiceEvent) {
        match event {
            ServiceEvent::ConfigurationStuck
            | ServiceEvent::ProtectedTasks { .. }
            | ServiceEvent::StartImpaired
            | ServiceEvent::NotPlaced(_) => {
                let who = (self.key, self.observed.unit);
                complain(&mut self.record, who, event, self.random, self.now);
            }
            // Said when its stop is, and its stop may have to wait for the next transaction.
            ServiceEvent::FailedContainerHealthChecks { .. } if self.touched >= TASKS_MAX => {}
            ServiceEvent::SteadyState => {
                if let Some(complaint) = complaint_of(&mut self.record, self.observed.unit) {
                    *complaint = None;
                }
                self.tell(event);
            }
            _ => self.tell(event),
        }
    }

    fn tell(&mut self, event: &ServiceEvent) {
        let name = self.name();
        tell(&mut self.record, &name, event, self.random, self.now);
    }

    fn name(&self) -> String {
        name_in_events(self.key, self.observed.unit)
    }
}

/// A deleted service with nothing left is INACTIVE.
pub(crate) fn deactivate(record: &mut ServiceRecord, now: Timestamp) {
    record.status = ServiceStatus::Inactive;
    record.deleted_at = Some(now);
}

/// Who speaks in an event: the service, or a task set of it.
pub(crate) fn name_in_events(key: &ServiceKey, unit: Unit) -> String {
    match unit {
        Unit::Service => key.service.to_string(),
        Unit::TaskSet(id) => format!("{}, taskSet {id}", key.service),
    }
}

/// Adds a message to the service's events; `name` says who speaks.
pub(crate) fn tell(record: &mut ServiceRecord, name: &str, event: &ServiceEvent, random: &Random, now: Timestamp) {
    record.tell(event_record(name, event, random, now));
}

fn event_record(name: &str, event: &ServiceEvent, random: &Random, now: Timestamp) -> EventRecord {
    // A task set's name has the service's before it (`name_in_events`).
    let action = match event {
        ServiceEvent::SteadyState if name.contains(", taskSet ") => Some("INFO TASKSET_STEADY_STATE"),
        other => other.action(),
    };
    EventRecord { id: random.uuid(), at: now, message: event.message(name), name: action.map(str::to_owned) }
}

/// Where the last complaint of a unit is remembered; none when its task set is gone. Each has its own: two that
/// complain in turn would otherwise each be news to the other, for ever.
pub(crate) fn complaint_of(record: &mut ServiceRecord, unit: Unit) -> Option<&mut Option<EventRecord>> {
    match unit {
        Unit::Service => Some(&mut record.complaint),
        Unit::TaskSet(id) => record.task_set_mut(id).map(|set| &mut set.complaint),
    }
}

/// Adds a message, unless the same was said last and not long ago.
pub(crate) fn complain(
    record: &mut ServiceRecord,
    (key, unit): (&ServiceKey, Unit),
    event: &ServiceEvent,
    random: &Random,
    now: Timestamp,
) {
    let name = name_in_events(key, unit);
    let message = event.message(&name);
    let Some(complaint) = complaint_of(record, unit) else { return };
    let repeats = |last: &EventRecord| last.message == message && now.millis_since(last.at) < COMPLAINT_REPEAT_MS;
    if !complaint.as_ref().is_some_and(repeats) {
        let event = event_record(&name, event, random, now);
        *complaint = Some(event.clone());
        record.tell(event);
    }
}
