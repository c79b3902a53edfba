//! One transaction of a service that answers from a picture: durable, and in the picture, before it is answered.

use gantry_store::{Model, Store, StoreError, Txn, TxnError, View};

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Committed {
    /// It is done.
    Done,
    /// Somebody was faster; the picture shows what they did.
    Overtaken,
}

/// Commits, and waits until the picture has seen it.
pub(crate) async fn commit<M: Model>(store: &Store, view: &View<M>, txn: Txn) -> Result<Committed, StoreError> {
    let (revision, committed) = match store.txn(txn).await {
        Ok(revision) => (revision, Committed::Done),
        Err(TxnError::Conflict { .. }) => (store.revision(), Committed::Overtaken),
        Err(TxnError::Store(error)) => return Err(error),
    };
    view.wait_for(revision).await?;
    Ok(committed)
}
