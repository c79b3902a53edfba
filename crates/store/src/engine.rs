//! What an engine has to do. [`crate::Store`] is the handle everybody uses.

use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::{KeyRange, KeyValue, LeaseId, Range, Revision, StoreError, Txn, TxnError, Watch};

/// A place that keeps keys. Implementations are shared behind an `Arc` and called from many tasks at once.
///
/// Bounds of keys, values and transactions are checked by [`crate::Store`] before an engine is called.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// The key, or nothing.
    async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError>;

    /// Up to `limit` keys of `range` in order, read at one revision.
    async fn range(&self, range: KeyRange, limit: usize) -> Result<Range, StoreError>;

    /// Every key of `range` in order at one revision, one at a time and in bounded memory; returns the revision.
    async fn scan(&self, range: KeyRange, each: &mut (dyn FnMut(KeyValue) + Send)) -> Result<Revision, StoreError>;

    /// Does the transaction; durable when this returns. A transaction that changes nothing (deletes of absent keys)
    /// returns the current revision and makes no new one.
    async fn txn(&self, txn: Txn) -> Result<Revision, TxnError>;

    /// The last durable revision; 0 in an empty store.
    fn revision(&self) -> Revision;

    /// The changes of keys in `range` from transaction `from` on (`from` itself included).
    fn watch(&self, range: KeyRange, from: Revision) -> Watch;

    /// A new lease; durable when this returns.
    async fn lease_grant(&self, ttl: Duration) -> Result<LeaseId, StoreError>;

    /// Gives the lease its full time again, and says how long that is.
    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError>;

    /// Ends the lease and deletes its keys in one transaction.
    async fn lease_revoke(&self, lease: LeaseId) -> Result<Revision, StoreError>;

    /// Ends every lease whose time has passed at `now`; how many there were. Engines call this themselves when a lease
    /// is due; tests and simulations call it with a time of their choice.
    async fn lease_expire(&self, now: Instant) -> Result<usize, StoreError>;

    /// Stops taking calls, finishes what was queued, and lets go of the file. Calls after this are
    /// [`StoreError::Closed`].
    async fn close(&self);
}
