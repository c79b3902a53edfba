//! A store that takes so many writes and then none, and a process that ends: what one that dies leaves behind.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use gantry_store::{Memory, Store, StoreError, Txn};
use tokio::sync::Notify;

use crate::hooked::{self, Hooks};

/// Runs `life` in a runtime of its own, and returns when nothing that it began is under way any more: neither its tasks
/// nor what they let threads do to files. Tasks that are only aborted leave such threads, which a dead process has not.
pub(crate) async fn process<T, F>(life: impl FnOnce() -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let run = move || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(life());
    tokio::task::spawn_blocking(run).await.unwrap()
}

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
