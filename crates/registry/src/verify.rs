//! Whether the registry is whole: every row is about something that is there, and every blob has the bytes its name
//! promises.
//!
//! The check goes over the rows first, then over the blobs, some seconds at a time: each call takes up where the
//! last one ended, so that nothing waits long and a client sees it go on. Pushes and the collector go on meanwhile.
//! What looks wrong is looked at again before it is reported, because a transaction may have come between two reads.

use std::time::{Duration, UNIX_EPOCH};

use gantry_store::{KeyRange, KeyValue};
use serde::{Deserialize, Serialize};

use crate::blobs::{BlobError, BlobStat};
use crate::collect::COLLECT_EVERY;
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::images::FoundImage;
use crate::manifest::{Manifest, ReferenceKind};
use crate::metadata::{ParsedKey, Read, RepositoryKeys, RowKind, parse_row_key, rows_prefix};
use crate::name::Tag;
use crate::registry::Registry;

/// After this time a call answers with what it has.
const CALL_TIME: Duration = Duration::from_secs(2);
const ROWS_AT_A_TIME: usize = 500;
const BLOBS_AT_A_TIME: usize = 100;
/// What looks wrong this often, with a pause between, is wrong.
const LOOKS: usize = 3;
const PAUSE_BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// What was gone over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Repositories of all accounts and regions.
    pub repositories: u64,
    /// Manifests in them.
    pub images: u64,
    /// Tags.
    pub tags: u64,
    /// Blobs that repositories hold; one in two repositories counts twice.
    pub links: u64,
    /// Blobs in the content store.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs no repository holds, which the collector will remove.
    pub unlinked: u64,
}

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What it is about: `ACCOUNT/REGION/REPOSITORY@DIGEST`, `…:TAG`, or a digest.
    pub subject: String,
    /// What is wrong, as the end of a sentence that begins with the subject.
    pub problem: String,
}

/// One call's share of the check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyPage {
    /// What this call went over.
    pub counts: Counts,
    /// What it found.
    pub problems: Vec<Problem>,
    /// Where the next call begins; none at the end.
    pub next: Option<String>,
}

/// How blobs are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Every byte is read and hashed.
    Contents,
    /// Only presence and length.
    Sizes,
}

/// Where a call begins.
enum Cursor {
    Rows(Option<String>),
    Blobs(Option<Digest>),
}

impl Cursor {
    fn parse(text: Option<&str>) -> Result<Self, RegistryError> {
        let invalid = RegistryError::BadRequest("the position to continue from is not one that was given");
        match text.map(|text| text.split_once(' ').unwrap_or((text, ""))) {
            None => Ok(Self::Rows(None)),
            Some(("rows", key)) => Ok(Self::Rows(Some(key.to_owned()))),
            Some(("blobs", "")) => Ok(Self::Blobs(None)),
            Some(("blobs", digest)) => digest.parse().map(Some).map(Self::Blobs).map_err(|_| invalid),
            Some(_) => Err(invalid),
        }
    }
}

impl Registry {
    /// Checks some of the registry, from where `after` says.
    pub async fn verify(&self, after: Option<&str>, depth: Depth) -> Result<VerifyPage, RegistryError> {
        let mut page = VerifyPage::default();
        page.next = match Cursor::parse(after)? {
            Cursor::Rows(after) => self.verify_rows(after, &mut page).await?,
            Cursor::Blobs(after) => self.verify_blobs(after, depth, &mut page).await?,
        };
        Ok(page)
    }

    async fn verify_rows(&self, after: Option<String>, page: &mut VerifyPage) -> Result<Option<String>, RegistryError> {
        let begun = tokio::time::Instant::now();
        let mut range = KeyRange::prefix(rows_prefix());
        if let Some(after) = after {
            range = range.after(&after);
        }
        loop {
            let found = self.metadata.store.range(range, ROWS_AT_A_TIME).await?;
            for kv in &found.kvs {
                self.verify_row(kv, page).await?;
            }
            match found.kvs.last() {
                Some(last) if found.more && begun.elapsed() >= CALL_TIME => {
                    return Ok(Some(format!("rows {}", last.key)));
                }
                Some(last) if found.more => range = KeyRange::prefix(rows_prefix()).after(&last.key),
                _ => return Ok(Some("blobs ".to_owned())),
            }
        }
    }

