//! Gives up the tasks of container instances whose agent does not come back.
//!
//! An agent that is away for a moment changes nothing: its tasks run. After the time that the operator set, the instance
//! counts as lost, its tasks are STOPPED, and services replace them elsewhere. An agent that returns after that stops
//! what was given up, because it is not in its desired set any more: no task is run twice for longer than that. A task
//! that still waits for its network interface fails after three minutes.

use gantry_domain::{
    Timestamp,
    away::{AwayTask, Fate, fate, lost_at},
    reason::StoppedReason,
    task::{LastStatus, Stop, StopCode},
};
use gantry_store::{Txn, TxnError};

use super::{Reconciler, Wake};
use crate::{
    Control, EcsView,
    keys::InstanceKey,
    records::{InstanceRecord, Row, encode},
    tasks::observe,
    view::{Change, Host, TaskRow},
};

/// Tasks ended in one transaction.
const TASKS_PER_TXN: usize = 200;

/// Watches instances whose agent is away.
#[derive(Debug)]
pub struct AwayInstances {
    control: Control,
    /// Since when agents could have returned to this control plane.
    watched_since: Timestamp,
}

impl AwayInstances {
    /// The reconciler over `control`.
    pub fn new(control: Control) -> Self {
        Self { watched_since: control.now(), control }
    }

    fn plan(&self, view: &EcsView, key: &InstanceKey, now: Timestamp) -> (Option<Txn>, Wake) {
        let Some((host, row)) = away(view.host(key)) else { return (None, Wake::OnChange) };
        let after = self.control.settings.instance_lost_after;
        let after_ms = after.map(|after| i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
        let lost_at = lost_at(row.connectivity_at, self.watched_since, after_ms);
        // An agent that returns meanwhile writes the instance: then this plan is void.
        let mut txn = Txn::new().require(key.path(), row.revision);
        let mut wake: Option<Timestamp> = None;
        let mut ended = 0;
        for (cluster, task) in host.tasks().values().filter(|(_, task)| !task.is_stopped()) {
            let stop = match fate(seen(task), self.watched_since, lost_at, now) {
                Fate::Kept(until) => {
                    wake = until.into_iter().chain(wake).min();
                    continue;
                }
                Fate::InterfaceTimedOut => {
                    Stop { code: StopCode::TaskFailedToStart, reason: StoppedReason::NetworkInterfaceTimeout }
                }
                Fate::Lost => lost(key, row, now.millis_since(row.connectivity_at)),
            };
            if ended == TASKS_PER_TXN {
                return (Some(txn), Wake::Again);
            }
            let Some(after) = observe::lost(&task.record, stop, now) else { continue };
            let path = cluster.task(task.id).path();
            txn = txn.require(path.clone(), task.revision).put(path, encode(&after));
            ended += 1;
        }
        ((ended > 0).then_some(txn), Wake::from(wake))
    }
}

impl Reconciler for AwayInstances {
    type Key = InstanceKey;
    type Error = TxnError;

    const NAME: &'static str = "away instances";

    fn keys(&self) -> Vec<InstanceKey> {
        let view = self.control.read();
        view.hosts().filter(|(_, host)| away(Some(host)).is_some()).map(|(key, _)| key.clone()).collect()
    }

    fn keys_of(&self, change: &Change) -> Vec<InstanceKey> {
        match change {
            Change::Instance(key) => vec![key.clone()],
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &InstanceKey) -> Result<Wake, TxnError> {
        let (txn, wake) = self.plan(&self.control.read(), key, self.control.now());
        if let Some(txn) = txn {
            let tasks = txn.then.len();
            match self.control.commit(txn).await {
                Ok(_) => tracing::warn!(instance = %key.id, tasks, "an agent is away; tasks were given up"),
                // It came back meanwhile: look again.
                Err(TxnError::Conflict { .. }) => return Ok(Wake::Again),
                Err(error) => return Err(error),
            }
        }
        Ok(wake)
    }
}

/// A registered instance whose agent is away and that has tasks.
fn away(host: Option<&Host>) -> Option<(&Host, &Row<InstanceRecord>)> {
    let host = host?;
    let row = host.row.as_deref()?;
    (row.is_registered() && !row.agent_connected && host.alive() > 0).then_some((host, row))
}

fn seen(task: &TaskRow) -> AwayTask {
    let awaits_interface = task.life.last_status == LastStatus::Provisioning && !task.delivered;
    AwayTask { created_at: task.life.times.created_at, awaits_interface }
}

fn lost(key: &InstanceKey, row: &InstanceRecord, away_ms: i64) -> Stop {
    let instance = row.ec2_instance_id.clone().unwrap_or_else(|| key.id.to_string());
    let seconds = away_ms / 1000;
    Stop { code: StopCode::InfrastructureHealth, reason: StoppedReason::HostLost { instance, seconds } }
}
