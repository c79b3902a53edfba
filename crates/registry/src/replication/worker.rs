//! Does what the handler wrote down, until it is done or cannot be.
//!
//! A pass goes through all work in the order of its keys: by repository, then by change, then by destination. What
//! fails for the moment holds up its repository at its destination and nothing else, and is tried again later. The
//! work row and the status change in one transaction.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use gantry_store::{KeyRange, KeyValue, StoreError, Txn, TxnError, WatchError};

use super::config::Destination as Place;
use super::copy::{Copied, copy_image};
use super::destination::{Destination, Local};
use super::{Action, CopyError, Status, StatusRow, WorkRow};
use crate::fault::RegistryError;
use crate::metadata::{REPLICATION_WORK, RepositoryKeys, encode, parse_replication_work};
use crate::registry::Registry;

/// Work rows read at a time.
const PAGE: usize = 256;
/// Repositories, each at one destination, that are worked on at a time.
const LANES_AT_ONCE: usize = 4;
/// How long to wait before what failed for the moment is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How often to look without having been woken.
const SWEEP: Duration = Duration::from_secs(300);
/// How long something is tried before it is given up.
const TRIED_MS_MAX: i64 = 24 * 60 * 60 * 1000;

/// What a pass over all work came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pass {
    /// Rows that are done, one way or the other.
    pub done: usize,
    /// Repositories, each at one destination, that have to wait.
    pub waiting: usize,
}

impl Registry {
    /// Replicates until the future is dropped. Spawned once beside the server.
    pub async fn replicate(self: Arc<Self>) {
        tokio::join!(self.replicate_work(), self.replicate_backfills());
    }