    async fn verify_row(&self, kv: &KeyValue, page: &mut VerifyPage) -> Result<(), RegistryError> {
        // Rows of other kinds are nothing that could dangle.
        let Some(key) = parse_row_key(&kv.key) else { return Ok(()) };
        match key.kind {
            RowKind::Repository => page.counts.repositories += 1,
            RowKind::Image(_) => page.counts.images += 1,
            RowKind::Tag(_) => page.counts.tags += 1,
            RowKind::Link(_) => page.counts.links += 1,
            RowKind::Use { .. } | RowKind::Referrer { .. } => {}
        }
        let mut problems = Vec::new();
        for look in 0..LOOKS {
            if look > 0 {
                tokio::time::sleep(PAUSE_BETWEEN_LOOKS).await;
            }
            problems = self.look_at(&key, &kv.key).await?;
            if problems.is_empty() {
                return Ok(());
            }
        }
        let subject = key.to_string();
        page.problems.extend(problems.into_iter().map(|problem| Problem { subject: subject.clone(), problem }));
        Ok(())
    }

    /// What is wrong with a row now.
    async fn look_at(&self, key: &ParsedKey, text: &str) -> Result<Vec<String>, RegistryError> {
        if self.metadata.store.get(text).await?.is_none() {
            return Ok(Vec::new());
        }
        let keys = &key.repository;
        if self.metadata.store.get(&keys.repository()).await?.is_none() {
            return Ok(vec!["is of a repository that does not exist".to_owned()]);
        }
        match &key.kind {
            RowKind::Repository => Ok(Vec::new()),
            RowKind::Image(digest) => self.look_at_image(keys, digest).await,
            RowKind::Tag(tag) => self.look_at_tag(keys, tag).await,
            RowKind::Link(digest) => self.look_at_link(keys, digest).await,
            RowKind::Use { by, .. } | RowKind::Referrer { by, .. } => {
                let there = self.metadata.image(keys, by).await?.is_some();
                Ok(if there { Vec::new() } else { vec![format!("is said to be referred to by {by}, which is gone")] })
            }
        }
    }

    async fn look_at_image(&self, keys: &RepositoryKeys, digest: &Digest) -> Result<Vec<String>, RegistryError> {
        let Some(Read { row, revision }) = self.metadata.image(keys, digest).await? else { return Ok(Vec::new()) };
        let image = FoundImage { digest: digest.clone(), row, revision };
        let bytes = match self.manifest_bytes(&image).await {
            Ok(bytes) => bytes,
            Err(RegistryError::BlobUnknown(_)) => return Ok(vec!["has no readable manifest".to_owned()]),
            Err(error) => return Err(error),
        };
        let Ok(manifest) = Manifest::parse(&bytes, Some(&image.row.media_type)) else {
            return Ok(vec!["has a manifest that makes no sense".to_owned()]);
        };
        let mut problems = Vec::new();
        for (reference, (kind, size)) in manifest.references() {
            let stored = match kind {
                ReferenceKind::Blob => self.usable_link(keys, reference).await?.map(|link| link.row.size),
                ReferenceKind::Manifest => {
                    self.metadata.image(keys, reference).await?.map(|image| image.row.manifest_size)
                }
            };
            match stored {
                None => problems.push(format!("needs {reference}, which is not there")),
                Some(stored) if stored != size => {
                    problems.push(format!("needs {reference} of {size} bytes, which has {stored}"))
                }
                Some(_) => {}
            }
            if self.metadata.store.get(&keys.used_by(reference, digest)).await?.is_none() {
                problems.push(format!("is not recorded as a user of {reference}"));
            }
        }
        for tag in &image.row.tags {
            if self.metadata.tag(keys, tag).await?.is_none_or(|pointer| pointer.row.digest != *digest) {
                problems.push(format!("claims the tag {tag}, which does not point at it"));
            }
        }
        if let Some(subject) = &image.row.subject
            && self.metadata.referrer(keys, subject, digest).await?.is_none()
        {
            problems.push(format!("is not listed as a referrer of {subject}"));
        }
        if self.metadata.store.get(&keys.holder(digest)).await?.is_none() {
            problems.push("is not protected from the collector".to_owned());
        }
        Ok(problems)
    }

