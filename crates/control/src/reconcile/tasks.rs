//! Forgets stopped tasks an hour after their end. Until then they can be described, as the service promises.
//!
//! Looks at the stopped tasks of a cluster with each sweep and at the moment the next one is due, not with each change:
//! a task that stops now has an hour.

use gantry_domain::Timestamp;
use gantry_store::{Txn, TxnError};

use super::{Reconciler, Wake};
use crate::{
    Control, EcsView,
    keys::{self, ClusterKey},
    view::{Change, Phase},
};

/// Tasks forgotten in one transaction.
const TASKS_PER_TXN: usize = 200;

/// Forgets stopped tasks.
#[derive(Debug)]
pub struct StoppedTasks {
    control: Control,
}

impl StoppedTasks {
    /// The reconciler over `control`.
    pub fn new(control: Control) -> Self {
        Self { control }
    }
}

impl Reconciler for StoppedTasks {
    type Key = ClusterKey;
    type Error = TxnError;

    const NAME: &'static str = "stopped tasks";

    fn keys(&self) -> Vec<ClusterKey> {
        let view = self.control.read();
        let clusters = view.namespaces().flat_map(|(scope, space)| {
            let stopped =
                |cluster: &crate::view::ClusterView| !cluster.tasks().all().in_phase(Phase::Stopped).is_empty();
            let some = space.clusters().iter().filter(move |(_, cluster)| stopped(cluster));
            some.map(move |(name, _)| ClusterKey { scope: scope.clone(), cluster: name.clone() })
        });
        clusters.collect()
    }

    fn keys_of(&self, _: &Change) -> Vec<ClusterKey> {
        Vec::new()
    }

    async fn reconcile(&self, key: &ClusterKey) -> Result<Wake, TxnError> {
        let retention = i64::try_from(self.control.settings.stopped_task_retention.as_millis()).unwrap_or(i64::MAX);
        let plan = plan(&self.control.read(), key, self.control.now(), retention);
        let Some(txn) = plan.forget else { return Ok(Wake::from(plan.next)) };
        self.control.commit(txn).await?;
        Ok(if plan.more { Wake::Again } else { Wake::from(plan.next) })
    }
}

struct Plan {
    forget: Option<Txn>,
    more: bool,
    next: Option<Timestamp>,
}

fn plan(view: &EcsView, key: &ClusterKey, now: Timestamp, retention_millis: i64) -> Plan {
    let mut plan = Plan { forget: None, more: false, next: None };
    let Some(tasks) = view.cluster(&key.scope, &key.cluster).map(crate::view::ClusterView::tasks) else { return plan };
    let (mut txn, mut count) = (Txn::new(), 0);
    for task in tasks.walk(tasks.all(), &[Phase::Stopped], None) {
        let ended = task.life.times.stopped_at.unwrap_or(task.life.times.created_at);
        let due = ended.plus_millis(retention_millis);
        if due > now {
            plan.next = Some(plan.next.map_or(due, |next| next.min(due)));
        } else if count < TASKS_PER_TXN {
            let path = keys::task(&key.scope, key.cluster.as_str(), task.id);
            txn = txn.require(&path, task.revision).delete(path);
            count += 1;
        } else {
            plan.more = true;
        }
    }
    plan.forget = (count > 0).then_some(txn);
    plan
}
