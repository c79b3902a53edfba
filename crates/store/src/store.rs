//! The handle to a store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::key::check_key;
use crate::lease::check_ttl;
use crate::limits::RANGE_ROWS_MAX;
use crate::{Engine, KeyRange, KeyValue, LeaseId, Range, Revision, StoreError, Txn, TxnError, Watch};

/// A handle to a store; clones are cheap and mean the same store.
#[derive(Clone)]
pub struct Store {
    engine: Arc<dyn Engine>,
}

impl Store {
    /// A handle to `engine`.
    pub fn new(engine: impl Engine) -> Self {
        Self { engine: Arc::new(engine) }
    }

    /// The key, or nothing.
    pub async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        check_key(key)?;
        self.engine.get(key).await
    }

    /// Up to `limit` keys of `range` in order, all read at one revision. `limit` 0 means as many as one page may hold
    /// ([`crate::limits::RANGE_ROWS_MAX`]). The next page: `KeyRange::prefix(prefix).after(last_key)`.
    pub async fn range(&self, range: impl Into<KeyRange>, limit: usize) -> Result<Range, StoreError> {
        let limit = if limit == 0 { RANGE_ROWS_MAX } else { limit.min(RANGE_ROWS_MAX) };
        self.engine.range(range.into(), limit).await
    }

    /// Calls `each` with every key of `range` in order, all read at one revision, in bounded memory. Returns that
    /// revision: watching from the next one misses nothing.
    pub async fn scan(
        &self,
        range: impl Into<KeyRange>,
        mut each: impl FnMut(KeyValue) + Send,
    ) -> Result<Revision, StoreError> {
        self.engine.scan(range.into(), &mut each).await
    }

    /// Does the transaction: durable when this returns with its revision.
    ///
    /// # Errors
    /// [`TxnError::Conflict`] when a compare does not hold; nothing was changed then.
    pub async fn txn(&self, txn: Txn) -> Result<Revision, TxnError> {
        txn.check()?;
        self.engine.txn(txn).await
    }

    /// The last durable revision; 0 in an empty store.
    pub fn revision(&self) -> Revision {
        self.engine.revision()
    }

    /// The changes of keys in `range`, from transaction `from` on (included). `store.revision() + 1` means "from now".
    pub fn watch(&self, range: impl Into<KeyRange>, from: Revision) -> Watch {
        self.engine.watch(range.into(), from)
    }

    /// A new lease of `ttl` (whole seconds).
    pub async fn lease_grant(&self, ttl: Duration) -> Result<LeaseId, StoreError> {
        check_ttl(ttl)?;
        self.engine.lease_grant(ttl).await
    }

    /// Gives the lease its full time again, and says how long that is.
    pub async fn lease_keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError> {
        self.engine.lease_keep_alive(lease).await
    }

    /// Ends the lease and deletes its keys in one transaction.
    pub async fn lease_revoke(&self, lease: LeaseId) -> Result<Revision, StoreError> {
        self.engine.lease_revoke(lease).await
    }

    /// Ends every lease whose time has passed at `now`. Engines do this by themselves; for tests and simulations.
    pub async fn lease_expire(&self, now: Instant) -> Result<usize, StoreError> {
        self.engine.lease_expire(now).await
    }

    /// Finishes what is queued and lets go of the file.
    pub async fn close(&self) {
        self.engine.close().await;
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("revision", &self.revision()).finish_non_exhaustive()
    }
}