    async fn look_at_tag(&self, keys: &RepositoryKeys, tag: &Tag) -> Result<Vec<String>, RegistryError> {
        let Some(pointer) = self.metadata.tag(keys, tag).await? else { return Ok(Vec::new()) };
        let digest = pointer.row.digest;
        Ok(match self.metadata.image(keys, &digest).await? {
            None => vec![format!("points at {digest}, which is not there")],
            Some(image) if !image.row.tags.contains(tag) => vec![format!("points at {digest}, which does not know it")],
            Some(_) => Vec::new(),
        })
    }

    async fn look_at_link(&self, keys: &RepositoryKeys, digest: &Digest) -> Result<Vec<String>, RegistryError> {
        let Some(link) = self.metadata.link(keys, digest).await? else { return Ok(Vec::new()) };
        if link.row.damaged {
            // Until somebody pushes it again it counts as absent; images that need it say so themselves.
            return Ok(vec!["was found damaged or lost and must be pushed again".to_owned()]);
        }
        let mut problems = Vec::new();
        match self.blobs.stat(digest).await {
            Ok(stat) if stat.size == link.row.size => {}
            Ok(stat) => problems.push(format!("has {} bytes in the content store, not {}", stat.size, link.row.size)),
            Err(BlobError::Unknown(_)) => problems.push("is not in the content store".to_owned()),
            Err(error) => return Err(error.into()),
        }
        if self.metadata.store.get(&keys.holder(digest)).await?.is_none() {
            problems.push("is not protected from the collector".to_owned());
        }
        Ok(problems)
    }

    async fn verify_blobs(
        &self,
        mut after: Option<Digest>,
        depth: Depth,
        page: &mut VerifyPage,
    ) -> Result<Option<String>, RegistryError> {
        let begun = tokio::time::Instant::now();
        loop {
            let blobs = self.blobs.list(after.as_ref(), BLOBS_AT_A_TIME).await?;
            if blobs.is_empty() {
                return Ok(None);
            }
            for blob in blobs {
                self.verify_blob(&blob, depth, page).await?;
                if begun.elapsed() >= CALL_TIME {
                    return Ok(Some(format!("blobs {}", blob.digest)));
                }
                after = Some(blob.digest);
            }
        }
    }

    async fn verify_blob(&self, blob: &BlobStat, depth: Depth, page: &mut VerifyPage) -> Result<(), RegistryError> {
        let digest = &blob.digest;
        page.counts.blobs += 1;
        page.counts.bytes += blob.size;
        if depth == Depth::Contents && !self.blob_verify(digest).await? {
            let problem = "does not have the content its digest promises; it was set aside".to_owned();
            page.problems.push(Problem { subject: digest.to_string(), problem });
        }
        if !self.is_held(digest).await? {
            page.counts.unlinked += 1;
            let committed_ms = blob.committed_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
            let overdue = self.config.grace + 2 * COLLECT_EVERY;
            let age_ms = self.now().as_millis().saturating_sub(i64::try_from(committed_ms).unwrap_or(i64::MAX));
            // The collector may take it between the list and this look.
            if u128::try_from(age_ms).unwrap_or(0) > overdue.as_millis() && self.blobs.stat(digest).await.is_ok() {
                let problem = "belongs to no repository and should have been collected".to_owned();
                page.problems.push(Problem { subject: digest.to_string(), problem });
            }
        }
        Ok(())
    }

    /// Whether any repository has the blob, as a link or as a manifest.
    async fn is_held(&self, digest: &Digest) -> Result<bool, RegistryError> {
        for keys in self.holders(digest).await? {
            if self.metadata.link(&keys, digest).await?.is_some() || self.metadata.image(&keys, digest).await?.is_some()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
