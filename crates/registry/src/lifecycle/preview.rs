//! Previews: what a policy would do, image by image, without doing it.
//!
//! A preview is asked for in one transaction and made in the background. One that a crash interrupted is made again.
//! Results are kept for a day.

use gantry_domain::lifecycle::{Action, Evaluation, Policy, StorageClass, Verdict};
use gantry_store::{KeyRange, Txn, TxnError};
use serde::{Deserialize, Serialize};

use super::run::{KEPT_NAMED_MAX, Kept, PAGE};
use super::{InUse, KeptBecause, facts, parse};
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::images::FoundImage;
use crate::metadata::{ATTEMPTS_MAX, PREVIEWS_PREFIX, Read, RepositoryKeys, encode, parse_holder};
use crate::name::Tag;
use crate::registry::Registry;

/// How long results are kept.
const KEPT_MS: i64 = 24 * 60 * 60 * 1000;
/// Results written in one transaction.
const RESULTS_PER_TXN: usize = 200;
/// Lists of lists that are looked at to tell whether an image is needed.
const LIST_DEPTH_MAX: usize = 4;
/// Lists that need one image and are looked at.
const PARENTS_MAX: usize = 100;

/// The state of a preview.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PreviewStatus {
    /// Asked for, and not complete.
    InProgress,
    /// All results are there.
    Complete,
    /// It could not be made.
    Failed,
    /// The results are gone.
    Expired,
}

/// A preview as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewRow {
    /// The policy that is tried.
    pub text: String,
    /// How far it is.
    pub status: PreviewStatus,
    /// When it was asked for or, once it is complete, completed.
    pub at_ms: i64,
    /// Images that would be deleted.
    #[serde(default)]
    pub expiring: u32,
    /// Images that would be archived.
    #[serde(default)]
    pub archiving: u32,
    /// The first images that rules say should go and that would be kept.
    #[serde(default)]
    pub kept: Vec<Kept>,
}

/// What a policy would do with one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultRow {
    /// Its tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// When it was pushed.
    pub pushed_at_ms: i64,
    /// Whether it would be archived; deleted otherwise.
    #[serde(default)]
    pub archive: bool,
    /// The rule that decides.
    pub priority: i32,
    /// Whether the image is archived.
    #[serde(default)]
    pub archived: bool,
}

impl Registry {
    /// Asks for a preview of `text` or, without one, of the repository's policy.
    pub async fn preview_start(&self, keys: &RepositoryKeys, text: Option<&str>) -> Result<PreviewRow, RegistryError> {
        let text = match text {
            Some(text) => self.lifecycle_row(text)?.text,
            None => self.lifecycle(keys).await?.text,
        };
        let key = keys.preview();
        for _ in 0..ATTEMPTS_MAX {
            self.metadata.repository(keys).await?;
            let last: Option<Read<PreviewRow>> = self.metadata.get(&key).await?;
            if last.as_ref().is_some_and(|last| last.row.status == PreviewStatus::InProgress) {
                return Err(RegistryError::PreviewInProgress {
                    name: keys.name().to_string(),
                    registry: keys.scope().account.clone(),
                });
            }
            let row = PreviewRow {
                text: text.clone(),
                status: PreviewStatus::InProgress,
                at_ms: self.now().as_millis(),
                expiring: 0,
                archiving: 0,
                kept: Vec::new(),
            };
            let txn = Txn::new()
                .require_exists(keys.repository())
                .require(&key, last.map_or(0, |last| last.revision))
                .put(&key, encode(&row))
                .delete_prefix(keys.preview_results());
            match self.metadata.store.txn(txn).await {
                Ok(_) => {
                    self.preview_wake.notify_one();
                    return Ok(row);
                }
                Err(TxnError::Conflict { .. }) => {}
                Err(TxnError::Store(error)) => return Err(error.into()),
            }
        }
        Err(RegistryError::Contention)
    }

    /// The last preview of a repository.
    pub async fn preview(&self, keys: &RepositoryKeys) -> Result<PreviewRow, RegistryError> {
        self.metadata.repository(keys).await?;
        let found: Option<Read<PreviewRow>> = self.metadata.get(&keys.preview()).await?;
        let mut row = found.map(|found| found.row).ok_or_else(|| RegistryError::PreviewNotFound {
            name: keys.name().to_string(),
            registry: keys.scope().account.clone(),
        })?;
        if self.is_over(&row) {
            row.status = PreviewStatus::Expired;
        }
        Ok(row)
    }

    /// Results in the order of digests.
    pub async fn preview_results(
        &self,
        keys: &RepositoryKeys,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<(Digest, ResultRow)>, bool), RegistryError> {
        self.metadata.page(&keys.preview_results(), after, limit, |digest| digest.parse().ok()).await
    }

    /// The result for one image; none when the policy would leave it alone.
    pub async fn preview_result(
        &self,
        keys: &RepositoryKeys,
        digest: &Digest,
    ) -> Result<Option<ResultRow>, RegistryError> {
        Ok(self.metadata.get(&keys.preview_result(digest)).await?.map(|found| found.row))
    }

    fn is_over(&self, row: &PreviewRow) -> bool {
        row.status != PreviewStatus::InProgress && self.now().as_millis().saturating_sub(row.at_ms) > KEPT_MS
    }

