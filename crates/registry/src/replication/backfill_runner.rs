//! The runner that works on backfills.
//!
//! A step counts a page of images or copies one image, and commits its results, the counters and the place it got to
//! in one transaction on the row as it was read: a crash repeats a step, and a stop that comes in between is heeded.
//! An image whose copy fails for reasons that may go away is put off, longer each time, and fails after some tries;
//! the others go on meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use gantry_domain::arn::Scope;
use gantry_store::{KeyRange, StoreError, Txn, TxnError, WatchError};

use super::backfill::{BackfillRow, BackfillStatus, Cursor, HISTORY_MS, ResultRow};
use super::backfills::RunningRow;
use super::config::{Destination as Place, ReplicationRow};
use super::copy::{Copied, copy_image};
use super::destination::Local;
use super::{Status, StatusRow};
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::metadata::{
    BACKFILLS, ImageRow, Read, RepositoryKeys, backfill_key, backfill_results, backfills_running_key, encode,
    parse_backfill,
};
use crate::name::{RepositoryName, Tag};
use crate::registry::Registry;

/// Images counted in one step.
const COUNTED_AT_ONCE: usize = 500;
/// How long to wait when a step could not be done.
const RETRY: Duration = Duration::from_secs(5);
/// How often to look without having been woken; then also what is too old is forgotten.
const SWEEP: Duration = Duration::from_secs(3600);

/// What a step came to.
enum Step {
    /// There is more to do.
    More,
    /// There is nothing to do.
    Ended,
    /// There is nothing to do before this time.
    Waits(i64),
}

impl Registry {
    /// Works on backfills until the future is dropped.
    pub(super) async fn replicate_backfills(&self) {
        loop {
            let mut watch = self.metadata.store.watch(BACKFILLS, self.metadata.store.revision() + 1);
            let wait = match self.backfills_once().await {
                Ok(None) => SWEEP,
                Ok(Some(at_ms)) => {
                    let wait_ms = at_ms.saturating_sub(self.now().as_millis());
                    Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0)).min(SWEEP)
                }
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

    /// Brings every backfill to its end, a step of each at a time, and forgets those that are too old. Says when to
    /// look again, where images were put off. A backfill that fails as a whole holds up no other.
    pub async fn backfills_once(&self) -> Result<Option<i64>, RegistryError> {
        loop {
            let (mut running, mut held_up, mut retry_at_ms) = (false, None, None::<i64>);
            let mut range = KeyRange::prefix(BACKFILLS);
            loop {
                let page = self.metadata.store.range(range, 100).await?;
                let Some(last) = page.kvs.last().map(|kv| kv.key.to_string()) else { break };
                for kv in &page.kvs {
                    let Some((scope, id)) = parse_backfill(&kv.key) else { continue };
                    match self.backfill_step(&scope, id).await {
                        Ok(Step::More) => running = true,
                        Ok(Step::Ended) => {}
                        Ok(Step::Waits(at_ms)) => {
                            retry_at_ms = Some(retry_at_ms.map_or(at_ms, |earlier| earlier.min(at_ms)));
                        }
                        Err(error) if error.is_outage() => return Err(error),
                        Err(error) => held_up = Some(error),
                    }
                }
                if !page.more {
                    break;
                }
                range = KeyRange::prefix(BACKFILLS).after(&last);
            }
            match held_up {
                _ if running => {}
                Some(error) => return Err(error),
                None => return Ok(retry_at_ms),
            }
        }
    }

    /// One step of a backfill.
    async fn backfill_step(&self, scope: &Scope, id: &str) -> Result<Step, RegistryError> {
        let Some(Read { row, revision }) = self.metadata.get::<BackfillRow>(&backfill_key(scope, id)).await? else {
            return Ok(Step::Ended);
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
                return Ok(Step::Ended);
            }
            BackfillStatus::Stopping => next.end(BackfillStatus::Stopped, now_ms),
            BackfillStatus::Preparing => self.backfill_count(scope, &mut next).await?,
            _ => results = self.backfill_copy(scope, &mut next).await?,
        }
        if let Some(at_ms) = next.retry_at_ms().filter(|_| next == row) {
            // Only what was put off is left, and its time has not come.
            return Ok(Step::Waits(at_ms));
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
        Ok(Step::More)
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

    /// Copies the next image: one that was put off and whose time has come, or the next that was not tried.
    async fn backfill_copy(&self, scope: &Scope, row: &mut BackfillRow) -> Result<Vec<ResultRow>, RegistryError> {
        let now_ms = self.now().as_millis();
        let Some((keys, digest, tags, tries)) = self.backfill_next(scope, row, now_ms).await? else {
            if row.deferred.is_empty() {
                row.end(BackfillStatus::Complete, now_ms);
            }
            return Ok(Vec::new());
        };
        let to = Local { registry: self, from: &keys, to: RepositoryKeys::new(&row.destination.scope(), keys.name()) };
        let (failure_code, children) = match copy_image(self, &keys, &to, &digest, &tags).await {
            Ok(Ok(Copied::Done)) => (None, BTreeSet::new()),
            // It was deleted since it was found: there is nothing to tell of.
            Ok(Ok(Copied::SourceGone)) => return Ok(Vec::new()),
            Ok(Err(failed)) => {
                let children = failed.children.iter().map(|code| (*code).to_owned()).collect();
                (Some(failed.failure.code.to_owned()), children)
            }
            Err(error) if error.is_outage() => return Err(error),
            Err(error) => {
                tracing::warn!(repository = %keys.arn(), %digest, tries = tries + 1, error = &error as &dyn std::error::Error, "a backfill cannot copy an image");
                if row.defer(keys.name(), &digest, tries + 1, now_ms) {
                    return Ok(Vec::new());
                }
                (Some("InternalError".to_owned()), BTreeSet::new())
            }
        };
        self.note_backfilled(&keys, &digest, &row.destination, failure_code.clone()).await?;
        let tags: Vec<Option<Tag>> = if tags.is_empty() { vec![None] } else { tags.into_iter().map(Some).collect() };
        let result = |tag| ResultRow {
            repository: keys.name().to_string(),
            digest: digest.clone(),
            tag,
            failure_code: failure_code.clone(),
            children: children.clone(),
        };
        let results: Vec<ResultRow> = tags.into_iter().map(result).collect();
        row.count(&results, now_ms);
        Ok(results)
    }

    /// The image to try now, with its tags and how often it was tried; takes it out of the row.
    async fn backfill_next(
        &self,
        scope: &Scope,
        row: &mut BackfillRow,
        now_ms: i64,
    ) -> Result<Option<(RepositoryKeys, Digest, Vec<Tag>, u32)>, RegistryError> {
        while let Some(due) = row.take_due(now_ms) {
            let Ok(name) = due.repository.parse::<RepositoryName>() else { continue };
            let keys = RepositoryKeys::new(scope, &name);
            if let Some(image) = self.metadata.image(&keys, &due.digest).await? {
                return Ok(Some((keys, due.digest, image.row.tags.into_iter().collect(), due.tries)));
            }
        }
        let configuration = self.replication(scope).await?;
        let Some((keys, images)) = self.backfill_images(scope, &configuration, row, 1).await? else { return Ok(None) };
        row.cursor = Some(Cursor::after(keys.name(), images.last().map(|(digest, _)| digest)));
        let next = images.into_iter().next();
        Ok(next.map(|(digest, image)| (keys, digest, image.tags.into_iter().collect(), 0)))
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
}
