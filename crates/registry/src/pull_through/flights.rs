//! Single flight: of many who want the same thing at the same time, one gets it and all have it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

/// Work under way, by what it is for.
pub(crate) struct Flights<T> {
    under_way: Arc<Mutex<HashMap<String, watch::Receiver<Option<T>>>>>,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self { under_way: Arc::default() }
    }
}

/// The work ended without a result: it panicked, or the program is ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost;

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    /// Joins the work for `key`, or begins it. It is a task of its own: it ends even when nobody waits any more.
    pub(crate) async fn join<F>(&self, key: String, begin: impl FnOnce() -> F) -> Result<T, Lost>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut waiting = {
            let mut under_way = self.under_way.lock();
            match under_way.get(&key) {
                Some(waiting) => waiting.clone(),
                None => {
                    let (done, waiting) = watch::channel(None);
                    under_way.insert(key.clone(), waiting.clone());
                    let landing = Landing { key, under_way: Arc::clone(&self.under_way) };
                    let work = begin();
                    tokio::spawn(async move {
                        let result = work.await;
                        // Removed before it is told, so that who asks afterwards begins anew.
                        drop(landing);
                        done.send_replace(Some(result));
                    });
                    waiting
                }
            }
        };
        let result = waiting.wait_for(Option::is_some).await;
        result.ok().and_then(|result| result.clone()).ok_or(Lost)
    }
}

/// Takes the key away when the work ends, however it ends.
struct Landing<T> {
    key: String,
    under_way: Arc<Mutex<HashMap<String, watch::Receiver<Option<T>>>>>,
}

impl<T> Drop for Landing<T> {
    fn drop(&mut self) {
        self.under_way.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn many_who_want_the_same_begin_it_once() {
        let (flights, begun, open) = (Flights::default(), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let work = || {
            let (begun, open) = (Arc::clone(&begun), Arc::clone(&open));
            async move {
                let number = begun.fetch_add(1, Ordering::SeqCst);
                open.notified().await;
                number
            }
        };
        let all = join_all((0..100).map(|_| flights.join("x".to_owned(), work)));
        let (results, ()) = tokio::join!(all, async {
            while begun.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
            open.notify_one();
        });
        assert_eq!(results, vec![Ok(0); 100]);
        open.notify_one();
        assert_eq!(flights.join("x".to_owned(), work).await, Ok(1));
    }

    #[tokio::test]
    async fn work_that_panics_is_lost_and_can_be_begun_again() {
        let flights = Flights::<u8>::default();
        let lost = flights.join("x".to_owned(), || async { panic!("on purpose") }).await;
        assert_eq!(lost, Err(Lost));
        assert_eq!(flights.join("x".to_owned(), || async { 7 }).await, Ok(7));
    }
}
