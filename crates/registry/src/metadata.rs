//! Repositories, images, tags and blob links in the store: the rows, their keys, and the reads and writes every other
//! module builds on.
//!
//! ```text
//! /ecr/ACCOUNT/REGION/repositories/NAME              RepositoryRow
//! /ecr/ACCOUNT/REGION/images/NAME:DIGEST             ImageRow: a manifest, and the tags that point at it
//! /ecr/ACCOUNT/REGION/repository-count               how many repositories there are (see `quotas`)
//! /ecr/ACCOUNT/REGION/image-counts/NAME:DIGIT        how many images have digests that begin with DIGIT
//! /ecr/ACCOUNT/REGION/tags/NAME:TAG                  TagRow
//! /ecr/ACCOUNT/REGION/blobs/NAME:DIGEST              LinkRow: the repository holds this blob
//! /ecr/ACCOUNT/REGION/uses/NAME:DIGEST/BY            the manifest BY refers to the blob or manifest DIGEST
//! /ecr/ACCOUNT/REGION/referrers/NAME:SUBJECT/DIGEST  ReferrerRow: DIGEST says SUBJECT is its subject
//! /ecr/ACCOUNT/REGION/upstream/NAME:TAG              CheckedRow: when the upstream was asked (see `pull_through`)
//! /ecr/ACCOUNT/REGION/upstream-referrers/NAME:DIGEST what the upstream knows to be about an image (the same)
//! /ecr/ACCOUNT/REGION/pull-through-rules/PREFIX       RuleRow (see `pull_through`)
//! /ecr/ACCOUNT/REGION/replicated/NAME:DIGEST/PLACE   StatusRow: how far replication to PLACE is (see `replication`)
//! /ecr/ACCOUNT/REGION/replication-configuration      ReplicationRow
//! /ecr/ACCOUNT/REGION/backfills-running              which backfills run, by region
//! /ecr/ACCOUNT/REGION/backfill-results/ID/…          ResultRow: what came of one image and tag
//! /ecr/backfills/ACCOUNT/REGION/ID                   BackfillRow
//! /ecr/replication/ACCOUNT/REGION/NAME:REVISION/PLACE  WorkRow: what is to be done at a destination
//! /ecr/ACCOUNT/REGION/templates/PREFIX                TemplateRow (see `templates`)
//! /ecr/ACCOUNT/REGION/policies/NAME:                 PolicyRow: of the repository (see `policies`)
//! /ecr/ACCOUNT/REGION/registry-policy                PolicyRow: of the registry
//! /ecr/ACCOUNT/REGION/history/NAME:TAG/NUMBER        HistoryRow: where the tag pointed, see `history`
//! /ecr/changes/ACCOUNT/REGION/NAME:ID                what the handlers of changes have not all seen, see `changes`
//! /ecr/ACCOUNT/REGION/signing                        which images are signed (see `signing`)
//! /ecr/ACCOUNT/REGION/signings/NAME:DIGEST/PROFILE   how far the signing of an image is
//! /ecr/sign/ACCOUNT/REGION/NAME:DIGEST               an image that waits to be signed
//! /ecr/ACCOUNT/REGION/settings/NAME                 what was configured for the registry, by what it is about
//! /ecr/scans/ACCOUNT/REGION/NAME:DIGEST              ScanRow: how the scan of an image went
//! /ecr/scan-queue/ACCOUNT/REGION/NAME:DIGEST         a scan that has not ended
//! /ecr/findings/…/NAME:DIGEST/ROUND/LAST             findings of a scan, a page at a time, compressed
//! /ecr/inventories/…/NAME:DIGEST/ROUND/NUMBER        what is installed in an image, in pieces, compressed
//! /ecr/holders/DIGEST/ACCOUNT/REGION/NAME            a hint for the collector: this repository may hold DIGEST
//! ```
//!
//! A repository's name never contains `:`, so `NAME:` is a prefix of its own rows and nobody else's. Every request
//! touches a bounded number of rows; nothing here scans more than one page.
//!
//! Invariants, kept by compare-and-set:
//! * a tag row and the tag set of its image change together;
//! * an image is only there while every blob it needs is linked (see `collect` for the other side of this);
//! * rows of a repository are only written while the repository row is the one that was read.

