//! Changes of the configuration: planned on the picture, committed as one transaction, and seen by the picture before
//! they are answered.

use gantry_api::Fault;
use gantry_store::{Txn, TxnError};
use serde::Serialize;

use super::picture::Picture;
use super::{Inner, fault};

impl Inner {
    /// Plans with `plan` and commits; an empty transaction is not written.
    pub(super) async fn change<T>(&self, plan: impl Fn(&Picture) -> Result<(Txn, T), Fault>) -> Result<T, Fault> {
        let _turn = self.turn.lock().await;
        let (txn, answer) = plan(&self.view.read())?;
        if txn.then.is_empty() {
            return Ok(answer);
        }
        let revision = match self.store.txn(txn).await {
            Ok(revision) => revision,
            Err(TxnError::Conflict { .. }) => return Err(fault::overtaken()),
            Err(TxnError::Store(error)) => return Err(fault::store(error)),
        };
        self.view.wait_for(revision).await.map_err(fault::store)?;
        Ok(answer)
    }

    pub(super) fn now_ms(&self) -> i64 {
        (self.clock)().as_millis()
    }
}

/// A row's form in the store.
pub(super) fn encode(row: &impl Serialize) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(row).map_err(fault::internal)
}
