//! The one thread that writes: takes everything that waits, does it in one redb transaction, makes that durable, then
//! publishes the events and answers. A commit therefore costs one `fdatasync` however many transactions it holds.
//!
//! Transactions are tried in the order they came, each against the rows as the earlier ones left them. Nothing is
//! answered before the commit is on disk, refusals included: a refusal may rest on an earlier transaction of the same
//! commit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redb::{ReadableTable, WriteTransaction};
use tokio::sync::oneshot;

use super::database::{Db, failed};
use super::history::LogEnd;
use super::queue::{Group, Queue, Request};
use super::rows::{META, META_LAST_LEASE, TxnRows};
use crate::apply::{self, Applied, Rows};
use crate::feed::Feed;
use crate::lease::{Deadlines, DueLease};
use crate::{Batch, LeaseId, Revision, StoreError, TxnError};

/// Free space wanted on the disk besides what a commit writes: redb copies the pages it changes.
const ROOM_SPARE_BYTES: u64 = 1 << 20;
/// How much more than its keys and values a commit may write: row, event, copied pages.
const ROOM_FACTOR: u64 = 4;
/// When leases could not be ended (full disk), how long until the next try.
const EXPIRE_RETRY: Duration = Duration::from_secs(1);
/// How often the writer lets others run before it takes a group, see [`Writer::gather`].
const GATHER_YIELDS: usize = 16;

/// What the writer thread works on.
pub(super) struct Writer {
    pub(super) db: Arc<Db>,
    pub(super) queue: Arc<Queue>,
    pub(super) feed: Arc<Feed>,
    pub(super) deadlines: Arc<Mutex<Deadlines>>,
    pub(super) log: LogEnd,
    pub(super) history_bytes: u64,
    pub(super) check_room: bool,
}

/// What a request came to, once the commit is durable.
enum Done {
    Revision(Revision),
    Lease(LeaseId),
    Ended(usize),
}

/// A commit that is durable.
struct Commit {
    outcomes: Vec<Result<Done, TxnError>>,
    batches: Vec<Arc<Batch>>,
}

impl Writer {
    /// Works until the queue is closed and empty, then lets go of the file.
    pub(super) fn run(mut self) {
        loop {
            let next_lease = self.deadlines.lock().next();
            if !self.queue.wait(next_lease) {
                break;
            }
            self.gather();
            let mut group = self.queue.take_group();
            self.add_due_leases(&mut group);
            if !group.requests.is_empty() {
                self.write(group);
            }
        }
        self.db.close();
        self.feed.close();
    }

    /// Lets the callers that were just answered come back before the group is closed. Without this a commit with one
    /// transaction alternates with one that holds all others. It costs a lone caller one yield, no waiting.
    fn gather(&self) {
        let mut waiting = self.queue.len();
        for _ in 0..GATHER_YIELDS {
            std::thread::yield_now();
            let now = self.queue.len();
            if now == waiting {
                break;
            }
            waiting = now;
        }
    }

    fn add_due_leases(&self, group: &mut Group) {
        let due = self.deadlines.lock().take_due(Instant::now());
        if !due.is_empty() {
            let (nobody, _) = oneshot::channel();
            group.requests.push(Request::Expire(due, nobody));
        }
    }

    fn write(&mut self, group: Group) {
        match self.try_commit(&group) {
            Ok(commit) => {
                self.feed.publish(commit.batches);
                for (request, outcome) in group.requests.into_iter().zip(commit.outcomes) {
                    self.answer(request, outcome);
                }
            }
            Err(error) => {
                for request in group.requests {
                    self.answer(request, Err(error.clone().into()));
                }
            }
        }
    }

    fn try_commit(&mut self, group: &Group) -> Result<Commit, StoreError> {
        if self.check_room && !self.db.has_room(ROOM_SPARE_BYTES + group.bytes as u64 * ROOM_FACTOR) {
            return Err(StoreError::NoSpace);
        }
        let attempt = catch_unwind(AssertUnwindSafe(|| self.commit(&group.requests)))
            .unwrap_or_else(|_| Err(StoreError::Damaged { reason: "its pages contradict each other".to_owned() }));
        attempt.inspect_err(|error| self.recover(error))
    }

    fn commit(&mut self, requests: &[Request]) -> Result<Commit, StoreError> {
        let database = self.db.current()?;
        let write = database.begin_write().map_err(failed)?;
        let mut commit = Commit { outcomes: Vec::with_capacity(requests.len()), batches: Vec::new() };
        let mut changed = false;
        {
            let mut rows = TxnRows::open(&write)?;
            for request in requests {
                let revision = self.log.revision + commit.batches.len() as u64 + 1;
                let mut step = Step { write: &write, rows: &mut rows, revision, batch: None };
                let outcome = refusal_apart(step.perform(request))?;
                changed |= outcome.is_ok() && !matches!(request, Request::Txn(..));
                commit.batches.extend(step.batch.map(Arc::new));
                commit.outcomes.push(outcome);
            }
        }
        if !changed && commit.batches.is_empty() {
            write.abort().map_err(failed)?;
            return Ok(commit);
        }
        let log = self.log.append(&write, &commit.batches, self.history_bytes)?;
        write.commit().map_err(failed)?;
        self.log = log;
        Ok(commit)
    }

