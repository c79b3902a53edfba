//! Takes away what nobody needs: idle uploads, links no image uses, files no repository links. And reads what is
//! there from time to time, so that damage is noticed before somebody pulls it.
//!
//! Pushes go on meanwhile. What keeps them safe:
//! * nothing is taken that somebody was told about within the grace period (`LinkRow::seen_at_ms`, the file's age);
//! * a link is removed by the steps of `Registry::try_unlink`, which a push that begins to use the blob interrupts;
//! * a file is removed under its digest's commit lock, after no holder was found. Commits hold the same lock from
//!   before the file gets its name until its link is durable;
//! * a holder row is removed only while there is neither link nor image: both write it anew in their transaction.
//!
//! A crash at any point leaves something for the next pass, never a link to a missing file.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::future::join_all;
use gantry_store::{KeyRange, Txn, TxnError};
use serde::{Deserialize, Serialize};

use crate::blobs::{BlobError, BlobStat};
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::layers::Unlink;
use crate::metadata::{RepositoryKeys, holders_prefix, parse_holder};
use crate::registry::Registry;

/// Blobs looked at between two pauses.
const BLOBS_AT_A_TIME: usize = 100;
/// Blobs worked on at the same time: each takes several transactions one after the other, which wait for the disk
/// together with those of other blobs.
const BLOBS_AT_ONCE: usize = 16;
/// The pause: a pass over a million blobs takes minutes and leaves the store to the requests.
const PAUSE: Duration = Duration::from_millis(10);
/// Time between two passes of the collector.
pub(crate) const COLLECT_EVERY: Duration = Duration::from_secs(60 * 60);
/// Time between two passes of the scrubber, and how fast it reads.
const SCRUB_EVERY: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const SCRUB_BYTES_PER_SECOND: u64 = 32 * 1024 * 1024;

/// What a pass took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// Idle uploads.
    pub uploads: usize,
    /// Links of blobs that no image of their repository uses.
    pub links: usize,
    /// Files.
    pub blobs: usize,
    /// Bytes of those files.
    pub bytes: u64,
}

