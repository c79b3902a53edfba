//! A registry that images are copied to: what a copy needs of it, and registries of this Gantry.
//!
//! All regions and accounts of one Gantry share a content store, so that a blob is linked, not copied. A destination
//! in another installation would implement the same few verbs over HTTP.

use async_trait::async_trait;
use bytes::Bytes;

use super::CopyError;
use crate::changes::{Actor, Origin};
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::metadata::RepositoryKeys;
use crate::name::Tag;
use crate::push_image::{ImagePush, Repeated};
use crate::registry::Registry;
use crate::templates::AppliedFor;

/// A repository that images are copied to. Every call may be repeated.
#[async_trait]
pub(crate) trait Destination: Send + Sync {
    /// Makes sure that the repository is there and that we may copy to it.
    async fn prepare(&self) -> Result<(), CopyError>;

    /// Whether it has the manifest.
    async fn has_manifest(&self, digest: &Digest) -> Result<bool, CopyError>;

    /// Makes sure that it has a blob of the source.
    async fn take_blob(&self, digest: &Digest) -> Result<(), CopyError>;

    /// Stores a manifest whose blobs and children are there, and points the tags at it; those that may not be moved
    /// are left where they are.
    async fn put_manifest(&self, manifest: &ManifestToPut<'_>) -> Result<(), CopyError>;

    /// Removes the tags that point at the image.
    async fn delete_tags(&self, digest: &Digest, tags: &[Tag]) -> Result<(), CopyError>;

    /// Removes the image with its tags, unless an index needs it.
    async fn delete_image(&self, digest: &Digest) -> Result<(), CopyError>;
}

/// Tags that are set in one transaction.
const TAGS_AT_ONCE: usize = 100;

/// A manifest on its way.
pub(crate) struct ManifestToPut<'a> {
    pub(crate) digest: &'a Digest,
    pub(crate) media_type: &'a str,
    pub(crate) bytes: &'a Bytes,
    pub(crate) tags: Vec<Tag>,
}

/// A repository of this Gantry.
pub(crate) struct Local<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) from: &'a RepositoryKeys,
    pub(crate) to: RepositoryKeys,
}

#[async_trait]
impl Destination for Local<'_> {
    async fn prepare(&self) -> Result<(), CopyError> {
        self.registry.may_replicate(self.from, &self.to, "ReplicateImage").await?;
        match self.registry.metadata.repository(&self.to).await {
            Ok(_) => Ok(()),
            Err(RegistryError::RepositoryNotFound { .. }) => {
                self.registry.may_replicate(self.from, &self.to, "CreateRepository").await?;
                let (scope, name) = (self.to.scope(), self.to.name());
                let template = self.registry.template_for(scope, name, AppliedFor::Replication).await?;
                Ok(self.registry.repository_create_by_itself(&self.to, template.as_ref()).await?)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn has_manifest(&self, digest: &Digest) -> Result<bool, CopyError> {
        Ok(self.registry.metadata.image(&self.to, digest).await?.is_some())
    }

    async fn take_blob(&self, digest: &Digest) -> Result<(), CopyError> {
        match self.registry.blob_mount(&self.to, digest, self.from).await? {
            true => Ok(()),
            false => Err(RegistryError::BlobUnknown(digest.clone()).into()),
        }
    }

    async fn put_manifest(&self, manifest: &ManifestToPut<'_>) -> Result<(), CopyError> {
        let mut push = ImagePush {
            manifest: manifest.bytes.clone(),
            media_type: Some(manifest.media_type.to_owned()),
            digest: Some(manifest.digest.clone()),
            tags: Vec::new(),
            repeated: Repeated::Accept,
            actor: Actor::registry(Origin::Replication),
            sign: Vec::new(),
        };
        let mut left = manifest.tags.clone();
        loop {
            // No more than a transaction takes; the last go first, so that each is pushed once.
            push.tags = left.split_off(left.len().saturating_sub(TAGS_AT_ONCE));
            loop {
                match self.registry.image_push(&self.to, &push).await {
                    Err(RegistryError::TagImmutable { tag, .. }) if push.tags.contains(&tag) => {
                        push.tags.retain(|other| *other != tag);
                    }
                    pushed => break pushed.map(drop)?,
                }
            }
            if left.is_empty() {
                return Ok(());
            }
        }
    }

    async fn delete_tags(&self, digest: &Digest, tags: &[Tag]) -> Result<(), CopyError> {
        self.registry.may_replicate(self.from, &self.to, "ReplicateImage").await?;
        let actor = Actor::registry(Origin::Replication);
        for tag in tags {
            let points_at = self.registry.metadata.tag(&self.to, tag).await?.map(|tag| tag.row.digest);
            if points_at.as_ref() == Some(digest) {
                gone_is_fine(self.registry.tag_delete(&self.to, tag, &actor).await)?;
            }
        }
        Ok(())
    }

    async fn delete_image(&self, digest: &Digest) -> Result<(), CopyError> {
        self.registry.may_replicate(self.from, &self.to, "ReplicateImage").await?;
        let actor = Actor::registry(Origin::Replication);
        match self.registry.image_delete(&self.to, digest, &actor).await {
            // An index that somebody pushed there needs it.
            Err(RegistryError::ReferencedByManifestList { .. }) => Ok(()),
            deleted => gone_is_fine(deleted.map(drop)),
        }
    }
}

/// What is to be removed may be gone, and its repository too.
fn gone_is_fine<T>(result: Result<T, RegistryError>) -> Result<(), CopyError> {
    match result {
        Ok(_) | Err(RegistryError::RepositoryNotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
