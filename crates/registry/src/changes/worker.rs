//! The worker that hands changes to their handlers.
//!
//! Every repository with changes has a *lane*: a task that works through its rows and ends when there are none. The
//! store's watch wakes lanes; a scan at the start finds those that a crash left behind. In a lane every handler goes
//! at its own pace: one that fails waits, longer each time, while the others, and the other lanes, go on. A row goes
//! when all have taken it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gantry_store::{Event, StoreError, WatchError};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::lane::{Lane, RETRY, retry_wait};
use super::{ChangeHandler, handlers};
use crate::metadata::{CHANGES_PREFIX, change_lane};
use crate::registry::Registry;

/// Lanes that work at a time.
const LANES_AT_WORK_MAX: usize = 8;
/// How long a lane waits after it was woken: what comes meanwhile is read and deleted together.
const GATHER: Duration = Duration::from_millis(5);
/// The same where rows wait for a handler: they are read again each time.
const GATHER_HELD_UP: Duration = Duration::from_millis(100);
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
    /// The lanes that have a task, by the prefix of their keys.
    active: Mutex<HashMap<String, Arc<Wake>>>,
}

/// Wakes a lane.
#[derive(Default)]
struct Wake {
    /// More came since the lane last looked.
    again: AtomicBool,
    bell: Notify,
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
        match active.get(lane) {
            Some(wake) => {
                wake.again.store(true, Ordering::SeqCst);
                wake.bell.notify_one();
            }
            None => {
                let wake = Arc::new(Wake::default());
                active.insert(lane.to_owned(), Arc::clone(&wake));
                lanes.spawn(Arc::clone(self).run(lane.to_owned(), wake));
            }
        }
    }

    /// A lane's task.
    async fn run(self: Arc<Self>, lane: String, wake: Arc<Wake>) {
        let mut work = Lane::new(&self.registry, &self.handlers, &lane);
        let mut failures = 0;
        tokio::time::sleep(GATHER).await;
        loop {
            wake.again.store(false, Ordering::SeqCst);
            let drained = {
                // The semaphore is never closed.
                let _permit = self.permits.acquire().await;
                work.drain().await
            };
            let until = match drained {
                Ok(until) => {
                    failures = 0;
                    until
                }
                Err(error) => {
                    let wait = retry_wait(failures);
                    failures += 1;
                    tracing::warn!(
                        lane,
                        ?wait,
                        error = &error as &dyn std::error::Error,
                        "image changes cannot be read"
                    );
                    Some(Instant::now() + wait)
                }
            };
            if let Some(until) = until {
                // What comes meanwhile is for the handlers that do not wait.
                if tokio::time::timeout_at(until, wake.bell.notified()).await.is_ok() {
                    tokio::time::sleep(GATHER_HELD_UP).await;
                }
                continue;
            }
            let mut active = self.active.lock();
            if !wake.again.load(Ordering::SeqCst) {
                active.remove(&lane);
                return;
            }
        }
    }
}
