//! A store that takes so many writes and then none: what a process that dies leaves behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use gantry_store::{
    Engine, KeyRange, KeyValue, LeaseId, Memory, Range, Revision, Store, StoreError, Txn, TxnError, Watch,
};
use tokio::sync::Notify;

/// The store.
pub(crate) struct Dying {
    inner: Arc<Memory>,
    writes_left: AtomicUsize,
    dead: Arc<Notify>,
}

impl Dying {
    /// `inner`, until `writes` more have been taken; and who hears of the first that is not.
    pub(crate) fn store(inner: &Arc<Memory>, writes: usize) -> (Store, Arc<Notify>) {
        let dead = Arc::new(Notify::new());
        let dying = Self { inner: Arc::clone(inner), writes_left: writes.into(), dead: Arc::clone(&dead) };
        (Store::new(dying), dead)
    }
}

#[async_trait]
impl Engine for Dying {
    async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        self.inner.get(key).await
    }

    async fn range(&self, range: KeyRange, limit: usize) -> Result<Range, StoreError> {
        self.inner.range(range, limit).await
    }

    async fn scan(&self, range: KeyRange, each: &mut (dyn FnMut(KeyValue) + Send)) -> Result<Revision, StoreError> {
        self.inner.scan(range, each).await
    }

    async fn txn(&self, txn: Txn) -> Result<Revision, TxnError> {
        let taken = self.writes_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if taken.is_err() {
            self.dead.notify_one();
            return Err(StoreError::Disk { reason: "dead".to_owned() }.into());
        }
        self.inner.txn(txn).await
    }

    fn revision(&self) -> Revision {
        self.inner.revision()
    }

    fn watch(&self, range: KeyRange, from: Revision) -> Watch {
        self.inner.watch(range, from)
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<LeaseId, StoreError> {
        self.inner.lease_grant(ttl).await
    }

    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError> {
        self.inner.lease_keep_alive(lease).await
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<Revision, StoreError> {
        self.inner.lease_revoke(lease).await
    }

    async fn lease_expire(&self, now: Instant) -> Result<usize, StoreError> {
        self.inner.lease_expire(now).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
