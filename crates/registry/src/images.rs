//! Images in repositories: reading, resolving and removing manifests. Pushing is in `push_image`.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use gantry_store::{Txn, TxnError};

use crate::changes::{Actor, ChangeKind};
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::manifest::Manifest;
use crate::metadata::{ATTEMPTS_MAX, ImageRow, Read, RepositoryKeys, encode};
use crate::name::{Reference, Tag};
use crate::registry::Registry;
use crate::settings::is_excluded;

/// How old the record of the last pull may get before a pull renews it.
const PULL_TIME_PRECISION_MS: i64 = 24 * 60 * 60 * 1000;

/// Tags removed in one transaction: each has three operations, and with them go the references of the manifest. An
/// image with more loses them in steps before it goes.
pub(crate) const TAGS_PER_DELETION_MAX: usize = 100;

/// An image as it was found.
#[derive(Debug, Clone)]
pub struct FoundImage {
    /// Its digest.
    pub digest: Digest,
    /// Its row.
    pub row: ImageRow,
    pub(crate) revision: u64,
}

/// What came of a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedImage {
    /// The image.
    pub digest: Digest,
    /// The tags that pointed at it.
    pub tags: Vec<Tag>,
}

impl Registry {
    /// The image a reference names; none when there is none in an existing repository.
    pub async fn image_find(
        &self,
        keys: &RepositoryKeys,
        reference: &Reference,
    ) -> Result<Option<FoundImage>, RegistryError> {
        // A tag's row is read before its image's. If it moves in between, the image it had is still an answer, but
        // that image may have been deleted: then the tag is looked at again.
        for _ in 0..ATTEMPTS_MAX {
            let digest = match reference {
                Reference::Digest(digest) => Some(digest.clone()),
                Reference::Tag(tag) => self.metadata.tag(keys, tag).await?.map(|tag| tag.row.digest),
            };
            let Some(digest) = digest else { break };
            if let Some(Read { row, revision }) = self.metadata.image(keys, &digest).await? {
                return Ok(Some(FoundImage { digest, row, revision }));
            }
            if matches!(reference, Reference::Digest(_)) {
                break;
            }
        }
        self.metadata.repository(keys).await?;
        Ok(None)
    }

    /// The exact bytes of a manifest, compared with their digest.
    pub async fn manifest_bytes(&self, image: &FoundImage) -> Result<Bytes, RegistryError> {
        let mut stream = self.blobs.get(&image.digest, image.row.manifest_size, None).await?;
        if let Some(bytes) = stream.take_memory() {
            return Ok(bytes);
        }
        let size = usize::try_from(stream.size()).unwrap_or_default();
        let read = stream.try_fold(BytesMut::with_capacity(size), |mut bytes, chunk| async move {
            bytes.extend_from_slice(&chunk);
            Ok(bytes)
        });
        let bytes = read.await.map_err(crate::blobs::BlobError::io("reading a manifest"))?.freeze();
        if Digest::of_with(image.digest.algorithm(), &bytes) != image.digest {
            // This sets it aside, unless it was only now replaced.
            self.blobs.verify(&image.digest).await?;
        }
        Ok(bytes)
    }

    /// The annotations of a manifest, from its bytes; none when it has just been deleted.
    pub(crate) async fn annotations_of(
        &self,
        keys: &RepositoryKeys,
        digest: &Digest,
    ) -> Result<BTreeMap<String, String>, RegistryError> {
        let Some(image) = self.image_find(keys, &Reference::Digest(digest.clone())).await? else {
            return Ok(BTreeMap::new());
        };
        let bytes = self.manifest_bytes(&image).await?;
        Ok(Manifest::parse(&bytes, Some(&image.row.media_type))?.annotations)
    }

    /// Notes that an image was pulled, at most once a day and without making the pull wait. Pulls of a principal that
    /// is excluded leave no trace.
    pub fn image_pulled(&self, keys: &RepositoryKeys, image: &FoundImage, principal_arn: &str) {
        let now = self.now().as_millis();
        let known = image.row.pulled_at_ms;
        if known.is_some_and(|pulled| now.saturating_sub(pulled) < PULL_TIME_PRECISION_MS) {
            return;
        }
        let row = ImageRow { pulled_at_ms: Some(now), ..image.row.clone() };
        let key = keys.image(&image.digest);
        let txn = Txn::new().require(&key, image.revision).put(&key, encode(&row));
        let (metadata, scope, arn) = (self.metadata.clone(), keys.scope().clone(), principal_arn.to_owned());
        tokio::spawn(async move {
            // When this loses to another change, the next pull notes it.
            if matches!(is_excluded(&metadata, &scope, &arn).await, Ok(false)) {
                let _ = metadata.store.txn(txn).await;
            }
        });
    }

