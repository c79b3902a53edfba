//! What the control plane has still to hear: the latest state of every task, and which of it was acknowledged.
//!
//! Level-triggered: a task that changes three times while the control plane is away is told once. Everything known is
//! bounded by the number of tasks.

use std::collections::BTreeMap;

use gantry_api::agent::{ObservedStatus, ObservedTask};
use parking_lot::Mutex;
use tokio::sync::watch;

/// Shared between the engine, which publishes, and the session, which delivers.
pub(crate) struct Outbox {
    entries: Mutex<BTreeMap<String, Entry>>,
    /// Counts publications.
    published: watch::Sender<u64>,
    /// Counts acknowledgements and removals.
    acknowledged: watch::Sender<u64>,
}

struct Entry {
    task: ObservedTask,
    version: u64,
    /// Handed to the connection, not necessarily arrived.
    sent: u64,
    acknowledged: u64,
}

/// Which version of each task a message carried.
pub(crate) type Versions = Vec<(String, u64)>;

impl Outbox {
    pub(crate) fn new() -> Self {
        Self { entries: Mutex::default(), published: watch::Sender::new(0), acknowledged: watch::Sender::new(0) }
    }

    /// Replaces what is known of a task. Publishing the same again is nothing new.
    pub(crate) fn publish(&self, task: ObservedTask) {
        {
            let mut entries = self.entries.lock();
            match entries.get_mut(&task.task_arn) {
                Some(entry) if entry.task == task => return,
                Some(entry) => {
                    entry.task = task;
                    entry.version += 1;
                }
                None => {
                    let entry = Entry { task, version: 1, sent: 0, acknowledged: 0 };
                    entries.insert(entry.task.task_arn.clone(), entry);
                }
            }
        }
        self.published.send_modify(|count| *count += 1);
    }

    /// Forgets a task.
    pub(crate) fn remove(&self, task_arn: &str) {
        self.entries.lock().remove(task_arn);
        self.acknowledged.send_modify(|count| *count += 1);
    }

    /// Everything, for the first message of a connection.
    pub(crate) fn everything(&self) -> Vec<ObservedTask> {
        self.entries.lock().values().map(|entry| entry.task.clone()).collect()
    }

    /// Makes everything that was not acknowledged a change again.
    pub(crate) fn unsend(&self) {
        for entry in self.entries.lock().values_mut() {
            entry.sent = entry.acknowledged;
        }
    }

    /// What changed since it was last handed out, at most `max` tasks.
    pub(crate) fn changes(&self, max: usize) -> (Vec<ObservedTask>, Versions) {
        let mut entries = self.entries.lock();
        let mut versions = Versions::new();
        let changed = entries.values_mut().filter(|entry| entry.sent < entry.version).take(max);
        let tasks = changed.map(|entry| take(entry, &mut versions)).collect();
        (tasks, versions)
    }

    /// The control plane has these versions on disk.
    pub(crate) fn acknowledge(&self, versions: &Versions) {
        {
            let mut entries = self.entries.lock();
            for (arn, version) in versions {
                if let Some(entry) = entries.get_mut(arn) {
                    entry.acknowledged = entry.acknowledged.max(*version);
                }
            }
        }
        self.acknowledged.send_modify(|count| *count += 1);
    }

    /// Changes when something is published.
    pub(crate) fn watch_published(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }

    /// Waits until the task's STOPPED is acknowledged, or the task was removed.
    pub(crate) async fn stopped_acknowledged(&self, task_arn: &str) {
        let mut acknowledged = self.acknowledged.subscribe();
        loop {
            acknowledged.borrow_and_update();
            let done = self.entries.lock().get(task_arn).is_none_or(|entry| {
                entry.task.last_status == ObservedStatus::Stopped && entry.acknowledged >= entry.version
            });
            if done || acknowledged.changed().await.is_err() {
                return;
            }
        }
    }
}

fn take(entry: &mut Entry, versions: &mut Versions) -> ObservedTask {
    entry.sent = entry.version;
    versions.push((entry.task.task_arn.clone(), entry.version));
    entry.task.clone()
}
