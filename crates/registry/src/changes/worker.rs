//! The worker that hands changes to their handlers.
//!
//! Every repository with changes has a *lane*: a task that works through its rows and ends when there are none. The
//! store's watch wakes lanes; a scan at the start finds those that a crash left behind. A lane whose handler fails
//! waits, longer each time, while the others go on.
//!
//! Rows are ordered by the revision of their transaction, which no key can carry: it is not known while the
//! transaction is planned. Keys carry the revision at which it was planned, which is smaller. So of a page of keys,
//! what was committed before the last of them was planned comes before everything that is not in the page; see
//! [`in_order`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gantry_store::{Event, KeyValue, StoreError, Txn, TxnError, WatchError};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{ChangeHandler, ImageChange, decode, handlers};
use crate::fault::RegistryError;
use crate::metadata::{CHANGES_PREFIX, change_lane, planned_at};
use crate::registry::Registry;

/// Rows a lane reads, hands on and deletes at a time.
const PAGE: usize = 64;
/// Lanes that work at a time.
const LANES_AT_WORK_MAX: usize = 8;
/// How long a lane waits after it was woken: what comes meanwhile is read and deleted together.
const GATHER: Duration = Duration::from_millis(5);
/// How long one handler may take for one change.
const HANDLER_TIME_MAX: Duration = Duration::from_secs(60);
/// The first and the longest wait after a failure.
const RETRY: std::ops::RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_secs(300);
/// How long a change is offered to a handler that refuses it. Then an operator must look: it is logged and dropped.
const OFFERED_MS_MAX: i64 = 24 * 60 * 60 * 1000;
/// Changes that may wait in one repository behind a failing handler; the oldest is dropped for the next.
const WAITING_MAX: usize = 10_000;

impl Registry {
    /// Hands changes to their handlers until the future is dropped. Spawned once beside the server.
    pub async fn deliver_changes(self: Arc<Self>) {
        self.deliver_changes_to(handlers()).await;
    }

    /// The same with handlers of the caller's choice.
    pub async fn deliver_changes_to(self: Arc<Self>, handlers: Vec<Box<dyn ChangeHandler>>) {
        let shared = Arc::new(Shared {
            registry: self,
            handlers,
            permits: Semaphore::new(LANES_AT_WORK_MAX),
            active: Mutex::default(),
        });
        let mut lanes = JoinSet::new();
        loop {
            match follow(&shared, &mut lanes).await {
                WatchError::Store(StoreError::Closed) => return,
                // More happened than the store remembers: look at everything again.
                WatchError::Compacted { .. } => {}
                WatchError::Store(error) => {
                    tracing::warn!(%error, "image changes cannot be read");
                    tokio::time::sleep(*RETRY.start()).await;
                }
            }
        }
    }
}

struct Shared {
    registry: Arc<Registry>,
    handlers: Vec<Box<dyn ChangeHandler>>,
    permits: Semaphore,
    /// The lanes that have a task, by the prefix of their keys; true when more came since it last looked.
    active: Mutex<HashMap<String, bool>>,
}

/// Wakes the lanes of all rows there are and of all that come.
async fn follow(shared: &Arc<Shared>, lanes: &mut JoinSet<()>) -> WatchError {
    let store = &shared.registry.metadata.store;
    let mut waiting = std::collections::BTreeSet::<String>::new();
    let seen = store.scan(CHANGES_PREFIX, |kv| {
        if let Some(lane) = change_lane(&kv.key).filter(|lane| !waiting.contains(*lane)) {
            waiting.insert(lane.to_owned());
        }
    });
    let from = match seen.await {
        Ok(revision) => revision + 1,
        Err(error) => return WatchError::Store(error),
    };
    for lane in waiting {
        shared.wake(&lane, lanes);
    }
    let mut watch = store.watch(CHANGES_PREFIX, from);
    loop {
        tokio::select! {
            batch = watch.next() => match batch {
                Ok(batch) => {
                    for event in &batch.events {
                        if let (Event::Put(kv), Some(lane)) = (event, change_lane(event.key())) {
                            debug_assert!(kv.version == 1, "changes are written once");
                            shared.wake(lane, lanes);
                        }
                    }
                }
                Err(error) => return error,
            },
            Some(_ended) = lanes.join_next() => {}
        }
    }
}

impl Shared {
    fn wake(self: &Arc<Self>, lane: &str, lanes: &mut JoinSet<()>) {
        let mut active = self.active.lock();
        match active.get_mut(lane) {
            Some(again) => *again = true,
            None => {
                active.insert(lane.to_owned(), false);
                lanes.spawn(Arc::clone(self).run(lane.to_owned()));
            }
        }
    }

    /// A lane's task.
    async fn run(self: Arc<Self>, lane: String) {
        let mut retry = Retry::default();
        tokio::time::sleep(GATHER).await;
        loop {
            let emptied = {
                // The semaphore is never closed.
                let _permit = self.permits.acquire().await;
                self.drain(&lane, &mut retry).await
            };
            if let Err(error) = emptied {
                let wait = retry.wait();
                tracing::warn!(
                    lane,
                    ?wait,
                    error = &error as &dyn std::error::Error,
                    "an image change could not be handled"
                );
                tokio::time::sleep(wait).await;
                continue;
            }
            let mut active = self.active.lock();
            match active.get_mut(&lane) {
                Some(again) if *again => *again = false,
                _ => {
                    active.remove(&lane);
                    return;
                }
            }
        }
    }

