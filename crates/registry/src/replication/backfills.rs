//! Backfills in the store, and the runner that works on them.
//!
//! A step counts a page of images or copies one image, and commits its results, the counters and the place it got to
//! in one transaction on the row as it was read: a crash repeats a step, and a stop that comes in between is heeded.

use std::time::Duration;

use gantry_domain::arn::Scope;
use gantry_store::{KeyRange, StoreError, Txn, TxnError, WatchError};
use serde::{Deserialize, Serialize};

use super::backfill::{BackfillRow, BackfillStatus, Cursor, HISTORY_MS, RUNNING_MAX, ResultRow};
use super::config::{Destination as Place, ReplicationRow};
use super::copy::{Copied, copy_image};
use super::destination::Local;
use super::{Status, StatusRow};
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::metadata::{
    ATTEMPTS_MAX, BACKFILLS, ImageRow, Read, RepositoryKeys, backfill_key, backfill_results, backfills_prefix,
    backfills_running_key, encode, parse_backfill,
};
use crate::name::{RepositoryName, Tag};
use crate::registry::Registry;

/// Images counted in one step.
const COUNTED_AT_ONCE: usize = 500;
/// How long to wait when a step could not be done.
const RETRY: Duration = Duration::from_secs(5);
/// How often to look without having been woken; then also what is too old is forgotten.
const SWEEP: Duration = Duration::from_secs(3600);

/// The backfills of a registry that run, by the region they copy to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct RunningRow {
    ids: std::collections::BTreeMap<String, String>,
}

impl Registry {
    /// Begins a backfill and returns its id.
    pub async fn backfill_start(
        &self,
        scope: &Scope,
        destination: &Place,
    ) -> Result<(String, BackfillRow), RegistryError> {
        if !self.replication(scope).await?.has(destination) {
            let text = "The destination is not part of the replication configuration of the registry.";
            return Err(RegistryError::Validation(text.to_owned()));
        }
        let running_key = backfills_running_key(scope);
        for _ in 0..ATTEMPTS_MAX {
            let running = self.metadata.get::<RunningRow>(&running_key).await?;
            let revision = running.as_ref().map_or(0, |running| running.revision);
            let mut running = running.map(|running| running.row).unwrap_or_default();
            if running.ids.contains_key(&destination.region) {
                return Err(RegistryError::BackfillInProgress(destination.region.clone()));
            }
            if running.ids.len() >= RUNNING_MAX {
                let text = format!(
                    "The maximum number of replication backfills in progress, {RUNNING_MAX}, has been reached."
                );
                return Err(RegistryError::LimitExceeded(text));
            }
            let now_ms = self.now().as_millis();
            // Ids in the order of time, so that lists are.
            let random = *uuid::Uuid::new_v4().as_bytes();
            let random: [u8; 10] = std::array::from_fn(|index| random[index]);
            let id = uuid::Builder::from_unix_timestamp_millis(now_ms.unsigned_abs(), &random).into_uuid().to_string();
            running.ids.insert(destination.region.clone(), id.clone());
            let row = BackfillRow::new(destination.clone(), now_ms);
            let key = backfill_key(scope, &id);
            let txn = Txn::new()
                .require(&running_key, revision)
                .require_absent(&key)
                .put(&running_key, encode(&running))
                .put(&key, encode(&row));
            match self.metadata.store.txn(txn).await {
                Ok(_) => return Ok((id, row)),
                Err(TxnError::Conflict { .. }) => {}
                Err(TxnError::Store(error)) => return Err(error.into()),
            }
        }
        Err(RegistryError::Contention)
    }

    /// Stops a backfill that is not yet at its end.
    pub async fn backfill_stop(&self, scope: &Scope, id: &str) -> Result<BackfillRow, RegistryError> {
        let key = backfill_key(scope, id);
        for _ in 0..ATTEMPTS_MAX {
            let Read { mut row, revision } = self.backfill_read(scope, id).await?;
            if !row.status.may_stop() {
                return Err(RegistryError::BackfillInvalidStatus(id.to_owned()));
            }
            row.status = BackfillStatus::Stopping;
            match self.metadata.store.txn(Txn::new().require(&key, revision).put(&key, encode(&row))).await {
                Ok(_) => return Ok(row),
                Err(TxnError::Conflict { .. }) => {}
                Err(TxnError::Store(error)) => return Err(error.into()),
            }
        }
        Err(RegistryError::Contention)
    }

    /// A backfill.
    pub async fn backfill(&self, scope: &Scope, id: &str) -> Result<BackfillRow, RegistryError> {
        Ok(self.backfill_read(scope, id).await?.row)
    }

