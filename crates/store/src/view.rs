//! A typed picture of part of the store in memory, kept current by a watch.
//!
//! Reads cost a lock and no I/O. Whoever wrote waits with [`View::wait_for`] until the view has seen the write. A view
//! that fell too far behind loads itself again; readers keep the old picture until the new one is complete.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{RwLock, RwLockReadGuard};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{Batch, Event, KeyRange, Revision, Store, StoreError, Watch, WatchError};

/// How long a view waits before it tries again to read a store that failed.
const RETRY: Duration = Duration::from_millis(200);

/// What a view keeps. Built from nothing by applying a `Put` for every existing key, then every change in order.
pub trait Model: Default + Send + Sync + 'static {
    /// Takes in one change. Must not block.
    fn apply(&mut self, event: &Event);
}

/// A current picture of some keys; clones share it. It stops following when the last clone goes.
pub struct View<M> {
    shared: Arc<Shared<M>>,
    seen: watch::Receiver<Revision>,
    follower: Arc<Follower>,
}

struct Shared<M> {
    picture: RwLock<Picture<M>>,
}

struct Picture<M> {
    model: M,
    revision: Revision,
}

impl<M: Model> View<M> {
    /// Loads the keys of `range` and follows them from then on.
    pub async fn start(store: &Store, range: impl Into<KeyRange>) -> Result<Self, StoreError> {
        let range = range.into();
        let picture = load(store, &range).await?;
        let revision = picture.revision;
        let shared = Arc::new(Shared { picture: RwLock::new(picture) });
        let (sender, seen) = watch::channel(revision);
        let task = tokio::spawn(follow(store.clone(), range, shared.clone(), sender));
        Ok(Self { shared, seen, follower: Arc::new(Follower(task)) })
    }

    /// The picture as it is now. Do not keep the guard: the view cannot change while it is held.
    pub fn read(&self) -> ViewGuard<'_, M> {
        ViewGuard(self.shared.picture.read())
    }

    /// Waits until the view has seen the transaction `revision`, so that a caller reads what it wrote.
    ///
    /// # Errors
    /// [`StoreError::Closed`] when the store was closed meanwhile.
    pub async fn wait_for(&self, revision: Revision) -> Result<(), StoreError> {
        let mut seen = self.seen.clone();
        seen.wait_for(|seen| *seen >= revision).await.map(|_| ()).map_err(|_| StoreError::Closed)
    }

    /// The last transaction the view has seen; a receiver that wakes whenever that changes.
    pub fn subscribe(&self) -> watch::Receiver<Revision> {
        self.seen.clone()
    }
}

impl<M> Clone for View<M> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), seen: self.seen.clone(), follower: self.follower.clone() }
    }
}

impl<M> std::fmt::Debug for View<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("seen", &*self.seen.borrow()).finish_non_exhaustive()
    }
}

/// A look at a view's picture.
pub struct ViewGuard<'a, M>(RwLockReadGuard<'a, Picture<M>>);

impl<M> ViewGuard<'_, M> {
    /// Everything up to this transaction is in the picture.
    pub fn revision(&self) -> Revision {
        self.0.revision
    }
}

impl<M> Deref for ViewGuard<'_, M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.0.model
    }
}

/// Ends the following task with the last handle to the view.
struct Follower(JoinHandle<()>);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn load<M: Model>(store: &Store, range: &KeyRange) -> Result<Picture<M>, StoreError> {
    let mut model = M::default();
    let revision = store.scan(range.clone(), |kv| model.apply(&Event::Put(kv))).await?;
    Ok(Picture { model, revision })
}

async fn follow<M: Model>(store: Store, range: KeyRange, shared: Arc<Shared<M>>, seen: watch::Sender<Revision>) {
    loop {
        let mut watch = store.watch(range.clone(), *seen.borrow() + 1);
        match follow_until_error(&mut watch, &shared, &seen).await {
            WatchError::Store(StoreError::Closed) => return,
            WatchError::Compacted { oldest } => tracing::info!(oldest, ?range, "view fell behind and loads again"),
            WatchError::Store(error) => {
                tracing::warn!(%error, ?range, "view cannot follow the store");
                tokio::time::sleep(RETRY).await;
                continue;
            }
        }
        reload(&store, &range, &shared, &seen).await;
    }
}

async fn follow_until_error<M: Model>(
    watch: &mut Watch,
    shared: &Shared<M>,
    seen: &watch::Sender<Revision>,
) -> WatchError {
    loop {
        match watch.next_or_progress().await {
            Ok(batch) => {
                shared.take_in(&batch);
                seen.send_replace(batch.revision);
            }
            Err(error) => return error,
        }
    }
}

async fn reload<M: Model>(store: &Store, range: &KeyRange, shared: &Shared<M>, seen: &watch::Sender<Revision>) {
    match load(store, range).await {
        Ok(picture) => {
            let revision = picture.revision;
            *shared.picture.write() = picture;
            seen.send_replace(revision);
        }
        Err(error) => {
            tracing::warn!(%error, ?range, "view cannot load");
            tokio::time::sleep(RETRY).await;
        }
    }
}

impl<M: Model> Shared<M> {
    fn take_in(&self, batch: &Batch) {
        let mut picture = self.picture.write();
        for event in &batch.events {
            picture.model.apply(event);
        }
        picture.revision = batch.revision;
    }
}
