//! A store that lets others run between any two of a request's steps, so that races happen in tests as they would
//! with a store that takes its time. The order follows from the seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use gantry_store::{Memory, MemoryOptions, Op, Store, StoreError, Txn};
use tokio::sync::Notify;

use crate::hooked::{self, Hooks};

pub(crate) struct Interleaved {
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
        let memory = Arc::new(Memory::new(&MemoryOptions::default()));
        hooked::store(memory, Self { random: AtomicU64::new(seed), gate })
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
impl Hooks for Interleaved {
    async fn reading(&self) {
        self.pause().await;
    }

    async fn writing(&self, txn: &Txn) -> Result<(), StoreError> {
        self.pause().await;
        if let Some(gate) = self.gate.as_ref().filter(|gate| gate.holds(txn)) {
            gate.reached.notify_one();
            gate.open.notified().await;
        }
        Ok(())
    }
}
