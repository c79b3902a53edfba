//! Forgets deleted clusters after a while (until then they can be described, as the service promises), and ends changes of
//! attachments.

use gantry_domain::{Timestamp, limits::INACTIVE_CLUSTER_RETENTION_SECONDS};
use gantry_store::{Txn, TxnError};

use super::{Reconciler, Wake};
use crate::{
    Control, EcsView,
    keys::{self, ClusterKey, ServiceKind},
    records::encode,
    view::Change,
};

/// The reconciler of clusters.
#[derive(Debug)]
pub struct Clusters {
    control: Control,
}

impl Clusters {
    /// The reconciler over `control`.
    pub fn new(control: Control) -> Self {
        Self { control }
    }
}

impl Reconciler for Clusters {
    type Key = ClusterKey;
    type Error = TxnError;

    const NAME: &'static str = "clusters";

    fn keys(&self) -> Vec<ClusterKey> {
        let view = self.control.read();
        let unfinished =
            |row: &crate::records::ClusterRecord| !row.is_active() || row.attachments_updating == Some(true);
        let inactive = view.namespaces().flat_map(|(scope, space)| {
            let some = space.clusters().iter();
            let some = some.filter(|(_, cluster)| cluster.row().is_some_and(|row| unfinished(row)));
            some.map(move |(name, _)| ClusterKey { scope: scope.clone(), cluster: name.clone() })
        });
        inactive.collect()
    }

    fn keys_of(&self, change: &Change) -> Vec<ClusterKey> {
        match change {
            Change::Cluster(key) => vec![key.clone()],
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &ClusterKey) -> Result<Wake, TxnError> {
        let planned = plan(&self.control.read(), key, self.control.now());
        match planned {
            Plan::Nothing => Ok(Wake::OnChange),
            Plan::Later(at) => Ok(Wake::At(at)),
            Plan::Change(txn) => {
                self.control.commit(txn).await?;
                Ok(Wake::OnChange)
            }
        }
    }
}

enum Plan {
    Nothing,
    Later(Timestamp),
    Change(Txn),
}

/// A cluster goes last: its stopped tasks, services and instances are described through it.
fn plan(view: &EcsView, key: &ClusterKey, now: Timestamp) -> Plan {
    let Some(cluster) = view.cluster(&key.scope, &key.cluster) else { return Plan::Nothing };
    let Some(row) = cluster.row() else { return Plan::Nothing };
    let path = keys::cluster(&key.scope, key.cluster.as_str());
    if row.is_active() {
        // The policies have nothing to be made of: they are there as soon as the cluster has them.
        let mut record = row.record.clone();
        return match record.attachments_updating.replace(false) {
            Some(true) => Plan::Change(Txn::new().require(&path, row.revision).put(path, encode(&record))),
            _ => Plan::Nothing,
        };
    }
    let retention = i64::try_from(INACTIVE_CLUSTER_RETENTION_SECONDS).unwrap_or(i64::MAX);
    let due = row.deleted_at.unwrap_or(row.created_at).plus_seconds(retention);
    if due > now {
        return Plan::Later(due);
    }
    let occupied = !cluster.tasks().all().is_empty()
        || ServiceKind::ALL.into_iter().any(|kind| !cluster.kept(kind).rows().is_empty())
        || view.hosts_of_cluster(&key.scope, &key.cluster).next().is_some();
    if occupied {
        return Plan::Nothing;
    }
    Plan::Change(Txn::new().require(&path, row.revision).delete(path))
}
