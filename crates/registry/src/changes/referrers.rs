//! Removes what is about an image that is gone: signatures, bills of materials. What is about those goes the same way,
//! as their deletion is a change too.

use async_trait::async_trait;

use super::{Actor, ChangeHandler, ChangeKind, ImageChange, Origin};
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::metadata::RepositoryKeys;
use crate::registry::Registry;

/// Referrers read at a time.
const PAGE: usize = 100;

pub(super) struct OrphanedReferrers;

#[async_trait]
impl ChangeHandler for OrphanedReferrers {
    fn name(&self) -> &'static str {
        "referrers"
    }

    async fn handle(&self, registry: &Registry, change: &ImageChange) -> Result<(), RegistryError> {
        match &change.kind {
            ChangeKind::Deleted { image, gone: true, .. } => remove(registry, &change.repository, &image.digest).await,
            _ => Ok(()),
        }
    }
}

async fn remove(registry: &Registry, keys: &RepositoryKeys, subject: &Digest) -> Result<(), RegistryError> {
    let mut after: Option<Digest> = None;
    loop {
        if registry.metadata.image(keys, subject).await?.is_some() {
            // Pushed again: its referrers are wanted.
            return Ok(());
        }
        let from = after.as_ref().map(Digest::as_str);
        let (page, more) = registry.metadata.referrers(keys, subject, from, PAGE).await?;
        for (digest, _) in &page {
            match registry.image_delete(keys, digest, &Actor::registry(Origin::SubjectDeleted)).await {
                // One that a list needs stays as an image of its own.
                Ok(_) | Err(RegistryError::ReferencedByManifestList { .. }) => {}
                Err(RegistryError::RepositoryNotFound { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        after = page.last().map(|(digest, _)| digest.clone());
        if !more {
            return Ok(());
        }
    }
}