    /// Brings the database back to its last commit, if that can be done without a restart.
    fn recover(&mut self, error: &StoreError) {
        tracing::warn!(%error, "a commit failed");
        self.db.recover(error);
        match self.db.read(LogEnd::read) {
            Ok(log) => self.log = log,
            Err(error) => tracing::warn!(%error, "the store cannot be read after a failed commit"),
        }
    }

    fn answer(&self, request: Request, outcome: Result<Done, TxnError>) {
        // A caller that no longer waits gets no answer; what it asked for is done.
        match (request, outcome) {
            (Request::Txn(_, reply), outcome) => {
                let _ = reply.send(outcome.map(Done::revision));
            }
            (Request::Grant(ttl, reply), outcome) => {
                let lease = outcome.map(Done::lease).map_err(store_error);
                if let Ok(lease) = &lease {
                    self.deadlines.lock().start(*lease, ttl, Instant::now());
                }
                let _ = reply.send(lease);
            }
            (Request::Revoke(lease, reply), outcome) => {
                if outcome.is_ok() {
                    self.deadlines.lock().remove(lease);
                }
                let _ = reply.send(outcome.map(Done::revision).map_err(store_error));
            }
            (Request::Expire(due, reply), outcome) => {
                if outcome.is_err() {
                    self.deadlines.lock().put_back(&due, Instant::now() + EXPIRE_RETRY);
                }
                let _ = reply.send(outcome.map(Done::ended).map_err(store_error));
            }
        }
    }
}

/// One request inside the write transaction.
struct Step<'a, 't> {
    write: &'t WriteTransaction,
    rows: &'a mut TxnRows<'t>,
    /// What the next transaction that changes something is numbered.
    revision: Revision,
    batch: Option<Batch>,
}

impl Step<'_, '_> {
    fn perform(&mut self, request: &Request) -> Result<Done, TxnError> {
        match request {
            Request::Txn(txn, _) => {
                apply::check(self.rows, txn)?;
                let applied = apply::apply(self.rows, txn, self.revision)?;
                Ok(Done::Revision(self.record(applied)))
            }
            Request::Grant(ttl, _) => Ok(Done::Lease(self.grant(*ttl)?)),
            Request::Revoke(lease, _) => {
                if !self.rows.lease_exists(*lease)? {
                    return Err(StoreError::LeaseNotFound { lease: lease.0 }.into());
                }
                Ok(Done::Revision(self.end(&[*lease])?))
            }
            Request::Expire(due, _) => {
                let leases: Vec<LeaseId> = due.iter().map(|DueLease { lease, .. }| *lease).collect();
                self.end(&leases)?;
                Ok(Done::Ended(leases.len()))
            }
        }
    }

    fn record(&mut self, applied: Applied) -> Revision {
        if !applied.changed {
            return self.revision - 1;
        }
        self.batch = Some(Batch { revision: self.revision, events: applied.events });
        self.revision
    }

    fn grant(&mut self, ttl: Duration) -> Result<LeaseId, StoreError> {
        let mut meta = self.write.open_table(META).map_err(failed)?;
        let last = meta.get(META_LAST_LEASE).map_err(failed)?.map_or(0, |last| last.value());
        let lease = LeaseId(last + 1);
        meta.insert(META_LAST_LEASE, lease.0).map_err(failed)?;
        self.rows.lease_insert(lease, u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))?;
        Ok(lease)
    }

    /// Ends leases, deleting their keys as one transaction.
    fn end(&mut self, leases: &[LeaseId]) -> Result<Revision, StoreError> {
        let mut all = Applied::default();
        for lease in leases {
            let ended = apply::apply_lease_end(self.rows, *lease, self.revision)?;
            all.changed |= ended.changed;
            all.events.extend(ended.events);
            self.rows.lease_remove(*lease)?;
        }
        Ok(self.record(all))
    }
}

impl Done {
    fn revision(self) -> Revision {
        match self {
            Done::Revision(revision) => revision,
            Done::Lease(_) | Done::Ended(_) => 0,
        }
    }

    fn lease(self) -> LeaseId {
        match self {
            Done::Lease(lease) => lease,
            Done::Revision(_) | Done::Ended(_) => LeaseId(0),
        }
    }

    fn ended(self) -> usize {
        match self {
            Done::Ended(count) => count,
            Done::Revision(_) | Done::Lease(_) => 0,
        }
    }
}

/// Tells a request that was refused, which leaves the rows as they were, from a failure, which ends the commit.
fn refusal_apart(outcome: Result<Done, TxnError>) -> Result<Result<Done, TxnError>, StoreError> {
    match outcome {
        Err(TxnError::Store(error)) if !matches!(error, StoreError::LeaseNotFound { .. }) => Err(error),
        outcome => Ok(outcome),
    }
}

fn store_error(error: TxnError) -> StoreError {
    match error {
        TxnError::Store(error) => error,
        TxnError::Conflict { key } => unreachable!("only transactions compare, and this is none: {key}"),
    }
}
