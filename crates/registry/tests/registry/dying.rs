//! A store that takes so many writes and then none: what a process that dies leaves behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use gantry_store::{Memory, Store, StoreError, Txn};
use tokio::sync::Notify;

use crate::hooked::{self, Hooks};

/// The store.
pub(crate) struct Dying {
    writes_left: AtomicUsize,
    dead: Arc<Notify>,
}

impl Dying {
    /// `inner`, until `writes` more have been taken; and who hears of the first that is not.
    pub(crate) fn store(inner: &Arc<Memory>, writes: usize) -> (Store, Arc<Notify>) {
        let dead = Arc::new(Notify::new());
        let dying = Self { writes_left: writes.into(), dead: Arc::clone(&dead) };
        (hooked::store(Arc::clone(inner), dying), dead)
    }
}

#[async_trait]
impl Hooks for Dying {
    async fn writing(&self, _: &Txn) -> Result<(), StoreError> {
        let taken = self.writes_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if taken.is_err() {
            self.dead.notify_one();
            return Err(StoreError::Disk { reason: "dead".to_owned() });
        }
        Ok(())
    }
}