    /// Backfills from the oldest on, after `after`; and whether there are more.
    pub async fn backfills(
        &self,
        scope: &Scope,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<(String, BackfillRow)>, bool), RegistryError> {
        self.metadata.page(&backfills_prefix(scope), after, limit, |id| Some(id.to_owned())).await
    }

    /// What came of the images of a backfill, in the order of their names; and whether there are more.
    pub async fn backfill_results(
        &self,
        scope: &Scope,
        id: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<(String, ResultRow)>, bool), RegistryError> {
        self.metadata.page(&backfill_results(scope, id), after, limit, |key| Some(key.to_owned())).await
    }

    /// Works on backfills until the future is dropped.
    pub(super) async fn replicate_backfills(&self) {
        loop {
            let mut watch = self.metadata.store.watch(BACKFILLS, self.metadata.store.revision() + 1);
            let wait = match self.backfills_once().await {
                Ok(()) => SWEEP,
                Err(RegistryError::Store(StoreError::Closed)) => return,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a replication backfill is held up");
                    RETRY
                }
            };
            match tokio::time::timeout(wait, watch.next()).await {
                Ok(Err(WatchError::Store(StoreError::Closed))) => return,
                Ok(Err(WatchError::Store(_))) => tokio::time::sleep(RETRY).await,
                _ => {}
            }
        }
    }

    /// Brings every backfill to its end, a step of each at a time, and forgets those that are too old.
    pub async fn backfills_once(&self) -> Result<(), RegistryError> {
        loop {
            let (mut running, mut range) = (false, KeyRange::prefix(BACKFILLS));
            loop {
                let page = self.metadata.store.range(range, 100).await?;
                let Some(last) = page.kvs.last().map(|kv| kv.key.to_string()) else { break };
                for kv in &page.kvs {
                    let Some((scope, id)) = parse_backfill(&kv.key) else { continue };
                    running |= self.backfill_step(&scope, id).await?;
                }
                if !page.more {
                    break;
                }
                range = KeyRange::prefix(BACKFILLS).after(&last);
            }
            if !running {
                return Ok(());
            }
        }
    }

    /// One step of a backfill; whether there is more to do.
    async fn backfill_step(&self, scope: &Scope, id: &str) -> Result<bool, RegistryError> {
        let Some(Read { row, revision }) = self.metadata.get::<BackfillRow>(&backfill_key(scope, id)).await? else {
            return Ok(false);
        };
        let now_ms = self.now().as_millis();
        let mut next = row.clone();
        let mut results = Vec::new();
        match row.status {
            status if status.is_terminal() => {
                let ended_ms = row.ended_at_ms.unwrap_or(row.started_at_ms);
                if now_ms.saturating_sub(ended_ms) >= HISTORY_MS {
                    let key = backfill_key(scope, id);
                    let txn =
                        Txn::new().require(&key, revision).delete(&key).delete_prefix(backfill_results(scope, id));
                    self.backfill_commit(txn).await?;
                }
                return Ok(false);
            }
            BackfillStatus::Stopping => next.end(BackfillStatus::Stopped, now_ms),
            BackfillStatus::Preparing => self.backfill_count(scope, &mut next).await?,
            _ => results = self.backfill_copy(scope, &mut next).await?,
        }
        let key = backfill_key(scope, id);
        let mut txn = Txn::new().require(&key, revision).put(&key, encode(&next));
        for result in &results {
            let tag = result.tag.as_ref().map_or("", Tag::as_str);
            let name = format!("{}{}:{}/{tag}", backfill_results(scope, id), result.repository, result.digest);
            txn = txn.put(name, encode(result));
        }
        if next.status.is_terminal() {
            let running_key = backfills_running_key(scope);
            if let Some(mut running) = self.metadata.get::<RunningRow>(&running_key).await? {
                running.row.ids.retain(|_, running| running != id);
                txn = txn.require(&running_key, running.revision).put(&running_key, encode(&running.row));
            }
        }
        // Whoever was faster, a stop or a start of another, has the step done again.
        self.backfill_commit(txn).await?;
        Ok(true)
    }

    async fn backfill_commit(&self, txn: Txn) -> Result<(), RegistryError> {
        match self.metadata.store.txn(txn).await {
            Ok(_) | Err(TxnError::Conflict { .. }) => Ok(()),
            Err(TxnError::Store(error)) => Err(error.into()),
        }
    }

    /// Counts a page of images.
    async fn backfill_count(&self, scope: &Scope, row: &mut BackfillRow) -> Result<(), RegistryError> {
        let configuration = self.replication(scope).await?;
        let now_ms = self.now().as_millis();
        match self.backfill_images(scope, &configuration, row, COUNTED_AT_ONCE).await? {
            Some((keys, images)) => {
                row.total += images.iter().map(|(_, image)| image.tags.len().max(1) as u64).sum::<u64>();
                row.cursor = Some(Cursor::after(keys.name(), images.last().map(|(digest, _)| digest)));
            }
            None => row.begin(now_ms),
        }
        Ok(())
    }

    /// Copies the next image.
    async fn backfill_copy(&self, scope: &Scope, row: &mut BackfillRow) -> Result<Vec<ResultRow>, RegistryError> {
        let configuration = self.replication(scope).await?;
        let now_ms = self.now().as_millis();
        let Some((keys, images)) = self.backfill_images(scope, &configuration, row, 1).await? else {
            row.end(BackfillStatus::Complete, now_ms);
            return Ok(Vec::new());
        };
        row.cursor = Some(Cursor::after(keys.name(), images.last().map(|(digest, _)| digest)));
        let mut results = Vec::new();
        for (digest, image) in &images {
            let to =
                Local { registry: self, from: &keys, to: RepositoryKeys::new(&row.destination.scope(), keys.name()) };
            let tags: Vec<Tag> = image.tags.iter().cloned().collect();
            let copied = copy_image(self, &keys, &to, digest, &tags).await?;
            let (failure_code, children) = match copied {
                Ok(Copied::Done) => (None, Default::default()),
                // It was deleted since it was found: there is nothing to tell of.
                Ok(Copied::SourceGone) => continue,
                Err(failed) => {
                    let children = failed.children.iter().map(|code| (*code).to_owned()).collect();
                    (Some(failed.failure.code.to_owned()), children)
                }
            };
            self.note_backfilled(&keys, digest, &row.destination, failure_code.clone()).await?;
            let tags: Vec<Option<Tag>> =
                if tags.is_empty() { vec![None] } else { tags.into_iter().map(Some).collect() };
            results.extend(tags.into_iter().map(|tag| ResultRow {
                repository: keys.name().to_string(),
                digest: digest.clone(),
                tag,
                failure_code: failure_code.clone(),
                children: std::collections::BTreeSet::clone(&children),
            }));
        }
        row.count(&results, now_ms);
        Ok(results)
    }

    /// The status that DescribeImageReplicationStatus tells, unless the image is gone.
    async fn note_backfilled(
        &self,
        keys: &RepositoryKeys,
        digest: &Digest,
        place: &Place,
        failure_code: Option<String>,
    ) -> Result<(), RegistryError> {
        let status = if failure_code.is_none() { Status::Complete } else { Status::Failed };
        let key = format!("{}{}", keys.replicated(digest), place.key());
        let row = StatusRow { status, failure_code };
        self.backfill_commit(Txn::new().require_exists(keys.image(digest)).put(key, encode(&row))).await
    }

    /// The images after the row's place, of the next repository that is replicated to its destination and has any;
    /// none at the end.
    async fn backfill_images(
        &self,
        scope: &Scope,
        configuration: &ReplicationRow,
        row: &BackfillRow,
        limit: usize,
    ) -> Result<Option<(RepositoryKeys, Vec<(Digest, ImageRow)>)>, RegistryError> {
        let mut after = None;
        if let Some(cursor) = &row.cursor {
            if let Ok(name) = cursor.repository.parse::<RepositoryName>() {
                let keys = RepositoryKeys::new(scope, &name);
                let from = cursor.digest.as_ref().map(Digest::as_str);
                let (images, _) = self.metadata.images(&keys, from, limit).await?;
                if !images.is_empty() {
                    return Ok(Some((keys, images)));
                }
            }
            after = Some(cursor.repository.clone());
        }
        loop {
            let (repositories, more) = self.metadata.repositories(scope, after.as_deref(), 100).await?;
            for (name, _) in &repositories {
                if !configuration.destinations_of(name).contains_key(&row.destination) {
                    continue;
                }
                let keys = RepositoryKeys::new(scope, name);
                let (images, _) = self.metadata.images(&keys, None, limit).await?;
                if !images.is_empty() {
                    return Ok(Some((keys, images)));
                }
            }
            match repositories.last() {
                Some((name, _)) if more => after = Some(name.to_string()),
                _ => return Ok(None),
            }
        }
    }

    async fn backfill_read(&self, scope: &Scope, id: &str) -> Result<Read<BackfillRow>, RegistryError> {
        let found = self.metadata.get(&backfill_key(scope, id)).await?;
        found.ok_or_else(|| RegistryError::BackfillNotFound { id: id.to_owned(), registry: scope.account.clone() })
    }
}