mod keys;
mod rows;

use bytes::Bytes;
use gantry_domain::arn::Scope;
use gantry_store::{KeyRange, KeyValue, Revision, Store};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use keys::RepositoryKeys;
pub(crate) use keys::{
    BACKFILLS, CHANGES_PREFIX, LIFECYCLE_PREFIX, PREVIEWS_PREFIX, REPLICATION_WORK, SCAN_QUEUE_PREFIX, SCANS_PREFIX,
    TO_PREPARE_PREFIX, TO_SIGN_PREFIX, backfill_key, backfill_results, backfills_prefix, backfills_running_key,
    change_lane, holders_prefix, parse_backfill, parse_change, parse_holder, parse_replication_work, parse_scanned,
    parse_to_prepare, parse_to_sign, planned_at, registry_policy_key, replication_key, repositories_prefix,
    repository_count_key, rule_key, rules_prefix, setting_key, signing_configuration_key, template_key,
    templates_prefix,
};
pub(crate) use keys::{ParsedKey, RowKind, parse_row_key, rows_prefix};
pub use rows::{ImageRow, LinkRow, ReferrerRow, RepositoryRow, TagRow};

use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::history::HistoryRow;
use crate::images::FoundImage;
use crate::name::{RepositoryName, Tag};

/// How often a transaction is planned again before the request is refused. Each conflict means that somebody else
/// succeeded, so even a crowd pushing one tag gets through.
pub(crate) const ATTEMPTS_MAX: usize = 64;

/// A row and the revision it was read at, to be named in the transaction that builds on it.
#[derive(Debug, Clone)]
pub struct Read<T> {
    /// The row.
    pub row: T,
    /// The transaction that wrote it.
    pub revision: Revision,
}

/// The store, as rows.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// Where transactions go.
    pub store: Store,
}

impl Metadata {
    /// Rows in `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// A repository, or the error that says it is not there.
    pub async fn repository(&self, keys: &RepositoryKeys) -> Result<Read<RepositoryRow>, RegistryError> {
        let found = self.get(&keys.repository()).await?;
        found.ok_or_else(|| RegistryError::repository_not_found(keys.scope(), keys.name()))
    }

    /// Repositories in the order of their names, after `after`; and whether there are more.
    pub async fn repositories(
        &self,
        scope: &Scope,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<(RepositoryName, RepositoryRow)>, bool), RegistryError> {
        self.page(&repositories_prefix(scope), after, limit, |name| name.parse().ok()).await
    }

    /// An image by digest.
    pub async fn image(&self, keys: &RepositoryKeys, digest: &Digest) -> Result<Option<Read<ImageRow>>, RegistryError> {
        self.get(&keys.image(digest)).await
    }

    /// Images in the order of their digests.
    pub async fn images(
        &self,
        keys: &RepositoryKeys,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<(Digest, ImageRow)>, bool), RegistryError> {
        self.page(&keys.images(), after, limit, |digest| digest.parse().ok()).await
    }