    /// Removes a tag and leaves its image. False when there is no such tag.
    pub async fn tag_delete(&self, keys: &RepositoryKeys, tag: &Tag, actor: &Actor) -> Result<bool, RegistryError> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(pointer) = self.metadata.tag(keys, tag).await? else {
                self.metadata.repository(keys).await?;
                return Ok(false);
            };
            let image = self.metadata.image(keys, &pointer.row.digest).await?;
            let txn = match image {
                Some(Read { row, revision }) => {
                    let image = FoundImage { digest: pointer.row.digest, row, revision };
                    self.untagging(keys, &image, std::slice::from_ref(tag), actor).await?
                }
                // Cannot be, and must not keep the tag from going.
                None => Txn::new().require(keys.tag(tag), pointer.revision).delete(keys.tag(tag)),
            };
            if self.done(txn).await? {
                return Ok(true);
            }
        }
        Err(RegistryError::Contention)
    }

    /// Removes a tag, and with the last tag the image, unless a list of manifests needs it. None when there is no
    /// such tag.
    pub async fn tag_delete_with_image(
        &self,
        keys: &RepositoryKeys,
        tag: &Tag,
        actor: &Actor,
    ) -> Result<Option<DeletedImage>, RegistryError> {
        for _ in 0..ATTEMPTS_MAX {
            let reference = Reference::Tag(tag.clone());
            let Some(image) = self.image_find(keys, &reference).await? else { return Ok(None) };
            if !image.row.tags.contains(tag) {
                // Moved between the two reads.
                continue;
            }
            if image.row.tags.len() == 1 {
                if let Some(deleted) = self.try_delete(keys, &image, actor).await? {
                    return Ok(Some(deleted));
                }
                continue;
            }
            let txn = self.untagging(keys, &image, std::slice::from_ref(tag), actor).await?;
            if self.done(txn).await? {
                return Ok(Some(DeletedImage { digest: image.digest, tags: vec![tag.clone()] }));
            }
        }
        Err(RegistryError::Contention)
    }

    /// Removes an image with all its tags, unless a list of manifests needs it. None when there is no such image.
    pub async fn image_delete(
        &self,
        keys: &RepositoryKeys,
        digest: &Digest,
        actor: &Actor,
    ) -> Result<Option<DeletedImage>, RegistryError> {
        let mut shed = Vec::new();
        for _ in 0..ATTEMPTS_MAX {
            let Some(Read { row, revision }) = self.metadata.image(keys, digest).await? else {
                self.metadata.repository(keys).await?;
                return Ok(None);
            };
            let image = FoundImage { digest: digest.clone(), row, revision };
            if image.row.tags.len() > TAGS_PER_DELETION_MAX {
                self.refuse_if_needed(keys, &image).await?;
                let tags: Vec<Tag> = image.row.tags.iter().take(TAGS_PER_DELETION_MAX).cloned().collect();
                let txn = self.untagging(keys, &image, &tags, actor).await?;
                if self.done(txn).await? {
                    shed.extend(tags);
                }
                continue;
            }
            if let Some(mut deleted) = self.try_delete(keys, &image, actor).await? {
                shed.append(&mut deleted.tags);
                return Ok(Some(DeletedImage { tags: shed, ..deleted }));
            }
        }
        Err(RegistryError::Contention)
    }

    /// Removes the image if it is still as it was read; none when somebody changed it meanwhile.
    pub(crate) async fn try_delete(
        &self,
        keys: &RepositoryKeys,
        image: &FoundImage,
        actor: &Actor,
    ) -> Result<Option<DeletedImage>, RegistryError> {
        self.refuse_if_needed(keys, image).await?;
        for _ in 0..ATTEMPTS_MAX {
            let count = self.image_count(keys, &image.digest).await?;
            let txn = count.less(self.deletion(keys, image, actor).await?);
            match self.metadata.store.txn(txn).await {
                Ok(_) => {
                    let tags = image.row.tags.iter().cloned().collect();
                    return Ok(Some(DeletedImage { digest: image.digest.clone(), tags }));
                }
                // Another image came or went, which changes the count and nothing about this one.
                Err(TxnError::Conflict { key }) if key == count.key => {}
                Err(TxnError::Conflict { .. }) => return Ok(None),
                Err(TxnError::Store(error)) => return Err(error.into()),
            }
        }
        Err(RegistryError::Contention)
    }

    /// Refuses to go on when a list of manifests needs the image. Asked after its row was read: a list that comes to
    /// need it rewrites the row, so the transaction that names the row fails.
    async fn refuse_if_needed(&self, keys: &RepositoryKeys, image: &FoundImage) -> Result<(), RegistryError> {
        const PARENTS_NAMED_MAX: usize = 10;
        let parents = self.metadata.users(keys, &image.digest, PARENTS_NAMED_MAX).await?;
        if parents.is_empty() { Ok(()) } else { Err(RegistryError::ReferencedByManifestList { parents }) }
    }

    /// Does a transaction; false when it lost a race.
    async fn done(&self, txn: Txn) -> Result<bool, RegistryError> {
        match self.metadata.store.txn(txn).await {
            Ok(_) => Ok(true),
            Err(TxnError::Conflict { .. }) => Ok(false),
            Err(TxnError::Store(error)) => Err(error.into()),
        }
    }

    /// The transaction that takes tags from an image that has them. The revision of its row stands for the tags' rows
    /// too: they change together.
    async fn untagging(
        &self,
        keys: &RepositoryKeys,
        image: &FoundImage,
        tags: &[Tag],
        actor: &Actor,
    ) -> Result<Txn, RegistryError> {
        let key = keys.image(&image.digest);
        let mut row = image.row.clone();
        row.tags.retain(|tag| !tags.contains(tag));
        let txn = Txn::new().require(&key, image.revision).put(&key, encode(&row));
        let txn = self.removing_tags(txn, keys, tags, actor).await?;
        let kind = ChangeKind::Deleted { image: row.changed(&image.digest), tags: tags.to_vec(), gone: false };
        Ok(self.record(txn, keys, actor, kind))
    }

    /// The transaction that removes an image with its tags.
    async fn deletion(&self, keys: &RepositoryKeys, image: &FoundImage, actor: &Actor) -> Result<Txn, RegistryError> {
        let key = keys.image(&image.digest);
        let tags: Vec<Tag> = image.row.tags.iter().cloned().collect();
        let txn = Txn::new().require(&key, image.revision).delete(&key);
        let mut txn = self.removing_tags(txn, keys, &tags, actor).await?;
        if let Some(subject) = &image.row.subject {
            txn = txn.delete(keys.referrer(subject, &image.digest));
        }
        match self.manifest_bytes(image).await {
            Ok(bytes) => {
                let manifest = Manifest::parse(&bytes, Some(&image.row.media_type))?;
                for reference in manifest.references().into_keys() {
                    txn = txn.delete(keys.used_by(reference, &image.digest));
                }
            }
            // A damaged manifest can still be deleted. References it leaves behind no longer count, see `users`.
            Err(RegistryError::BlobUnknown(_)) => {}
            Err(error) => return Err(error),
        }
        let txn = self.forgetting_prepared(txn, keys, &image.digest).await?;
        let txn = txn.delete_prefix(keys.signings(&image.digest)).delete(keys.upstream_referrers(&image.digest));
        let kind = ChangeKind::Deleted { image: image.row.changed(&image.digest), tags, gone: true };
        Ok(self.record(txn, keys, actor, kind))
    }

    async fn removing_tags(
        &self,
        mut txn: Txn,
        keys: &RepositoryKeys,
        tags: &[Tag],
        actor: &Actor,
    ) -> Result<Txn, RegistryError> {
        for tag in tags {
            let pointer = self.metadata.tag(keys, tag).await?;
            let length = self.history_length(keys, tag, pointer.as_ref()).await?;
            txn = self.remember(txn.delete(keys.tag(tag)), keys, tag, length, None, actor);
        }
        Ok(txn)
    }
}
