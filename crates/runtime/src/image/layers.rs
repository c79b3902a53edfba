//! Makes layers present: each is downloaded and unpacked once, however many pulls want it.

use std::{path::Path, sync::Arc};

use gantry_layers::prepared::PreparedLayer;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{
    PullProgress,
    failure::Failure,
    lazy::{self, Starter},
    manifest::Descriptor,
    reference::is_digest,
    registry::{
        Attempt, Session,
        blob::{self, BlobReader},
    },
    store::Store,
    unpack::{self, Form, Layer, Limits},
};
use crate::locks::KeyedLocks;

/// Digests of the chunks of the largest image that is taken, and some.
const TABLE_BYTES_MAX: u64 = 8 << 20;

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
        prepared: Option<&PreparedLayer>,
        progress: &dyn PullProgress,
    ) -> Result<(), Failure> {
        let _lock = self.locks.lock(diff_id).await;
        if self.store.has_layer(diff_id) {
            return Ok(());
        }
        let _slot = self.slots.acquire().await.map_err(|_| stopped())?;
        let form = if self.keeps_as_image(descriptor) { Form::Erofs } else { Form::Directory };
        if let Some(prepared) = prepared.filter(|_| form == Form::Erofs) {
            if self.begin(session, prepared).await? {
                return Ok(());
            }
            match self.receive_prepared(session, prepared, progress).await {
                Ok(()) => {
                    tracing::info!(layer = diff_id, "layer fetched as it was prepared");
                    self.sync_later(diff_id);
                    return Ok(());
                }
                Err(Failure::NoSpace) => return Err(Failure::NoSpace),
                Err(failure) => {
                    tracing::warn!(%failure, layer = diff_id, "a prepared layer cannot be had; pulling the layer itself");
                }
            }
        }
        self.receive(session, descriptor, diff_id, form, progress).await?;
        self.sync_later(diff_id);
        Ok(())
    }

    /// Whether the layer is kept as an EROFS image.
    pub(super) fn keeps_as_image(&self, descriptor: &Descriptor) -> bool {
        self.store.mounts_erofs && descriptor.size >= self.erofs_blob_bytes_min
    }

    /// Mounts the image that the registry made of the layer before it is here. False when it cannot be done.
    async fn begin(&self, session: &Session<'_>, prepared: &PreparedLayer) -> Result<bool, Failure> {
        let Some(lazy) = self.store.lazy.clone() else { return Ok(false) };
        let layers = self.store.path("layers");
        if !lazy.suits(prepared) || !lazy.has_room(&layers) {
            return Ok(false);
        }
        match self.try_begin(session, prepared, lazy).await {
            Ok(()) => {
                tracing::info!(
                    layer = prepared.diff_id,
                    "layer mounted before it is here; what is read is fetched first"
                );
                Ok(true)
            }
            Err(Failure::NoSpace) => Err(Failure::NoSpace),
            Err(failure) => {
                let error = &failure as &dyn std::error::Error;
                tracing::warn!(error, layer = prepared.diff_id, "a layer cannot be started early; fetching all of it");
                Ok(false)
            }
        }
    }

    async fn try_begin(
        &self,
        session: &Session<'_>,
        prepared: &PreparedLayer,
        lazy: Arc<Starter>,
    ) -> Result<(), Failure> {
        self.check(prepared)?;
        let place = prepared.chunks.as_ref().filter(|place| place.size <= TABLE_BYTES_MAX);
        let place = place.ok_or_else(|| Failure::corrupt("the digests of a prepared layer's chunks"))?;
        let end = place.at.saturating_add(place.size);
        let table = session.part(&prepared.blob, place.at..end).await.map_err(Attempt::failure)?;
        let plan = lazy::Plan { reference: session.reference().to_string(), prepared: prepared.clone() };
        let (store, access) = (self.store.clone(), session.access().clone());
        let begun = tokio::task::spawn_blocking(move || {
            keep(&store, &plan.prepared.diff_id, |scratch| {
                unpack::make_root(scratch)?;
                lazy.begin(scratch, &plan, &table, &access)?;
                Ok(plan.prepared.layer.clone())
            })
        });
        begun.await.map_err(|_| stopped())?
    }

    /// What the registry says of a prepared layer is within bounds.
    fn check(&self, prepared: &PreparedLayer) -> Result<(), Failure> {
        if !is_digest(&prepared.blob) || prepared.image_size > self.limits.bytes_max {
            return Err(Failure::corrupt("what the registry says of the prepared layer"));
        }
        Ok(())
    }

    /// Downloads the image that the registry made of the layer.
    async fn receive_prepared(
        &self,
        session: &Session<'_>,
        prepared: &PreparedLayer,
        progress: &dyn PullProgress,
    ) -> Result<(), Failure> {
        self.check(prepared)?;
        let descriptor = Descriptor {
            media_type: String::new(),
            digest: prepared.blob.clone(),
            size: prepared.size,
            platform: None,
        };
        let (store, prepared) = (self.store.clone(), prepared.clone());
        self.stream(session, &descriptor, progress, move |blob| {
            keep(&store, &prepared.diff_id, |scratch| {
                unpack::unpack_prepared(blob, scratch, prepared.image_size)?;
                Ok(prepared.layer.clone())
            })
        })
        .await
    }

    /// Downloads and unpacks at the same time.
    async fn receive(
        &self,
        session: &Session<'_>,
        descriptor: &Descriptor,
        diff_id: &str,
        form: Form,
        progress: &dyn PullProgress,
    ) -> Result<(), Failure> {
        let (store, limits, diff_id) = (self.store.clone(), self.limits, diff_id.to_owned());
        self.stream(session, descriptor, progress, move |blob| {
            keep(&store, &diff_id, |scratch| unpack::unpack(blob, scratch, form, &diff_id, limits))
        })
        .await
    }

    /// Runs `work` on a blob while it is downloaded.
    async fn stream(
        &self,
        session: &Session<'_>,
        descriptor: &Descriptor,
        progress: &dyn PullProgress,
        work: impl FnOnce(BlobReader) -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), Failure> {
        let (sender, reader) = blob::pipe();
        let work = tokio::task::spawn_blocking(move || work(reader));
        // Waits for both, so that nothing is left half-done when this returns. What was wrong with the transfer
        // explains what was wrong with the content.
        let downloaded = session.blob(descriptor, sender, progress).await;
        let worked = work.await.map_err(|_| stopped())?;
        downloaded.and(worked)
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

/// Lets `unpack` fill a directory and makes it the layer `diff_id`, or leaves nothing.
fn keep(store: &Store, diff_id: &str, unpack: impl FnOnce(&Path) -> Result<Layer, Failure>) -> Result<(), Failure> {
    let failed = |error| Failure::io("remove a directory", error);
    let scratch = store.scratch()?;
    let unpacked = unpack(&scratch).and_then(|layer| {
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