impl Collected {
    /// Both together.
    fn and(self, other: Self) -> Self {
        Self {
            uploads: self.uploads + other.uploads,
            links: self.links + other.links,
            blobs: self.blobs + other.blobs,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// Whether to take away or only to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// What nobody needs is removed.
    Removing,
    /// What would be removed is counted.
    Looking,
}

/// A step of a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectedPage {
    /// What it took away, or would have.
    pub collected: Collected,
    /// Where the next step begins; none at the end.
    pub next: Option<Digest>,
}

impl Registry {
    /// Collects and scrubs until the future is dropped. Spawned once beside the server.
    pub async fn housekeeping(&self) {
        let mut next_scrub = tokio::time::Instant::now() + SCRUB_EVERY;
        loop {
            tokio::time::sleep(COLLECT_EVERY).await;
            match self.collect().await {
                Ok(collected) if collected != Collected::default() => tracing::info!(?collected, "registry collected"),
                Ok(_) => {}
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "registry collection failed"),
            }
            if tokio::time::Instant::now() >= next_scrub {
                if let Err(error) = self.scrub().await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "scrubbing the registry failed");
                }
                next_scrub = tokio::time::Instant::now() + SCRUB_EVERY;
            }
        }
    }

    /// One pass over all uploads and blobs.
    pub async fn collect(&self) -> Result<Collected, RegistryError> {
        let uploads = self.blobs.uploads_expire(self.config.upload_idle).await?;
        let mut collected = Collected { uploads, ..Collected::default() };
        let mut after: Option<Digest> = None;
        loop {
            let page = self.collect_page(after.as_ref(), Doing::Removing).await?;
            collected = collected.and(page.collected);
            let Some(next) = page.next else { return Ok(collected) };
            after = Some(next);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Goes over some blobs after `after`: the step of a pass, and what an operator asks for.
    pub async fn collect_page(&self, after: Option<&Digest>, doing: Doing) -> Result<CollectedPage, RegistryError> {
        let page = self.blobs.list(after, BLOBS_AT_A_TIME).await?;
        let mut collected = Collected::default();
        for blobs in page.chunks(BLOBS_AT_ONCE) {
            for one in join_all(blobs.iter().map(|blob| self.weigh(blob, doing))).await {
                collected = collected.and(one?);
            }
        }
        Ok(CollectedPage { collected, next: page.last().map(|last| last.digest.clone()) })
    }

    async fn weigh(&self, blob: &BlobStat, doing: Doing) -> Result<Collected, RegistryError> {
        match doing {
            Doing::Removing => self.collect_blob(blob).await,
            Doing::Looking => self.would_collect_blob(blob).await,
        }
    }

    /// Reads every blob and sets damaged ones aside, slowly. Returns how many there were.
    pub async fn scrub(&self) -> Result<usize, RegistryError> {
        let (mut damaged, mut after) = (0, None::<Digest>);
        loop {
            let page = self.blobs.list(after.as_ref(), BLOBS_AT_A_TIME).await?;
            let Some(last) = page.last() else { return Ok(damaged) };
            after = Some(last.digest.clone());
            for blob in &page {
                damaged += usize::from(!self.blob_verify(&blob.digest).await?);
                let millis = blob.size.saturating_mul(1000) / SCRUB_BYTES_PER_SECOND;
                tokio::time::sleep(Duration::from_millis(millis)).await;
            }
        }
    }

    /// Reads a blob; false when it is damaged, and then it counts as absent until it is pushed again.
    pub(crate) async fn blob_verify(&self, digest: &Digest) -> Result<bool, RegistryError> {
        match self.blobs.verify(digest).await {
            Err(BlobError::Damaged(digest)) => {
                for holder in self.holders(&digest).await? {
                    self.mark_damaged(&holder, &digest).await;
                }
                Ok(false)
            }
            // Deleted meanwhile.
            Err(BlobError::Unknown(_)) => Ok(true),
            other => Ok(other.map(|()| true)?),
        }
    }

    /// What [`Self::collect_blob`] would take, going by what is there now.
    async fn would_collect_blob(&self, blob: &BlobStat) -> Result<Collected, RegistryError> {
        let mut collected = Collected::default();
        let committed_ms = blob.committed_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        if !self.is_past_grace(i64::try_from(committed_ms).unwrap_or(i64::MAX)) {
            return Ok(collected);
        }
        let mut needed = false;
        for holder in self.holders(&blob.digest).await? {
            let unused = self.metadata.users(&holder, &blob.digest, 1).await?.is_empty();
            match self.metadata.link(&holder, &blob.digest).await? {
                Some(link) if unused && self.is_past_grace(link.row.seen_at_ms) => collected.links += 1,
                Some(_) => needed = true,
                None => {}
            }
            needed |= self.metadata.image(&holder, &blob.digest).await?.is_some();
        }
        if !needed {
            collected.blobs += 1;
            collected.bytes += blob.size;
        }
        Ok(collected)
    }

    async fn collect_blob(&self, blob: &BlobStat) -> Result<Collected, RegistryError> {
        let mut collected = Collected::default();
        let committed_ms = blob.committed_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        if !self.is_past_grace(i64::try_from(committed_ms).unwrap_or(i64::MAX)) {
            return Ok(collected);
        }
        for holder in self.holders(&blob.digest).await? {
            collected.links += usize::from(self.collect_link(&holder, &blob.digest).await?);
            self.forget_holder(&holder, &blob.digest).await?;
        }
        if self.remove_unlinked(&blob.digest).await? {
            collected.blobs += 1;
            collected.bytes += blob.size;
        }
        Ok(collected)
    }

    /// Removes a file that nobody links; whether it did. The work goes on when nobody waits for it any more: the lock
    /// must not be free before a removal that the disk has been told of is done.
    async fn remove_unlinked(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let Some(removing) = self.commits.try_removing(digest).await else { return Ok(false) };
        let (store, blobs, digest) = (self.metadata.store.clone(), Arc::clone(&self.blobs), digest.clone());
        let removal = tokio::spawn(async move {
            let _removing = removing;
            let unlinked = store.range(&holders_prefix(&digest), 1).await?.kvs.is_empty();
            Ok(unlinked && blobs.delete(&digest).await?)
        });
        removal.await.map_err(|stopped| BlobError::io("removing a blob")(stopped.into()))?
    }

    /// Removes a link that is past its grace and used by no image.
    async fn collect_link(&self, keys: &RepositoryKeys, digest: &Digest) -> Result<bool, RegistryError> {
        match self.metadata.link(keys, digest).await? {
            Some(link) if self.is_past_grace(link.row.seen_at_ms) => {
                Ok(self.try_unlink(keys, digest, link).await? == Unlink::Done)
            }
            _ => Ok(false),
        }
    }

    /// Removes a holder row that speaks of neither a link nor an image.
    async fn forget_holder(&self, keys: &RepositoryKeys, digest: &Digest) -> Result<(), RegistryError> {
        let txn =
            Txn::new().require_absent(keys.blob(digest)).require_absent(keys.image(digest)).delete(keys.holder(digest));
        match self.metadata.store.txn(txn).await {
            Ok(_) | Err(TxnError::Conflict { .. }) => Ok(()),
            Err(TxnError::Store(error)) => Err(error.into()),
        }
    }

    /// The repositories that may hold a blob.
    pub(crate) async fn holders(&self, digest: &Digest) -> Result<Vec<RepositoryKeys>, RegistryError> {
        let prefix = holders_prefix(digest);
        let (mut holders, mut range) = (Vec::new(), KeyRange::prefix(&prefix));
        loop {
            let page = self.metadata.store.range(range, 0).await?;
            holders.extend(page.kvs.iter().filter_map(|kv| parse_holder(kv.key.strip_prefix(&prefix)?)));
            match page.kvs.last() {
                Some(last) if page.more => range = KeyRange::prefix(&prefix).after(&last.key),
                _ => return Ok(holders),
            }
        }
    }

    fn is_past_grace(&self, since_ms: i64) -> bool {
        let grace_ms = i64::try_from(self.config.grace.as_millis()).unwrap_or(i64::MAX);
        self.now().as_millis().saturating_sub(since_ms) >= grace_ms
    }
}
