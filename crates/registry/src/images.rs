//! Images in repositories: reading, resolving and removing manifests. Pushing is in `push_image`.

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use gantry_store::{Txn, TxnError};

use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::manifest::Manifest;
use crate::metadata::{ATTEMPTS_MAX, ImageRow, Read, RepositoryKeys, encode};
use crate::name::{Reference, Tag};
use crate::registry::Registry;

/// How old the record of the last pull may get before a pull renews it.
const PULL_TIME_PRECISION_MS: i64 = 24 * 60 * 60 * 1000;

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

    /// Notes that an image was pulled, at most once a day and without making the pull wait.
    pub fn image_pulled(&self, keys: &RepositoryKeys, image: &FoundImage) {
        let now = self.now().as_millis();
        let known = image.row.pulled_at_ms;
        if known.is_some_and(|pulled| now.saturating_sub(pulled) < PULL_TIME_PRECISION_MS) {
            return;
        }
        let row = ImageRow { pulled_at_ms: Some(now), ..image.row.clone() };
        let key = keys.image(&image.digest);
        let txn = Txn::new().require(&key, image.revision).put(&key, encode(&row));
        let store = self.metadata.store.clone();
        // When this loses to another change, the next pull notes it.
        tokio::spawn(async move { store.txn(txn).await });
    }

    /// Removes a tag and leaves its image. False when there is no such tag.
    pub async fn tag_delete(&self, keys: &RepositoryKeys, tag: &Tag) -> Result<bool, RegistryError> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(pointer) = self.metadata.tag(keys, tag).await? else {
                self.metadata.repository(keys).await?;
                return Ok(false);
            };
            let key = keys.tag(tag);
            let mut txn = Txn::new().require(&key, pointer.revision).delete(&key);
            if let Some(Read { mut row, revision }) = self.metadata.image(keys, &pointer.row.digest).await? {
                let image_key = keys.image(&pointer.row.digest);
                row.tags.remove(tag);
                txn = txn.require(&image_key, revision).put(&image_key, encode(&row));
            }
            match self.metadata.store.txn(txn).await {
                Ok(_) => return Ok(true),
                Err(TxnError::Conflict { .. }) => {}
                Err(TxnError::Store(error)) => return Err(error.into()),
            }
        }
        Err(RegistryError::Contention)
    }

    /// Removes an image with all its tags, unless a list of manifests needs it. None when there is no such image.
    pub async fn image_delete(
        &self,
        keys: &RepositoryKeys,
        digest: &Digest,
    ) -> Result<Option<DeletedImage>, RegistryError> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(Read { row, revision }) = self.metadata.image(keys, digest).await? else {
                self.metadata.repository(keys).await?;
                return Ok(None);
            };
            // Read after the row: a list that comes to need this image rewrites the row, so the transaction fails.
            const PARENTS_NAMED_MAX: usize = 10;
            let parents = self.metadata.users(keys, digest, PARENTS_NAMED_MAX).await?;
            if !parents.is_empty() {
                return Err(RegistryError::ReferencedByManifestList { parents });
            }
            let image = FoundImage { digest: digest.clone(), row, revision };
            let txn = self.deletion(keys, &image).await?;
            match self.metadata.store.txn(txn).await {
                Ok(_) => {
                    return Ok(Some(DeletedImage { digest: image.digest, tags: image.row.tags.into_iter().collect() }));
                }
                Err(TxnError::Conflict { .. }) => {}
                Err(TxnError::Store(error)) => return Err(error.into()),
            }
        }
        Err(RegistryError::Contention)
    }

    /// The transaction that removes an image. The revision of its row stands for its tags too: they change together.
    async fn deletion(&self, keys: &RepositoryKeys, image: &FoundImage) -> Result<Txn, RegistryError> {
        let key = keys.image(&image.digest);
        let mut txn = Txn::new().require(&key, image.revision).delete(&key);
        for tag in &image.row.tags {
            txn = txn.delete(keys.tag(tag));
        }
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
        Ok(txn)
    }
}
