//! Archiving images and bringing them back.
//!
//! An archived image keeps its manifest and blobs but cannot be pulled. Bringing it back takes effect at once: nothing
//! was moved, so an image here is never `ACTIVATING`. A list takes along, both ways, the children that no other list
//! in use needs; a child that a list in use needs cannot be archived by itself.

use std::collections::BTreeMap;

use gantry_store::{Txn, TxnError};

use crate::changes::{Actor, ChangeKind};
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::images::FoundImage;
use crate::manifest::{Manifest, ReferenceKind};
use crate::metadata::{ATTEMPTS_MAX, ImageRow, Read, RepositoryKeys, encode};
use crate::registry::Registry;

/// Lists that need one image and are looked at; with more, the image counts as needed.
const PARENTS_MAX: usize = 1000;

impl Registry {
    /// Archives an image, or makes an archived one active again.
    pub async fn image_archive(
        &self,
        keys: &RepositoryKeys,
        digest: &Digest,
        archive: bool,
        actor: &Actor,
    ) -> Result<(), RegistryError> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(Read { row, revision }) = self.metadata.image(keys, digest).await? else {
                self.metadata.repository(keys).await?;
                return Err(not_found(keys, digest));
            };
            let image = FoundImage { digest: digest.clone(), row, revision };
            if self.try_archive(keys, &image, archive, actor).await? {
                return Ok(());
            }
        }
        Err(RegistryError::Contention)
    }

    /// The same for an image as it was read; false when somebody changed it meanwhile.
    pub(crate) async fn try_archive(
        &self,
        keys: &RepositoryKeys,
        image: &FoundImage,
        archive: bool,
        actor: &Actor,
    ) -> Result<bool, RegistryError> {
        if image.row.archived == archive {
            let status = if archive { "ARCHIVED" } else { "ACTIVE" };
            return Err(RegistryError::StorageClass(format!(
                "The image with digest '{}' already has the status {status}.",
                image.digest
            )));
        }
        if archive && self.is_needed_by_an_active_list(keys, &image.digest, None).await? {
            return Err(RegistryError::StorageClass(format!(
                "The image with digest '{}' is referenced by an active manifest list.",
                image.digest
            )));
        }
        let key = keys.image(&image.digest);
        let row = with_status(&image.row, archive, self.now().as_millis());
        let mut txn = Txn::new().require(&key, image.revision).put(&key, encode(&row));
        for (digest, child) in self.children_to_take_along(keys, image, archive).await? {
            let key = keys.image(&digest);
            let row = with_status(&child.row, archive, self.now().as_millis());
            txn = txn.require(&key, child.revision).put(&key, encode(&row));
        }
        let tags = image.row.tags.iter().cloned().collect();
        let kind = ChangeKind::StorageClass { image: image.row.changed(&image.digest), tags, archived: archive };
        match self.metadata.store.txn(self.record(txn, keys, actor, kind)).await {
            Ok(_) => Ok(true),
            Err(TxnError::Conflict { .. }) => Ok(false),
            Err(TxnError::Store(error)) => Err(error.into()),
        }
    }

    /// The children of a list that change with it.
    async fn children_to_take_along(
        &self,
        keys: &RepositoryKeys,
        image: &FoundImage,
        archive: bool,
    ) -> Result<BTreeMap<Digest, Read<ImageRow>>, RegistryError> {
        let mut children = BTreeMap::new();
        if !image.row.is_index {
            return Ok(children);
        }
        let bytes = self.manifest_bytes(image).await?;
        let manifest = Manifest::parse(&bytes, Some(&image.row.media_type))?;
        for (digest, (kind, _)) in manifest.references() {
            if kind != ReferenceKind::Manifest {
                continue;
            }
            let Some(child) = self.metadata.image(keys, digest).await? else { continue };
            let changes = child.row.archived != archive
                // What has a name of its own stays when the list goes.
                && (!archive || child.row.tags.is_empty())
                && !(archive && self.is_needed_by_an_active_list(keys, digest, Some(&image.digest)).await?);
            if changes {
                children.insert(digest.clone(), child);
            }
        }
        Ok(children)
    }

    async fn is_needed_by_an_active_list(
        &self,
        keys: &RepositoryKeys,
        digest: &Digest,
        but: Option<&Digest>,
    ) -> Result<bool, RegistryError> {
        let parents = self.metadata.users(keys, digest, PARENTS_MAX).await?;
        if parents.len() == PARENTS_MAX {
            return Ok(true);
        }
        for parent in parents.iter().filter(|parent| Some(*parent) != but) {
            if self.metadata.image(keys, parent).await?.is_some_and(|parent| !parent.row.archived) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a blob is needed by archived images and by no other.
    pub(crate) async fn is_archived_layer(
        &self,
        keys: &RepositoryKeys,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        let users = self.metadata.users(keys, digest, PARENTS_MAX).await?;
        for user in &users {
            if self.metadata.image(keys, user).await?.is_some_and(|user| !user.row.archived) {
                return Ok(false);
            }
        }
        Ok(!users.is_empty())
    }
}

/// The row with another status, from now on.
pub(crate) fn with_status(row: &ImageRow, archived: bool, now_ms: i64) -> ImageRow {
    let mut row = ImageRow { archived, ..row.clone() };
    match archived {
        true => row.archived_at_ms = Some(now_ms),
        false => row.activated_at_ms = Some(now_ms),
    }
    row
}

fn not_found(keys: &RepositoryKeys, digest: &Digest) -> RegistryError {
    RegistryError::ImageNotFound {
        digest: digest.to_string(),
        tag: "null".to_owned(),
        name: keys.name().to_string(),
        registry: keys.scope().account.clone(),
    }
}
