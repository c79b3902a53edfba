//! Gives instances to tasks that wait for one of their capacity provider.
//!
//! Looks at a cluster whenever an instance or a task of it changes: what frees room is one of the two.

use gantry_store::TxnError;

use super::{Reconciler, Wake};
use crate::{Control, keys::ClusterKey, launch, view::Change};

/// The reconciler of waiting tasks.
#[derive(Debug)]
pub struct WaitingTasks {
    control: Control,
}

impl WaitingTasks {
    /// The reconciler over `control`.
    pub fn new(control: Control) -> Self {
        Self { control }
    }

    fn if_waiting(&self, key: ClusterKey) -> Vec<ClusterKey> {
        let view = self.control.read();
        let cluster = view.cluster(&key.scope, &key.cluster);
        if cluster.is_some_and(|cluster| !cluster.tasks().waiting().is_empty()) { vec![key] } else { Vec::new() }
    }
}

impl Reconciler for WaitingTasks {
    type Key = ClusterKey;
    type Error = TxnError;

    const NAME: &'static str = "waiting tasks";

    fn keys(&self) -> Vec<ClusterKey> {
        let view = self.control.read();
        let waiting = view.namespaces().flat_map(|(scope, space)| {
            let some = space.clusters().iter().filter(|(_, cluster)| !cluster.tasks().waiting().is_empty());
            some.map(move |(name, _)| ClusterKey { scope: scope.clone(), cluster: name.clone() })
        });
        waiting.collect()
    }

    fn keys_of(&self, change: &Change) -> Vec<ClusterKey> {
        match change {
            Change::Task { key, .. } => self.if_waiting(key.cluster_key()),
            Change::Instance(key) => self.if_waiting(key.cluster_key()),
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &ClusterKey) -> Result<Wake, TxnError> {
        let control = &self.control;
        let seed = &control.settings.subnet_seed;
        let admission = launch::admit(&control.read(), key, &control.random, seed, control.now());
        let Some(txn) = admission.txn else { return Ok(Wake::from(admission.next)) };
        match self.control.commit(txn).await {
            Ok(_) | Err(TxnError::Conflict { .. }) => Ok(Wake::Again),
            Err(error) => Err(error),
        }
    }
}