    /// Makes every preview that was asked for, and forgets the results of old ones.
    pub(super) async fn previews_work(&self) -> Result<(), RegistryError> {
        let mut range = KeyRange::prefix(PREVIEWS_PREFIX);
        loop {
            let page = self.metadata.store.range(range, PAGE).await?;
            for kv in &page.kvs {
                let Some(keys) = kv.key.strip_prefix(PREVIEWS_PREFIX).and_then(parse_holder) else { continue };
                let Some(read) = self.metadata.get::<PreviewRow>(&kv.key).await? else { continue };
                if read.row.status == PreviewStatus::InProgress {
                    self.preview_make(&keys, read).await?;
                } else if self.is_over(&read.row) && read.row.status != PreviewStatus::Expired {
                    self.preview_forget(&keys, read).await?;
                }
            }
            match page.kvs.last() {
                Some(last) if page.more => range = KeyRange::prefix(PREVIEWS_PREFIX).after(&last.key),
                _ => return Ok(()),
            }
        }
    }

    async fn preview_forget(&self, keys: &RepositoryKeys, read: Read<PreviewRow>) -> Result<(), RegistryError> {
        let row = PreviewRow { status: PreviewStatus::Expired, kept: Vec::new(), ..read.row };
        let key = keys.preview();
        let txn = Txn::new().require(&key, read.revision).put(&key, encode(&row));
        match self.metadata.store.txn(txn.delete_prefix(keys.preview_results())).await {
            Ok(_) | Err(TxnError::Conflict { .. }) => Ok(()),
            Err(TxnError::Store(error)) => Err(error.into()),
        }
    }

    async fn preview_make(&self, keys: &RepositoryKeys, read: Read<PreviewRow>) -> Result<(), RegistryError> {
        let mut row = read.row;
        row.status = match self.preview_fill(keys, &mut row).await {
            Ok(()) => PreviewStatus::Complete,
            Err(RegistryError::Contention) => return Ok(()),
            Err(error) => {
                tracing::warn!(repository = %keys.arn(), error = &error as &dyn std::error::Error, "lifecycle policy preview failed");
                PreviewStatus::Failed
            }
        };
        row.at_ms = self.now().as_millis();
        tracing::info!(repository = %keys.arn(), row.expiring, row.archiving, kept = ?row.kept, "lifecycle policy preview");
        let key = keys.preview();
        match self.metadata.store.txn(Txn::new().require(&key, read.revision).put(&key, encode(&row))).await {
            Ok(_) | Err(TxnError::Conflict { .. }) => Ok(()),
            Err(TxnError::Store(error)) => Err(error.into()),
        }
    }

    /// Writes the results; [`RegistryError::Contention`] when the repository went meanwhile.
    async fn preview_fill(&self, keys: &RepositoryKeys, row: &mut PreviewRow) -> Result<(), RegistryError> {
        let policy: Policy = parse(&row.text)?;
        let evaluation = self.evaluation(keys, &policy).await?;
        let in_use = self.images_in_use.in_use(keys);
        (row.expiring, row.archiving) = (0, 0);
        row.kept.clear();
        let (mut after, mut more) = (None, true);
        while more {
            let page;
            (page, more) = self.metadata.images_found(keys, after.as_ref(), PAGE).await?;
            after = page.last().map(|image| image.digest.clone());
            let mut results = Vec::new();
            for image in page {
                match self.would(keys, &evaluation, &in_use, &image).await? {
                    None => {}
                    Some(Err(because)) if row.kept.len() < KEPT_NAMED_MAX => {
                        row.kept.push(Kept { digest: image.digest, because });
                    }
                    Some(Err(_)) => {}
                    Some(Ok(verdict)) => {
                        match verdict.action {
                            Action::Expire => row.expiring += 1,
                            Action::Archive => row.archiving += 1,
                        }
                        results.push((keys.preview_result(&image.digest), encode(&result(image, verdict))));
                    }
                }
            }
            for some in results.chunks(RESULTS_PER_TXN) {
                let txn = Txn::new().require_exists(keys.repository());
                let txn = some.iter().fold(txn, |txn, (key, row)| txn.put(key, row.clone()));
                self.metadata.store.txn(txn).await?;
            }
        }
        Ok(())
    }

    /// What would happen to an image: nothing, what the policy decides, or nothing although it decides something.
    async fn would(
        &self,
        keys: &RepositoryKeys,
        evaluation: &Evaluation<'_>,
        in_use: &InUse,
        image: &FoundImage,
    ) -> Result<Option<Result<Verdict, KeptBecause>>, RegistryError> {
        let Some(verdict) = evaluation.verdict(&facts(image)) else { return Ok(None) };
        if self.goes_with_its_subject(keys, image).await? {
            return Ok(None);
        }
        if in_use.has(image) {
            return Ok(Some(Err(KeptBecause::UsedByRunningTask)));
        }
        // The lists above an image, a layer at a time; all of them must go.
        let mut layer = vec![image.digest.clone()];
        for _ in 0..LIST_DEPTH_MAX {
            let mut above = Vec::new();
            for digest in &layer {
                for parent in self.metadata.users(keys, digest, PARENTS_MAX).await? {
                    let Some(Read { row, revision }) = self.metadata.image(keys, &parent).await? else { continue };
                    let parent = FoundImage { digest: parent, row, revision };
                    if evaluation.verdict(&facts(&parent)).is_none() || in_use.has(&parent) {
                        return Ok(Some(Err(KeptBecause::NeededByManifestList)));
                    }
                    above.push(parent.digest);
                }
            }
            layer = above;
            if layer.is_empty() {
                return Ok(Some(Ok(verdict)));
            }
        }
        Ok(Some(Err(KeptBecause::NeededByManifestList)))
    }
}

fn result(image: FoundImage, verdict: Verdict) -> ResultRow {
    let archived = facts(&image).class == StorageClass::Archive;
    ResultRow {
        tags: image.row.tags.into_iter().collect(),
        pushed_at_ms: image.row.pushed_at_ms,
        archive: verdict.action == Action::Archive,
        priority: verdict.priority,
        archived,
    }
}