    /// The same, with what a transaction must name.
    pub(crate) async fn images_found(
        &self,
        keys: &RepositoryKeys,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<(Vec<FoundImage>, bool), RegistryError> {
        let prefix = keys.images();
        let mut range = KeyRange::prefix(&prefix);
        if let Some(after) = after {
            range = range.after(&keys.image(after));
        }
        let found = self.store.range(range, limit.max(1)).await?;
        let image = |kv: &KeyValue| -> Option<Result<FoundImage, RegistryError>> {
            let digest = kv.key.strip_prefix(&prefix)?.parse().ok()?;
            Some(decode(kv).map(|row| FoundImage { digest, row, revision: kv.mod_revision }))
        };
        let images = found.kvs.iter().filter_map(image).collect::<Result<_, _>>()?;
        Ok((images, found.more))
    }

    /// What a tag points at.
    pub async fn tag(&self, keys: &RepositoryKeys, tag: &Tag) -> Result<Option<Read<TagRow>>, RegistryError> {
        self.get(&keys.tag(tag)).await
    }

    /// Tags in byte order.
    pub async fn tags(
        &self,
        keys: &RepositoryKeys,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<(Tag, TagRow)>, bool), RegistryError> {
        self.page(&keys.tags(), after, limit, |tag| tag.parse().ok()).await
    }

    /// Entries of histories whose keys begin with `prefix`, with the rest of the key, after `after`.
    pub(crate) async fn history(
        &self,
        keys: &RepositoryKeys,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<(String, HistoryRow)>, bool), RegistryError> {
        self.page(&format!("{}{prefix}", keys.history()), after, limit, |key| Some(key.to_owned())).await
    }

    /// The number of the last entry of a tag's history; 0 when there is none.
    pub(crate) async fn history_length(&self, keys: &RepositoryKeys, tag: &Tag) -> Result<u64, RegistryError> {
        let prefix = keys.tag_history(tag);
        // Bounded: an entry more than there may be takes the oldest away.
        let found = self.store.range(&prefix, 0).await?;
        let last = found.kvs.last().and_then(|kv| kv.key.strip_prefix(&prefix)?.parse().ok());
        Ok(last.unwrap_or_default())
    }

    /// A repository's hold on a blob. A damaged blob counts as absent.
    pub async fn link(&self, keys: &RepositoryKeys, digest: &Digest) -> Result<Option<Read<LinkRow>>, RegistryError> {
        self.get(&keys.blob(digest)).await
    }

    /// Manifests that name `subject` as theirs, in the order of their digests.
    pub async fn referrers(
        &self,
        keys: &RepositoryKeys,
        subject: &Digest,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<(Digest, ReferrerRow)>, bool), RegistryError> {
        self.page(&keys.referrers(subject), after, limit, |digest| digest.parse().ok()).await
    }

    /// What is known of `digest` as a manifest that names `subject` as its own.
    pub async fn referrer(
        &self,
        keys: &RepositoryKeys,
        subject: &Digest,
        digest: &Digest,
    ) -> Result<Option<Read<ReferrerRow>>, RegistryError> {
        self.get(&keys.referrer(subject, digest)).await
    }

    /// The manifests that refer to `digest`, at most `limit`. A reference whose manifest is gone does not count: it
    /// may be left behind when a damaged manifest is deleted.
    pub async fn users(
        &self,
        keys: &RepositoryKeys,
        digest: &Digest,
        limit: usize,
    ) -> Result<Vec<Digest>, RegistryError> {
        let prefix = keys.uses(digest);
        let mut users = Vec::new();
        let mut after = None;
        loop {
            let (page, more): (Vec<(Digest, serde::de::IgnoredAny)>, bool) =
                self.page(&prefix, after.as_deref(), 100, |by| by.parse().ok()).await?;
            after = page.last().map(|(by, _)| by.to_string());
            for (by, _) in page {
                if self.image(keys, &by).await?.is_some() {
                    users.push(by);
                }
                if users.len() == limit {
                    return Ok(users);
                }
            }
            if !more || after.is_none() {
                return Ok(users);
            }
        }
    }

    /// One row.
    pub(crate) async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Read<T>>, RegistryError> {
        let Some(found) = self.store.get(key).await? else { return Ok(None) };
        Ok(Some(Read { row: decode(&found)?, revision: found.mod_revision }))
    }

    /// Rows whose keys begin with `prefix`, after the one that ends with `after`; and whether there are more.
    pub(crate) async fn page<K, T: DeserializeOwned>(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        key: impl Fn(&str) -> Option<K>,
    ) -> Result<(Vec<(K, T)>, bool), RegistryError> {
        let mut range = KeyRange::prefix(prefix);
        if let Some(after) = after {
            range = range.after(&format!("{prefix}{after}"));
        }
        let found = self.store.range(range, limit.max(1)).await?;
        let mut rows = Vec::with_capacity(found.kvs.len());
        for kv in &found.kvs {
            if let Some(key) = kv.key.strip_prefix(prefix).and_then(&key) {
                rows.push((key, decode(kv)?));
            }
        }
        Ok((rows, found.more))
    }
}

pub(crate) fn decode<T: DeserializeOwned>(kv: &KeyValue) -> Result<T, RegistryError> {
    serde_json::from_slice(&kv.value).map_err(|source| RegistryError::Row { key: kv.key.to_string(), source })
}

/// A row as it is stored.
pub(crate) fn encode(row: &impl Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(row).expect("rows have string keys and no failing serializers"))
}
