//! Work beside the requests that ends with the service it belongs to.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;

/// A task that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Background(JoinHandle<()>);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Background {
    /// Does `work`.
    pub(crate) fn run(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    /// Does `work` now and every `period`, as long as `inner` is there.
    pub(crate) fn every<T, F>(period: Duration, inner: &Arc<T>, work: impl Fn(Arc<T>) -> F + Send + 'static) -> Self
    where
        T: Send + Sync + 'static,
        F: Future<Output = ()> + Send,
    {
        let weak: Weak<T> = Arc::downgrade(inner);
        Self::run(async move {
            while let Some(inner) = weak.upgrade() {
                work(inner).await;
                tokio::time::sleep(period).await;
            }
        })
    }
}
