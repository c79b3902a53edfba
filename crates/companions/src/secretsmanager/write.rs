//! Changes: planned on the picture, committed as one transaction, and seen by the picture before they are answered.

use gantry_api::Fault;
use gantry_store::Txn;
use tokio::sync::MutexGuard;

use super::rows::{Scope, Secret, SecretRow, value_key, values_prefix};
use super::{Inner, fault};
use crate::commit::{Committed, commit};

/// What happens to values in a change of a secret.
#[derive(Default)]
pub(super) struct Values {
    /// Version and sealed value.
    pub(super) put: Option<(String, Vec<u8>)>,
    /// Versions that go.
    pub(super) gone: Vec<String>,
}

impl Inner {
    /// Waits until no other change is under way. What is looked up after this stays until the guard goes.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Makes a secret. `stale` is a secret of that name whose time is over.
    pub(super) async fn write_new(
        &self,
        scope: &Scope,
        name: &str,
        row: &SecretRow,
        values: Values,
        stale: Option<&Secret>,
    ) -> Result<(), Fault> {
        let key = scope.key(name);
        let txn = match stale {
            Some(stale) => Txn::new().require(&key, stale.revision).delete_prefix(values_prefix(&stale.row.id)),
            None => Txn::new().require_absent(&key),
        };
        self.commit(put_values(txn.put(&key, encode(row)?), &row.id, values)).await
    }

    /// Replaces the row of a secret.
    pub(super) async fn write(&self, secret: &Secret, row: &SecretRow, values: Values) -> Result<(), Fault> {
        let key = secret.key();
        let txn = Txn::new().require(&key, secret.revision).put(&key, encode(row)?);
        self.commit(put_values(txn, &row.id, values)).await
    }

    /// Removes a secret with its values.
    pub(super) async fn write_gone(&self, secret: &Secret) -> Result<(), Fault> {
        let key = secret.key();
        let txn = Txn::new().require(&key, secret.revision).delete(&key);
        self.commit(txn.delete_prefix(values_prefix(&secret.row.id))).await
    }

    async fn commit(&self, txn: Txn) -> Result<(), Fault> {
        match commit(&self.store, &self.view, txn).await.map_err(fault::store)? {
            Committed::Done => Ok(()),
            Committed::Overtaken => Err(fault::concurrent()),
        }
    }
}

fn put_values(mut txn: Txn, id: &str, values: Values) -> Txn {
    for version in values.gone {
        txn = txn.delete(value_key(id, &version));
    }
    match values.put {
        Some((version, sealed)) => txn.put(value_key(id, &version), sealed),
        None => txn,
    }
}

fn encode(row: &SecretRow) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(row).map_err(fault::unavailable)
}