    /// Hands on the rows of a lane until there are none or one fails.
    async fn drain(&self, lane: &str, retry: &mut Retry) -> Result<(), RegistryError> {
        let store = &self.registry.metadata.store;
        let mut page_size = PAGE;
        loop {
            let page = store.range(lane, page_size).await?;
            if page.kvs.is_empty() {
                return Ok(());
            }
            let rows = in_order(page.kvs, page.more);
            if rows.is_empty() {
                // More transactions than a page holds were planned at one revision.
                page_size *= 2;
                continue;
            }
            page_size = PAGE;
            let mut done = Txn::new();
            let mut failed = None;
            for row in &rows {
                match self.hand_on(lane, row, retry).await {
                    Ok(()) => done = done.delete(&*row.key),
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            match store.txn(done).await {
                Ok(_) | Err(TxnError::Conflict { .. }) => {}
                Err(TxnError::Store(error)) => return Err(error.into()),
            }
            if let Some(error) = failed {
                return Err(error);
            }
            retry.reset();
        }
    }

    /// Tells every handler of one row that has not taken it yet.
    async fn hand_on(&self, lane: &str, row: &KeyValue, retry: &mut Retry) -> Result<(), RegistryError> {
        let Some(change) = decode(row) else {
            tracing::error!(key = %row.key, "an image change cannot be read and is dropped");
            return Ok(());
        };
        let taken = retry.taken(&change);
        for handler in self.handlers.iter().skip(taken) {
            match tell(handler.as_ref(), &self.registry, &change).await {
                Err(error) if !self.is_to_be_dropped(lane, &change).await? => return Err(error),
                Err(error) => {
                    metrics::counter!("gantry_registry_changes_dropped_total", "handler" => handler.name())
                        .increment(1);
                    tracing::error!(
                        lane,
                        change = change.id,
                        handler = handler.name(),
                        error = &error as &dyn std::error::Error,
                        "an image change was refused for too long and is dropped"
                    );
                }
                Ok(()) => {}
            }
            retry.took(&change);
        }
        Ok(())
    }

    /// Whether a change that was refused is not offered again.
    async fn is_to_be_dropped(&self, lane: &str, change: &ImageChange) -> Result<bool, RegistryError> {
        if self.registry.now().as_millis().saturating_sub(change.at_ms) > OFFERED_MS_MAX {
            return Ok(true);
        }
        let waiting = self.registry.metadata.store.range(lane, WAITING_MAX).await?;
        Ok(waiting.more)
    }
}

async fn tell(handler: &dyn ChangeHandler, registry: &Registry, change: &ImageChange) -> Result<(), RegistryError> {
    match tokio::time::timeout(HANDLER_TIME_MAX, handler.handle(registry, change)).await {
        Ok(told) => told,
        Err(_) => Err(RegistryError::LimitExceeded(format!(
            "the handler '{}' took longer than {HANDLER_TIME_MAX:?}",
            handler.name()
        ))),
    }
}

/// Of the rows of a page, those that come before every row that is not in it, in the order of their transactions.
fn in_order(mut page: Vec<KeyValue>, more: bool) -> Vec<KeyValue> {
    if more {
        let last = page.last().and_then(|last| planned_at(&last.key)).unwrap_or_default();
        page.retain(|row| row.create_revision <= last);
    }
    page.sort_by_key(|row| row.create_revision);
    page
}

/// What a lane remembers between attempts.
#[derive(Debug, Default)]
struct Retry {
    failures: u32,
    /// The change at hand, and how many handlers have taken it.
    at: Option<(String, usize)>,
}

impl Retry {
    fn wait(&mut self) -> Duration {
        let wait = RETRY.start().saturating_mul(1 << self.failures.min(16)).min(*RETRY.end());
        self.failures += 1;
        wait
    }

    fn reset(&mut self) {
        *self = Self::default();
    }

    fn taken(&self, change: &ImageChange) -> usize {
        self.at.as_ref().map_or(0, |(id, taken)| if *id == change.id { *taken } else { 0 })
    }

    fn took(&mut self, change: &ImageChange) {
        let taken = self.taken(change) + 1;
        self.at = Some((change.id.clone(), taken));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(planned: u64, committed: u64) -> KeyValue {
        KeyValue {
            key: format!("{CHANGES_PREFIX}0/r/app:{planned:016x}{committed:016x}").into(),
            value: bytes::Bytes::new(),
            create_revision: committed,
            mod_revision: committed,
            version: 1,
            lease: None,
        }
    }

    fn order(rows: &[(u64, u64)], more: bool) -> Vec<u64> {
        in_order(rows.iter().map(|(p, c)| row(*p, *c)).collect(), more).iter().map(|row| row.create_revision).collect()
    }

    #[test]
    fn rows_come_in_the_order_of_their_transactions() {
        assert_eq!(order(&[(1, 9), (2, 3), (4, 5)], false), [3, 5, 9]);
    }

    #[test]
    fn a_row_that_something_outside_the_page_may_precede_waits() {
        // What follows was planned at 4 or later, so committed at 5 or later: 9 may come after it.
        assert_eq!(order(&[(1, 9), (2, 3), (4, 5)], true), [3]);
        assert_eq!(order(&[(1, 5), (1, 6), (1, 7)], true), Vec::<u64>::new());
    }

    #[test]
    fn waits_grow_to_a_bound() {
        let mut retry = Retry::default();
        let waits: Vec<Duration> = (0..40).map(|_| retry.wait()).collect();
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!((waits[0], waits[39]), (*RETRY.start(), *RETRY.end()));
    }
}
