//! Prepared images: for each large layer of an image, the EROFS image that an agent mounts instead of unpacking it.
//!
//! A push leaves a row below `/ecr/prepare/`; [`worker`] makes one image after the other in the background. What it
//! made are blobs of the same repository, and one row that says which layer each of them is.
//!
//! What must hold:
//! * only the worker writes these rows and there is no way in from outside: the row alone binds a prepared blob to its
//!   layer, and agents mount what it names;
//! * the blobs count as used by the *image*, so they stay exactly as long as it does: the row goes in the transaction
//!   that deletes the image, and the collector takes the blobs. It is written only while the image is there;
//! * clients see nothing of it: no tag, no image, no referrer.

pub mod worker;

use async_trait::async_trait;
use bytes::Bytes;
use gantry_layers::prepared::{PreparedImage, PreparedLayer};
use gantry_store::{Txn, TxnError};
use serde::{Deserialize, Serialize};

use crate::attempts::Attempts;
use crate::changes::{ChangeHandler, ChangeKind, ImageChange};
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::metadata::{ATTEMPTS_MAX, LinkRow, RepositoryKeys, encode};
use crate::registry::Registry;

/// A row, and the answer to agents, is no longer than this: a layer with very many undescribed directories is not
/// worth it.
const ROW_BYTES_MAX: usize = 256 << 10;

/// How far the preparation of an image is, for whoever asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PreparationState {
    /// Agents can have it.
    Prepared,
    /// Its turn comes, perhaps after failures.
    Waiting(Attempts),
    /// It was given up: agents pull its layers.
    Failed(Attempts),
    /// There is nothing to prepare: small layers only, or preparation is (or was) turned off.
    None,
}

/// Writes down that an image is to be prepared.
pub(crate) struct Preparation;

#[async_trait]
impl ChangeHandler for Preparation {
    fn name(&self) -> &'static str {
        "preparation"
    }

    async fn handle(&self, registry: &Registry, change: &ImageChange) -> Result<(), RegistryError> {
        let ChangeKind::Pushed { image, new: true, .. } = &change.kind else { return Ok(()) };
        // Lists have no layers of their own, and what is about another image is not run.
        if registry.config.prepare_in.is_none() || image.is_index || image.subject.is_some() {
            return Ok(());
        }
        let key = change.repository.to_prepare(&image.digest);
        match registry.metadata.store.txn(Txn::new().put(key, Bytes::from_static(b"{}"))).await {
            Ok(_) | Err(TxnError::Conflict { .. }) => Ok(()),
            Err(TxnError::Store(error)) => Err(error.into()),
        }
    }
}

impl Registry {
    /// What is prepared of an image; nothing when a blob of it cannot be read.
    pub async fn prepared_image(
        &self,
        keys: &RepositoryKeys,
        image: &Digest,
    ) -> Result<Option<PreparedImage>, RegistryError> {
        let Some(prepared) = self.metadata.get::<PreparedImage>(&keys.prepared(image)).await? else { return Ok(None) };
        for blob in prepared.row.layers.iter().filter_map(blob_of) {
            if self.usable_link(keys, &blob).await?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(prepared.row))
    }

    /// How far the preparation of an image is.
    pub async fn preparation(&self, keys: &RepositoryKeys, image: &Digest) -> Result<PreparationState, RegistryError> {
        if self.prepared_image(keys, image).await?.is_some() {
            return Ok(PreparationState::Prepared);
        }
        if let Some(waiting) = self.metadata.get(&keys.to_prepare(image)).await? {
            return Ok(PreparationState::Waiting(waiting.row));
        }
        let failed = self.metadata.get(&keys.unprepared(image)).await?;
        Ok(failed.map_or(PreparationState::None, |failed| PreparationState::Failed(failed.row)))
    }

    /// Records what was prepared, if the image is still there. Its blobs are linked and durable.
    async fn prepared_record(
        &self,
        keys: &RepositoryKeys,
        image: &Digest,
        prepared: &PreparedImage,
    ) -> Result<(), RegistryError> {
        let row = encode(prepared);
        if row.len() > ROW_BYTES_MAX {
            return Ok(());
        }
        for _ in 0..ATTEMPTS_MAX {
            let mut txn = Txn::new().require_exists(keys.image(image)).put(keys.prepared(image), row.clone());
            txn = txn.delete(keys.unprepared(image));
            for blob in prepared.layers.iter().filter_map(blob_of) {
                let Some(link) = self.usable_link(keys, &blob).await? else { return Ok(()) };
                let key = keys.blob(&blob);
                // As for the layers of a manifest: see `push_image`.
                txn = txn.require(&key, link.revision);
                if !link.row.used {
                    txn = txn.put(&key, encode(&LinkRow { used: true, ..link.row.clone() }));
                }
                txn = txn.put(keys.used_by(&blob, image), Bytes::from_static(b"{}"));
            }
            match self.metadata.store.txn(txn).await {
                Ok(_) => return Ok(()),
                Err(TxnError::Conflict { key }) if key == keys.image(image) => return Ok(()),
                Err(TxnError::Conflict { .. }) => {}
                Err(TxnError::Store(error)) => return Err(error.into()),
            }
        }
        Err(RegistryError::Contention)
    }

    /// Adds to the transaction that deletes an image what was prepared of it.
    pub(crate) async fn forgetting_prepared(
        &self,
        mut txn: Txn,
        keys: &RepositoryKeys,
        image: &Digest,
    ) -> Result<Txn, RegistryError> {
        txn = txn.delete(keys.unprepared(image));
        if let Some(prepared) = self.metadata.get::<PreparedImage>(&keys.prepared(image)).await? {
            for blob in prepared.row.layers.iter().filter_map(blob_of) {
                txn = txn.delete(keys.used_by(&blob, image));
            }
            txn = txn.delete(keys.prepared(image));
        }
        Ok(txn)
    }
}

fn blob_of(layer: &PreparedLayer) -> Option<Digest> {
    layer.blob.parse().ok()
}
