//! Following changes.

use async_trait::async_trait;

use crate::{Batch, WatchError};

/// Where a [`Watch`] gets its batches from; one implementation per kind of engine.
#[async_trait]
pub trait WatchSource: Send {
    /// The next transaction, or an empty batch that says "nothing for you up to this revision". Cancel safe: nothing
    /// is lost when the future is dropped.
    async fn next(&mut self) -> Result<Batch, WatchError>;
}

/// The changes of some keys, one transaction at a time, in order.
pub struct Watch {
    source: Box<dyn WatchSource>,
}

impl Watch {
    /// A watch over `source`.
    pub fn new(source: impl WatchSource + 'static) -> Self {
        Self { source: Box::new(source) }
    }

    /// The next transaction that changed a watched key. Waits for it. Cancel safe.
    ///
    /// # Errors
    /// [`WatchError::Compacted`] when events were dropped before they were read: load again.
    pub async fn next(&mut self) -> Result<Batch, WatchError> {
        loop {
            let batch = self.source.next().await?;
            if !batch.events.is_empty() {
                return Ok(batch);
            }
        }
    }

    /// Like [`Watch::next`], but transactions that changed nothing watched also end the wait, as an empty batch: the
    /// caller learns how far it has seen. Several may be told of as one.
    pub async fn next_or_progress(&mut self) -> Result<Batch, WatchError> {
        self.source.next().await
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}
