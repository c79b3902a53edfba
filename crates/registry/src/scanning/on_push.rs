//! What a change of a repository's images means for scans: a pushed image may be scanned, a deleted one is forgotten.

use async_trait::async_trait;
use gantry_store::Txn;

use super::is_scannable;
use crate::changes::{ChangeHandler, ChangeKind, ChangedImage, ImageChange};
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::metadata::RepositoryKeys;
use crate::registry::Registry;

pub(crate) struct OnPush;

#[async_trait]
impl ChangeHandler for OnPush {
    fn name(&self) -> &'static str {
        "scan on push"
    }

    async fn handle(&self, registry: &Registry, change: &ImageChange) -> Result<(), RegistryError> {
        match &change.kind {
            ChangeKind::Pushed { image, .. } => pushed(registry, &change.repository, image).await,
            ChangeKind::Deleted { image, gone: true, .. } => deleted(registry, &change.repository, &image.digest).await,
            // What a repository had goes in the transaction that deletes it.
            ChangeKind::Deleted { .. } | ChangeKind::StorageClass { .. } | ChangeKind::RepositoryDeleted => Ok(()),
        }
    }
}

/// An image that was scanned is not scanned again because another tag points at it, nor because this is told twice.
async fn pushed(registry: &Registry, keys: &RepositoryKeys, image: &ChangedImage) -> Result<(), RegistryError> {
    if !is_scannable(image.is_index, image.artifact_type.as_deref()) {
        return Ok(());
    }
    let repository = match registry.metadata.repository(keys).await {
        Ok(repository) => repository,
        Err(RegistryError::RepositoryNotFound { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    let scanning = registry.scanning(keys.scope()).await?;
    if !scanning.scans_on_push(keys.name().as_str(), repository.row.scan_on_push)
        || registry.scan_get(keys, &image.digest).await?.is_some()
        || registry.metadata.image(keys, &image.digest).await?.is_none()
    {
        return Ok(());
    }
    let txn = Txn::new().require_exists(keys.image(&image.digest));
    // When this loses, the image is gone, or somebody asked for a scan.
    registry.scan_enqueue(keys, &image.digest, None, txn).await?;
    Ok(())
}

async fn deleted(registry: &Registry, keys: &RepositoryKeys, digest: &Digest) -> Result<(), RegistryError> {
    let Some(scan) = registry.scan_get(keys, digest).await? else { return Ok(()) };
    // It may have come back, with the same content and so the same findings.
    if registry.metadata.image(keys, digest).await?.is_some() {
        return Ok(());
    }
    let key = keys.scan(digest);
    let txn = Txn::new()
        .require(&key, scan.revision)
        .require_absent(keys.image(digest))
        .delete(&key)
        .delete(keys.scan_queued(digest))
        .delete_prefix(keys.findings(digest, scan.row.round))
        .delete_prefix(keys.inventory(digest, scan.row.inventory_round));
    registry.metadata.store.txn(txn).await?;
    Ok(())
}
