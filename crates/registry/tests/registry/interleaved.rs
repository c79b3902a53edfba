//! A store that lets others run between any two of a request's steps, so that races happen in tests as they would
//! with a store that takes its time. The order follows from the seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use gantry_store::{
    Engine, KeyRange, KeyValue, LeaseId, Memory, MemoryOptions, Op, Range, Revision, Store, StoreError, Txn, TxnError,
    Watch,
};
use tokio::sync::Notify;

pub(crate) struct Interleaved {
    inner: Memory,
    random: AtomicU64,
    gate: Option<Arc<Gate>>,
}

/// Holds back the first transaction that deletes a key with this prefix, until it is let through.
pub(crate) struct Gate {
    prefix: &'static str,
    used: AtomicBool,
    pub(crate) reached: Notify,
    pub(crate) open: Notify,
}

impl Gate {
    pub(crate) fn before_deleting(prefix: &'static str) -> Arc<Self> {
        Arc::new(Self { prefix, used: AtomicBool::new(false), reached: Notify::new(), open: Notify::new() })
    }

    fn holds(&self, txn: &Txn) -> bool {
        let deletes = |op: &Op| matches!(op, Op::Delete { key } if key.starts_with(self.prefix));
        txn.then.iter().any(deletes) && !self.used.swap(true, Ordering::AcqRel)
    }
}

impl Interleaved {
    pub(crate) fn store(seed: u64) -> Store {
        Self::build(seed, None)
    }

    pub(crate) fn with_gate(gate: Arc<Gate>) -> Store {
        Self::build(0, Some(gate))
    }

    fn build(seed: u64, gate: Option<Arc<Gate>>) -> Store {
        Store::new(Self { inner: Memory::new(&MemoryOptions::default()), random: AtomicU64::new(seed), gate })
    }

    async fn pause(&self) {
        let next = |random: u64| Some(random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        let random = self.random.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or_default();
        for _ in 0..(random >> 33) % 4 {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl Engine for Interleaved {
    async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        self.pause().await;
        self.inner.get(key).await
    }

    async fn range(&self, range: KeyRange, limit: usize) -> Result<Range, StoreError> {
        self.pause().await;
        self.inner.range(range, limit).await
    }

    async fn scan(&self, range: KeyRange, each: &mut (dyn FnMut(KeyValue) + Send)) -> Result<Revision, StoreError> {
        self.inner.scan(range, each).await
    }

    async fn txn(&self, txn: Txn) -> Result<Revision, TxnError> {
        self.pause().await;
        if let Some(gate) = self.gate.as_ref().filter(|gate| gate.holds(&txn)) {
            gate.reached.notify_one();
            gate.open.notified().await;
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
