//! Makes layers present: each is downloaded and unpacked once, however many pulls want it.

use std::{os::unix::fs::PermissionsExt, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{
    PullProgress,
    failure::Failure,
    manifest::Descriptor,
    registry::Session,
    store::Store,
    unpack::{self, Limits},
};
use crate::locks::KeyedLocks;

pub(super) struct Layers {
    store: Store,
    limits: Limits,
    /// Layers being downloaded or unpacked.
    slots: Semaphore,
    /// One lock per layer in work.
    locks: KeyedLocks,
    /// Layers whose data may not be on the disk yet.
    unsynced: Arc<Mutex<Unsynced>>,
}

#[derive(Default)]
struct Unsynced {
    diff_ids: Vec<String>,
    running: bool,
}

impl Layers {
    pub(super) fn new(store: Store, limits: Limits, concurrency: usize) -> Self {
        Self {
            store,
            limits,
            slots: Semaphore::new(concurrency.max(1)),
            locks: KeyedLocks::default(),
            unsynced: Arc::default(),
        }
    }

    /// Returns when the layer is unpacked. The caller has pinned it.
    pub(super) async fn ensure(
        &self,
        session: &Session<'_>,
        descriptor: &Descriptor,
        diff_id: &str,
        progress: &dyn PullProgress,
    ) -> Result<(), Failure> {
        let _lock = self.locks.lock(diff_id).await;
        if self.store.has_layer(diff_id) {
            return Ok(());
        }
        let _slot = self.slots.acquire().await.map_err(|_| stopped())?;
        self.download(session, descriptor, progress).await?;
        self.unpack(descriptor, diff_id).await?;
        self.sync_later(diff_id);
        Ok(())
    }

    async fn download(
        &self,
        session: &Session<'_>,
        descriptor: &Descriptor,
        progress: &dyn PullProgress,
    ) -> Result<(), Failure> {
        let path = self.store.download(&descriptor.digest);
        if path.exists() {
            progress.blob(&descriptor.digest, descriptor.size, descriptor.size);
            return Ok(());
        }
        let scratch = Scratch(self.store.scratch_file());
        session.blob(descriptor, &scratch.0, progress).await?;
        std::fs::rename(&scratch.0, path).map_err(|error| Failure::io("rename a blob", error))
    }

    async fn unpack(&self, descriptor: &Descriptor, diff_id: &str) -> Result<(), Failure> {
        let (store, limits) = (self.store.clone(), self.limits);
        let (digest, diff_id) = (descriptor.digest.clone(), diff_id.to_owned());
        // Goes on when the caller gives up: then the layer is there for the next one.
        let work = tokio::task::spawn_blocking(move || unpack_layer(&store, &digest, &diff_id, limits));
        work.await.map_err(|_| stopped())?
    }

    /// Sees to it that the layer survives a power failure, without anybody waiting for it.
    fn sync_later(&self, diff_id: &str) {
        let mut unsynced = self.unsynced.lock();
        unsynced.diff_ids.push(diff_id.to_owned());
        if unsynced.running {
            return;
        }
        unsynced.running = true;
        let (store, unsynced) = (self.store.clone(), self.unsynced.clone());
        tokio::task::spawn_blocking(move || {
            loop {
                let mut guard = unsynced.lock();
                let diff_ids = std::mem::take(&mut guard.diff_ids);
                guard.running = !diff_ids.is_empty();
                drop(guard);
                if diff_ids.is_empty() {
                    return;
                }
                if let Err(error) = store.sync(&diff_ids) {
                    tracing::warn!(%error, "cannot write layers back; they are pulled again after a power failure");
                }
            }
        });
    }
}

fn unpack_layer(store: &Store, digest: &str, diff_id: &str, limits: Limits) -> Result<(), Failure> {
    let failed = |error| Failure::io("create a directory", error);
    let (blob, scratch) = (store.download(digest), store.scratch()?);
    let (root, replaced) = (scratch.join("fs"), scratch.join("replaced"));
    let unpacked = (|| {
        std::fs::create_dir(&root).map_err(failed)?;
        std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
        std::fs::create_dir(&replaced).map_err(failed)?;
        let layer = unpack::unpack(&blob, &root, &replaced, diff_id, limits)?;
        store.trash.discard(&replaced).map_err(failed)?;
        store.adopt_layer(diff_id, &scratch, &layer)
    })();
    // Needed no longer, whether it was good or not.
    let _ = std::fs::remove_file(&blob);
    if unpacked.is_err() {
        store.trash.discard(&scratch).map_err(failed)?;
    }
    if let Err(error) = store.trash.empty() {
        tracing::warn!(%error, "cannot empty the trash");
    }
    unpacked
}

/// Deletes an unfinished download when a pull is abandoned.
struct Scratch(std::path::PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn stopped() -> Failure {
    Failure::io("unpack a layer", std::io::Error::other("shutting down"))
}
