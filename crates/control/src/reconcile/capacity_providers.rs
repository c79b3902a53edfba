//! Carries out what was asked of capacity providers: updates, deletions, and forgetting deleted ones after a while.

use gantry_domain::{
    Timestamp,
    arn::{Name, Scope},
    limits::INACTIVE_CLUSTER_RETENTION_SECONDS,
};
use gantry_store::{Txn, TxnError};

use super::{Reconciler, Wake};
use crate::{
    Control, EcsView, Random, capacity_providers, keys,
    records::{CapacityProviderRecord, ProviderUpdate, Row, encode},
    view::Change,
};

/// The reconciler of capacity providers.
#[derive(Debug)]
pub struct CapacityProviders {
    control: Control,
}

impl CapacityProviders {
    /// The reconciler over `control`.
    pub fn new(control: Control) -> Self {
        Self { control }
    }
}

impl Reconciler for CapacityProviders {
    type Key = (Scope, Name);
    type Error = TxnError;

    const NAME: &'static str = "capacity providers";

    fn keys(&self) -> Vec<(Scope, Name)> {
        let view = self.control.read();
        let all = view.namespaces().flat_map(|(scope, space)| {
            space.capacity_providers().keys().map(move |name| (scope.clone(), name.clone()))
        });
        all.collect()
    }

    fn keys_of(&self, change: &Change) -> Vec<(Scope, Name)> {
        match change {
            Change::CapacityProvider(scope, name) => vec![(scope.clone(), name.clone())],
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, (scope, name): &(Scope, Name)) -> Result<Wake, TxnError> {
        let planned = plan(&self.control.read(), (scope, name), &self.control.random, self.control.now());
        match planned {
            Plan::Nothing => Ok(Wake::OnChange),
            Plan::Later(at) => Ok(Wake::At(at)),
            Plan::Change(txn) => match self.control.commit(txn).await {
                Ok(_) | Err(TxnError::Conflict { .. }) => Ok(Wake::Again),
                Err(error) => Err(error),
            },
        }
    }
}

enum Plan {
    Nothing,
    Later(Timestamp),
    Change(Txn),
}

fn plan(view: &EcsView, (scope, name): (&Scope, &Name), random: &Random, now: Timestamp) -> Plan {
    let row = view.namespace(scope).and_then(|space| space.capacity_providers().get(name));
    let Some(row) = row else { return Plan::Nothing };
    let path = keys::capacity_provider(scope, name.as_str());
    if let Some(deleted_at) = row.deleted_at {
        let retention = i64::try_from(INACTIVE_CLUSTER_RETENTION_SECONDS).unwrap_or(i64::MAX);
        let due = deleted_at.plus_seconds(retention);
        let forget = || Plan::Change(Txn::new().require(&path, row.revision).delete(&path));
        return if due > now { Plan::Later(due) } else { forget() };
    }
    match row.update {
        Some(ProviderUpdate::UpdateInProgress) => Plan::Change(update(view, (scope, name), row, random)),
        Some(ProviderUpdate::DeleteInProgress) => {
            let record = deleted(view, (scope, name), row, now);
            Plan::Change(Txn::new().require(&path, row.revision).put(path, encode(&record)))
        }
        _ => Plan::Nothing,
    }
}

/// The provider with its new group, and the clusters that have it with attachments to match.
fn update(view: &EcsView, (scope, name): (&Scope, &Name), row: &Row<CapacityProviderRecord>, random: &Random) -> Txn {
    let mut record = row.record.clone();
    record.group = record.next.take().unwrap_or(record.group);
    record.update = Some(ProviderUpdate::UpdateComplete);
    let path = keys::capacity_provider(scope, name.as_str());
    let managed = record.is_managed();
    let mut txn = Txn::new().require(&path, row.revision).put(path, encode(&record));
    for (cluster, view_of_cluster) in capacity_providers::attached_to(view, scope, name.as_str()) {
        let Some(cluster_row) = view_of_cluster.active() else { continue };
        let provider = (name.as_str(), managed);
        if let Some(changed) = capacity_providers::with_provider(view, scope, cluster_row, provider, random) {
            let path = keys::cluster(scope, cluster.as_str());
            txn = txn.require(&path, cluster_row.revision).put(path, encode(&changed));
        }
    }
    txn
}

fn deleted(
    view: &EcsView,
    (scope, name): (&Scope, &Name),
    row: &Row<CapacityProviderRecord>,
    now: Timestamp,
) -> CapacityProviderRecord {
    let mut record = row.record.clone();
    let cluster = capacity_providers::attached_to(view, scope, name.as_str()).next();
    match cluster {
        Some((cluster, _)) => {
            record.update = Some(ProviderUpdate::DeleteFailed);
            record.update_reason = Some(format!(
                "The capacity provider cannot be deleted because it is associated with cluster: {cluster}. Remove the \
                 capacity provider from the cluster and try again."
            ));
        }
        None => {
            record.update = Some(ProviderUpdate::DeleteComplete);
            record.deleted_at = Some(now);
        }
    }
    record
}
