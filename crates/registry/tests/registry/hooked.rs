//! A store in memory with something done before it reads and before it writes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use gantry_store::{
    Engine, KeyRange, KeyValue, LeaseId, Memory, Range, Revision, Store, StoreError, Txn, TxnError, Watch,
};

/// What is done.
#[async_trait]
pub(crate) trait Hooks: Send + Sync + 'static {
    /// Before keys are read.
    async fn reading(&self) {}

    /// Before a transaction, or in its place when it fails.
    async fn writing(&self, txn: &Txn) -> Result<(), StoreError>;
}

struct Hooked<H> {
    inner: Arc<Memory>,
    hooks: H,
}

/// `inner` with hooks.
pub(crate) fn store(inner: Arc<Memory>, hooks: impl Hooks) -> Store {
    Store::new(Hooked { inner, hooks })
}

#[async_trait]
impl<H: Hooks> Engine for Hooked<H> {
    async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        self.hooks.reading().await;
        self.inner.get(key).await
    }

    async fn range(&self, range: KeyRange, limit: usize) -> Result<Range, StoreError> {
        self.hooks.reading().await;
        self.inner.range(range, limit).await
    }

    async fn scan(&self, range: KeyRange, each: &mut (dyn FnMut(KeyValue) + Send)) -> Result<Revision, StoreError> {
        self.inner.scan(range, each).await
    }

    async fn txn(&self, txn: Txn) -> Result<Revision, TxnError> {
        self.hooks.writing(&txn).await?;
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
