//! Blobs in repositories: uploads, links, mounts and removal.
//!
//! A blob is in a repository when its link row is. The link is written after the file is durable and before anybody
//! is told, under the commit lock of the digest, so the collector never removes the file in between.

use std::ops::Range;

use bytes::Bytes;
use gantry_store::{Txn, TxnError};

use crate::blobs::{BlobError, BlobStream, Upload, WriteMode};
use crate::digest::{Algorithm, Digest};
use crate::fault::RegistryError;
use crate::metadata::{ATTEMPTS_MAX, LinkRow, Read, RepositoryKeys, encode, holders_prefix, parse_holder};
use crate::registry::Registry;

impl Registry {
    /// The length of a blob of the repository. The caller counts on the blob from now on, so its grace begins anew.
    pub async fn blob_size(&self, keys: &RepositoryKeys, digest: &Digest) -> Result<u64, RegistryError> {
        let Some(link) = self.usable_link(keys, digest).await? else { return self.blob_missing(keys, digest).await };
        if !self.is_fresh(&link.row) {
            // Lost only to somebody who changed the link a moment ago; if that was the collector, the blob is gone.
            match self.write_link(keys, digest, Some(&link), link.row.size).await {
                Err(TxnError::Conflict { .. }) => {
                    let again = self.usable_link(keys, digest).await?;
                    return again.map(|link| link.row.size).ok_or_else(|| RegistryError::BlobUnknown(digest.clone()));
                }
                other => {
                    other?;
                }
            }
        }
        Ok(link.row.size)
    }

    /// Opens a blob of the repository for reading. `range` picks what to read once the length is known.
    pub async fn blob_open(
        &self,
        keys: &RepositoryKeys,
        digest: &Digest,
        range: impl FnOnce(u64) -> Option<Range<u64>>,
    ) -> Result<BlobStream, RegistryError> {
        let Some(link) = self.usable_link(keys, digest).await? else { return self.blob_missing(keys, digest).await };
        match self.blobs.get(digest, link.row.size, range(link.row.size)).await {
            Err(error @ (BlobError::Damaged(_) | BlobError::Unknown(_))) => {
                tracing::error!(%digest, repository = %keys.name(), error = &error as &dyn std::error::Error, "blob cannot be read; it counts as absent until it is pushed again");
                self.mark_damaged(keys, digest).await;
                Err(error.into())
            }
            opened => Ok(opened?),
        }
    }

    /// Begins an upload and returns its id.
    pub async fn upload_start(&self, keys: &RepositoryKeys, algorithm: Algorithm) -> Result<String, RegistryError> {
        self.metadata.repository(keys).await?;
        Ok(self.blobs.upload_start(&keys.upload_scope(), algorithm).await?)
    }

    /// Takes hold of an upload for one request.
    pub async fn upload_open(
        &self,
        keys: &RepositoryKeys,
        id: &str,
        mode: WriteMode,
    ) -> Result<Box<dyn Upload>, RegistryError> {
        let opened = self.blobs.upload_open(&keys.upload_scope(), id, mode).await;
        opened.map_err(|error| self.upload_error(keys, id, error))
    }

    /// Makes an upload a blob of the repository; returns its length.
    pub async fn upload_commit(
        &self,
        keys: &RepositoryKeys,
        id: &str,
        upload: Box<dyn Upload>,
        digest: &Digest,
    ) -> Result<u64, RegistryError> {
        let _committing = self.commits.committing(digest).await;
        let size = upload.commit(digest).await.map_err(|error| self.upload_error(keys, id, error))?;
        self.link(keys, digest, size).await?;
        Ok(size)
    }

    /// Stores a small blob in one go.
    pub async fn blob_put(&self, keys: &RepositoryKeys, digest: &Digest, bytes: Bytes) -> Result<(), RegistryError> {
        self.metadata.repository(keys).await?;
        let computed = Digest::of_with(digest.algorithm(), &bytes);
        if computed != *digest {
            return Err(RegistryError::LayerDigestMismatch { expected: digest.clone(), computed });
        }
        let size = bytes.len() as u64;
        let _committing = self.commits.committing(digest).await;
        self.blobs.put(digest, bytes).await?;
        self.link(keys, digest, size).await
    }

