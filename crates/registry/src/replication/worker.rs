//! Does what the handler wrote down, until it is done or cannot be.
//!
//! A pass goes through all work in the order of its keys: by repository, then by change, then by destination. What
//! fails for the moment is tried again later, each time after a longer wait. It holds up what is to be done with the
//! same image, and the deletion of others in its repository (an index may have to go before them), and nothing else. The
//! work row and the status change in one transaction.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use gantry_store::{KeyRange, KeyValue, StoreError, Txn, TxnError, WatchError};
use tokio::time::Instant;

use super::config::Destination as Place;
use super::copy::{Copied, copy_image};
use super::destination::{Destination, Local};
use super::{Action, CopyError, Status, StatusRow, WorkRow};
use crate::digest::Digest;
use crate::fault::RegistryError;
use crate::metadata::{REPLICATION_WORK, RepositoryKeys, encode, parse_replication_work};
use crate::registry::Registry;

/// Work rows read at a time.
const PAGE: usize = 256;
/// Repositories, each at one destination, that are worked on at a time.
const LANES_AT_ONCE: usize = 4;
/// How long to wait when the store failed.
const RETRY: Duration = Duration::from_secs(5);
/// The first and the longest wait before what failed for the moment is tried again.
const RETRY_WORK: std::ops::RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(300);
/// How often to look without having been woken.
const SWEEP: Duration = Duration::from_secs(300);
/// How long something is tried before it is given up.
const TRIED_MS_MAX: i64 = 24 * 60 * 60 * 1000;

/// What failed for the moment, by the key of its row. A restart forgets it and tries everything again.
#[derive(Debug, Default)]
struct Waiting(HashMap<String, Held>);

#[derive(Debug, Clone, Copy)]
struct Held {
    failures: u32,
    until: Instant,
}

impl Waiting {
    fn holds(&self, key: &str, now: Instant) -> bool {
        self.0.get(key).is_some_and(|held| held.until > now)
    }

    /// Notes another failure and returns how long to wait.
    fn failed(&mut self, key: &str, now: Instant) -> Duration {
        let held = self.0.entry(key.to_owned()).or_insert(Held { failures: 0, until: now });
        let wait = RETRY_WORK.start().saturating_mul(1 << held.failures.min(16)).min(*RETRY_WORK.end());
        *held = Held { failures: held.failures + 1, until: now + wait };
        wait
    }

    /// How long until something is tried again; none when nothing waits.
    fn wait(&self, now: Instant) -> Option<Duration> {
        self.0.values().map(|held| held.until.saturating_duration_since(now)).min()
    }
}

/// A repository and a destination: what is to be done there is done in order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Lane {
    repository: String,
    place: Place,
}

/// What came of the rows of a lane.
#[derive(Debug, Default)]
struct Worked {
    done: Vec<String>,
    failed: Vec<(String, RegistryError)>,
    /// The images that something waits for.
    held: HashSet<Digest>,
}

impl Registry {
    /// Replicates until the future is dropped. Spawned once beside the server.
    pub async fn replicate(self: Arc<Self>) {
        tokio::join!(self.replicate_work(), self.replicate_backfills());
    }

    async fn replicate_work(&self) {
        let mut waiting = Waiting::default();
        loop {
            let mut watch = self.metadata.store.watch(REPLICATION_WORK, self.metadata.store.revision() + 1);
            let wait = match self.replicate_pass(&mut waiting).await {
                Ok(()) => waiting.wait(Instant::now()).map_or(SWEEP, |wait| wait.min(SWEEP)),
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
    async fn replicate_pass(&self, waiting: &mut Waiting) -> Result<(), RegistryError> {
        let mut held: HashMap<Lane, HashSet<Digest>> = HashMap::new();
        let mut seen = HashSet::new();
        let mut range = KeyRange::prefix(REPLICATION_WORK);
        loop {
            let page = self.metadata.store.range(range, PAGE).await?;
            let Some(last) = page.kvs.last().map(|kv| kv.key.to_string()) else { break };
            let mut lanes: BTreeMap<Lane, Vec<Work>> = BTreeMap::new();
            for kv in &page.kvs {
                let Some(work) = Work::read(kv) else {
                    tracing::error!(key = %kv.key, "a row of replication work cannot be read; it is dropped");
                    self.finish(Txn::new().require(&*kv.key, kv.mod_revision).delete(&*kv.key)).await?;
                    continue;
                };
                seen.insert(work.key.clone());
                lanes.entry(Lane { repository: work.from.arn(), place: work.place.clone() }).or_default().push(work);
            }
            let now = Instant::now();
            let worked: Vec<_> = stream::iter(lanes)
                .map(|(lane, work)| {
                    let (before, waiting) = (held.remove(&lane).unwrap_or_default(), &*waiting);
                    async move { (lane, self.replicate_lane(work, before, waiting, now).await) }
                })
                .buffer_unordered(LANES_AT_ONCE)
                .collect()
                .await;
            for (lane, worked) in worked {
                let worked = worked?;
                for key in worked.done {
                    waiting.0.remove(&key);
                }
                for (key, error) in worked.failed {
                    let wait = waiting.failed(&key, Instant::now());
                    tracing::warn!(
                        repository = lane.repository,
                        region = lane.place.region,
                        account = lane.place.account,
                        ?wait,
                        error = &error as &dyn std::error::Error,
                        "replication of an image is held up"
                    );
                }
                held.insert(lane, worked.held);
            }
            if !page.more {
                break;
            }
            range = KeyRange::prefix(REPLICATION_WORK).after(&last);
        }
        waiting.0.retain(|key, _| seen.contains(key));
        Ok(())
    }

    /// Works through the rows of one repository and destination, past those that have to wait.
    async fn replicate_lane(
        &self,
        work: Vec<Work>,
        held: HashSet<Digest>,
        waiting: &Waiting,
        now: Instant,
    ) -> Result<Worked, RegistryError> {
        let mut worked = Worked { held, ..Worked::default() };
        for work in work {
            let deletes = work.row.action == Action::DeleteImage;
            let behind = worked.held.contains(&work.row.digest) || (deletes && !worked.held.is_empty());
            if behind || waiting.holds(&work.key, now) {
                worked.held.insert(work.row.digest);
                continue;
            }
            match self.replicate_one(&work).await {
                Ok(()) => worked.done.push(work.key),
                // That is no matter of this image.
                Err(error) if error.is_outage() => return Err(error),
                Err(error) => {
                    worked.held.insert(work.row.digest);
                    worked.failed.push((work.key, error));
                }
            }
        }
        Ok(worked)
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