    async fn replicate_work(&self) {
        loop {
            let mut watch = self.metadata.store.watch(REPLICATION_WORK, self.metadata.store.revision() + 1);
            let wait = match self.replicate_once().await {
                Ok(Pass { waiting: 0, .. }) => SWEEP,
                Ok(_) => RETRY,
                Err(RegistryError::Store(StoreError::Closed)) => return,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "replication is held up");
                    RETRY
                }
            };
            match tokio::time::timeout(wait, watch.next()).await {
                Ok(Err(WatchError::Store(StoreError::Closed))) => return,
                Ok(Err(WatchError::Store(_))) => tokio::time::sleep(RETRY).await,
                // Work came, or time passed, or more happened than is remembered: look again.
                _ => {}
            }
        }
    }

    /// One pass over all work there is.
    pub async fn replicate_once(&self) -> Result<Pass, RegistryError> {
        let (mut pass, mut held_up) = (Pass::default(), HashSet::new());
        let mut range = KeyRange::prefix(REPLICATION_WORK);
        loop {
            let page = self.metadata.store.range(range, PAGE).await?;
            let Some(last) = page.kvs.last().map(|kv| kv.key.to_string()) else { break };
            let mut lanes: BTreeMap<(String, Place), Vec<Work>> = BTreeMap::new();
            for kv in &page.kvs {
                let Some(work) = Work::read(kv) else {
                    tracing::error!(key = %kv.key, "a row of replication work cannot be read; it is dropped");
                    self.finish(Txn::new().require(&*kv.key, kv.mod_revision).delete(&*kv.key)).await?;
                    continue;
                };
                let lane = (work.from.arn(), work.place.clone());
                if !held_up.contains(&lane) {
                    lanes.entry(lane).or_default().push(work);
                }
            }
            let worked: Vec<_> = stream::iter(lanes)
                .map(|(lane, work)| async move { (lane, self.replicate_lane(work).await) })
                .buffer_unordered(LANES_AT_ONCE)
                .collect()
                .await;
            for (lane, (done, held)) in worked {
                pass.done += done;
                if let Some(error) = held {
                    tracing::warn!(
                        repository = lane.0,
                        region = lane.1.region,
                        account = lane.1.account,
                        error = &error as &dyn std::error::Error,
                        "replication is held up"
                    );
                    held_up.insert(lane);
                }
            }
            if !page.more {
                break;
            }
            range = KeyRange::prefix(REPLICATION_WORK).after(&last);
        }
        pass.waiting = held_up.len();
        Ok(pass)
    }

    /// Works through the rows of one repository and destination; stops at the first that has to wait.
    async fn replicate_lane(&self, work: Vec<Work>) -> (usize, Option<RegistryError>) {
        let mut done = 0;
        for work in work {
            match self.replicate_one(&work).await {
                Ok(()) => done += 1,
                Err(error) => return (done, Some(error)),
            }
        }
        (done, None)
    }

    async fn replicate_one(&self, work: &Work) -> Result<(), RegistryError> {
        let to =
            Local { registry: self, from: &work.from, to: RepositoryKeys::new(&work.place.scope(), work.from.name()) };
        let row = &work.row;
        let outcome = match row.action {
            Action::Copy => copy_image(self, &work.from, &to, &row.digest, &row.tags)
                .await
                .map(|copied| copied.map_err(|failed| failed.failure)),
            Action::DeleteTags => removed(to.delete_tags(&row.digest, &row.tags).await),
            Action::DeleteImage => removed(to.delete_image(&row.digest).await),
        };
        let outcome = match outcome {
            Err(error) if self.now().as_millis().saturating_sub(row.since_ms) < TRIED_MS_MAX => return Err(error),
            Err(error) => {
                tracing::error!(repository = %work.from.arn(), digest = %row.digest, error = &error as &dyn std::error::Error, "replication is given up");
                Err(super::Failure { code: "InternalError", why: error.to_string() })
            }
            Ok(outcome) => outcome,
        };
        let mut txn = Txn::new().require(&work.key, work.revision).delete(&work.key);
        if let Err(failure) = &outcome {
            tracing::warn!(repository = %work.from.arn(), digest = %row.digest, region = work.place.region, account = work.place.account, code = failure.code, why = failure.why, "not replicated");
        }
        if row.action == Action::Copy {
            let key = format!("{}{}", work.from.replicated(&row.digest), work.place.key());
            txn = match &outcome {
                Ok(Copied::SourceGone) => txn.delete(key),
                Ok(Copied::Done) => txn.put(key, encode(&StatusRow { status: Status::Complete, failure_code: None })),
                Err(failure) => {
                    let failure_code = Some(failure.code.to_owned());
                    txn.put(key, encode(&StatusRow { status: Status::Failed, failure_code }))
                }
            };
        }
        let finished = self.finish(txn).await?;
        if finished && row.action == Action::Copy && !matches!(outcome, Ok(Copied::SourceGone)) {
            let tags: Vec<_> = if row.tags.is_empty() { vec![None] } else { row.tags.iter().map(Some).collect() };
            for tag in tags {
                self.tell_replicated(&work.from, &work.place, &row.digest, tag, outcome.is_ok());
            }
        }
        Ok(())
    }

    /// Commits the end of a piece of work; false when somebody else has.
    async fn finish(&self, txn: Txn) -> Result<bool, RegistryError> {
        match self.metadata.store.txn(txn).await {
            Ok(_) => Ok(true),
            Err(TxnError::Conflict { .. }) => Ok(false),
            Err(TxnError::Store(error)) => Err(error.into()),
        }
    }
}

/// A row of work, read.
struct Work {
    key: String,
    revision: u64,
    from: RepositoryKeys,
    place: Place,
    row: WorkRow,
}

impl Work {
    fn read(kv: &KeyValue) -> Option<Self> {
        let (from, place) = parse_replication_work(&kv.key)?;
        let row = serde_json::from_slice(&kv.value).ok()?;
        Some(Self { key: kv.key.to_string(), revision: kv.mod_revision, from, place, row })
    }
}

/// The outcome of a removal, in the form of a copy's.
fn removed(result: Result<(), CopyError>) -> Result<Result<Copied, super::Failure>, RegistryError> {
    match result {
        Ok(()) => Ok(Ok(Copied::Done)),
        Err(CopyError::Failed(failure)) => Ok(Err(failure)),
        Err(CopyError::Later(error)) => Err(error),
    }
}