    /// Links a blob of another repository of the same registry into this one. False when it is not there: the client
    /// uploads then.
    pub async fn blob_mount(
        &self,
        keys: &RepositoryKeys,
        digest: &Digest,
        from: &RepositoryKeys,
    ) -> Result<bool, RegistryError> {
        self.metadata.repository(keys).await?;
        let _committing = self.commits.committing(digest).await;
        let link = self.usable_link(from, digest).await?;
        let Some(link) = link else { return Ok(false) };
        self.link(keys, digest, link.row.size).await?;
        Ok(true)
    }

    /// Takes a blob out of the repository, unless a manifest needs it.
    pub async fn blob_unlink(&self, keys: &RepositoryKeys, digest: &Digest) -> Result<(), RegistryError> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(link) = self.metadata.link(keys, digest).await? else {
                return self.blob_missing(keys, digest).await;
            };
            match self.try_unlink(keys, digest, link).await? {
                Unlink::Done => return Ok(()),
                Unlink::InUse => return Err(RegistryError::BlobInUse(digest.clone())),
                Unlink::Changed => {}
            }
        }
        Err(RegistryError::Contention)
    }

    /// One try to remove a link that was read as `link`. First its `used` mark is cleared, then references are looked
    /// for, then the row is removed if it is still as it was left: a push that begins to use the blob in between
    /// either shows among the references or has set the mark again.
    pub(crate) async fn try_unlink(
        &self,
        keys: &RepositoryKeys,
        digest: &Digest,
        mut link: Read<LinkRow>,
    ) -> Result<Unlink, RegistryError> {
        let key = keys.blob(digest);
        if link.row.used {
            if !self.metadata.users(keys, digest, 1).await?.is_empty() {
                return Ok(Unlink::InUse);
            }
            link.row.used = false;
            let txn = Txn::new().require(&key, link.revision).put(&key, encode(&link.row));
            match self.metadata.store.txn(txn).await {
                Ok(revision) => link.revision = revision,
                Err(TxnError::Conflict { .. }) => return Ok(Unlink::Changed),
                Err(TxnError::Store(error)) => return Err(error.into()),
            }
        }
        if !self.metadata.users(keys, digest, 1).await?.is_empty() {
            self.mark_used_again(keys, digest, &link).await;
            return Ok(Unlink::InUse);
        }
        match self.metadata.store.txn(Txn::new().require(&key, link.revision).delete(&key)).await {
            Ok(_) => Ok(Unlink::Done),
            Err(TxnError::Conflict { .. }) => Ok(Unlink::Changed),
            Err(TxnError::Store(error)) => Err(error.into()),
        }
    }

    /// Only spares the next push a write: a cleared mark is safe.
    async fn mark_used_again(&self, keys: &RepositoryKeys, digest: &Digest, link: &Read<LinkRow>) {
        let key = keys.blob(digest);
        let row = LinkRow { used: true, ..link.row.clone() };
        let _ = self.metadata.store.txn(Txn::new().require(&key, link.revision).put(&key, encode(&row))).await;
    }

    /// Writes the link of a blob whose file is durable. The caller holds the digest's commit lock.
    async fn link(&self, keys: &RepositoryKeys, digest: &Digest, size: u64) -> Result<(), RegistryError> {
        for _ in 0..ATTEMPTS_MAX {
            let existing = self.metadata.link(keys, digest).await?;
            if let Some(link) = &existing
                && self.is_fresh(&link.row)
                && link.row.size == size
            {
                return Ok(());
            }
            match self.write_link(keys, digest, existing.as_ref(), size).await {
                Err(TxnError::Conflict { key }) if key == keys.repository() => {
                    // Gone, or about to be deleted: this tells which, and calls the deletion off.
                    self.repository_for_push(keys).await?;
                }
                Err(TxnError::Conflict { .. }) => {}
                other => return Ok(other.map(|_revision| ())?),
            }
        }
        Err(RegistryError::Contention)
    }

    async fn write_link(
        &self,
        keys: &RepositoryKeys,
        digest: &Digest,
        existing: Option<&Read<LinkRow>>,
        size: u64,
    ) -> Result<u64, TxnError> {
        let used = existing.is_some_and(|existing| existing.row.used);
        let row = LinkRow { size, seen_at_ms: self.now().as_millis(), used, damaged: false };
        let key = keys.blob(digest);
        let txn = Txn::new()
            .require_exists(keys.repository())
            .require(&key, existing.map_or(0, |existing| existing.revision))
            .put(&key, encode(&row))
            .put(keys.holder(digest), Bytes::from_static(b"{}"));
        self.metadata.store.txn(txn).await
    }

    /// The link, unless its content is damaged.
    pub(crate) async fn usable_link(
        &self,
        keys: &RepositoryKeys,
        digest: &Digest,
    ) -> Result<Option<Read<LinkRow>>, RegistryError> {
        Ok(self.metadata.link(keys, digest).await?.filter(|link| !link.row.damaged))
    }

    /// Repositories of the same registry that hold a blob, as far as is known; a bounded number of them.
    pub(crate) async fn blob_holders(
        &self,
        keys: &RepositoryKeys,
        digest: &Digest,
    ) -> Result<Vec<RepositoryKeys>, RegistryError> {
        const HOLDERS_LOOKED_AT_MAX: usize = 20;
        let scope = keys.scope();
        let all = holders_prefix(digest);
        let ours = format!("{all}{}/{}/", scope.account, scope.region);
        let holders = self.metadata.store.range(&ours, HOLDERS_LOOKED_AT_MAX).await?;
        Ok(holders.kvs.iter().filter_map(|holder| parse_holder(holder.key.strip_prefix(&all)?)).collect())
    }

    /// Whether it was said recently enough that the blob is here; saying it again need not be written down.
    fn is_fresh(&self, link: &LinkRow) -> bool {
        let grace_ms = i64::try_from(self.config.grace.as_millis()).unwrap_or(i64::MAX);
        !link.damaged && self.now().as_millis().saturating_sub(link.seen_at_ms) < grace_ms / 4
    }

    pub(crate) async fn mark_damaged(&self, keys: &RepositoryKeys, digest: &Digest) {
        let Ok(Some(link)) = self.metadata.link(keys, digest).await else { return };
        let key = keys.blob(digest);
        let row = LinkRow { damaged: true, ..link.row };
        // A lost race is fine: whoever was faster knows more. The blob reads as absent either way.
        match self.metadata.store.txn(Txn::new().require(&key, link.revision).put(&key, encode(&row))).await {
            Ok(_) | Err(TxnError::Conflict { .. }) => {}
            Err(error) => tracing::warn!(%digest, %error, "a damaged blob could not be marked"),
        }
    }

    /// The error for a blob without a link: the repository may be what is missing.
    async fn blob_missing<T>(&self, keys: &RepositoryKeys, digest: &Digest) -> Result<T, RegistryError> {
        self.metadata.repository(keys).await?;
        Err(RegistryError::BlobUnknown(digest.clone()))
    }

    pub(crate) fn upload_error(&self, keys: &RepositoryKeys, id: &str, error: BlobError) -> RegistryError {
        match error {
            BlobError::UploadUnknown => RegistryError::upload_not_found(keys.scope(), keys.name(), id),
            BlobError::UploadBusy => RegistryError::upload_range(keys.scope(), keys.name(), id, 0),
            other => other.into(),
        }
    }
}

/// What came of an attempt to remove a link.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unlink {
    /// It is gone.
    Done,
    /// A manifest refers to it.
    InUse,
    /// Somebody changed it meanwhile.
    Changed,
}
