//! Makes layers present: each is downloaded and unpacked once, however many pulls want it.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{
    PullProgress,
    failure::Failure,
    manifest::Descriptor,
    registry::{
        Session,
        blob::{self, BlobReader},
    },
    store::Store,
    unpack::{self, Form, Limits},
};
use crate::locks::KeyedLocks;

pub(super) struct Layers {
    store: Store,
    limits: Limits,
    /// Smaller blobs are unpacked into directories.
    erofs_blob_bytes_min: u64,
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
    pub(super) fn new(store: Store, limits: Limits, erofs_blob_bytes_min: u64, concurrency: usize) -> Self {
        Self {
            store,
            limits,
            erofs_blob_bytes_min,
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
        self.receive(session, descriptor, diff_id, progress).await?;
        self.sync_later(diff_id);
        Ok(())
    }

    /// Downloads and unpacks at the same time.
    async fn receive(
        &self,
        session: &Session<'_>,
        descriptor: &Descriptor,
        diff_id: &str,
        progress: &dyn PullProgress,
    ) -> Result<(), Failure> {
        let small = descriptor.size < self.erofs_blob_bytes_min;
        let form = if self.store.mounts_erofs && !small { Form::Erofs } else { Form::Directory };
        let (store, limits, diff_id) = (self.store.clone(), self.limits, diff_id.to_owned());
        let (sender, reader) = blob::pipe();
        let work = tokio::task::spawn_blocking(move || unpack_layer(&store, reader, form, &diff_id, limits));
        // Waits for both, so that nothing is left half-done when this returns. What was wrong with the transfer
        // explains what was wrong with the content.
        let downloaded = session.blob(descriptor, sender, progress).await;
        let unpacked = work.await.map_err(|_| stopped())?;
        downloaded.and(unpacked)
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

fn unpack_layer(store: &Store, blob: BlobReader, form: Form, diff_id: &str, limits: Limits) -> Result<(), Failure> {
    let failed = |error| Failure::io("remove a directory", error);
    let scratch = store.scratch()?;
    let unpacked = unpack::unpack(blob, &scratch, form, diff_id, limits).and_then(|layer| {
        store.trash.discard(&scratch.join("replaced")).map_err(failed)?;
        store.adopt_layer(diff_id, &scratch, &layer)
    });
    if unpacked.is_err() {
        store.trash.discard(&scratch).map_err(failed)?;
    }
    if let Err(error) = store.trash.empty() {
        tracing::warn!(%error, "cannot empty the trash");
    }
    unpacked
}

fn stopped() -> Failure {
    Failure::io("unpack a layer", std::io::Error::other("shutting down"))
}
