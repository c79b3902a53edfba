//! The engine for tests and simulation: everything in memory, nothing survives.
//!
//! It behaves as the embedded engine does (the conformance suite runs on both), including bounded history, so that a
//! simulation meets the same refusals.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::apply::{self, Applied, RowHead, Rows};
use crate::feed::{Feed, FeedWatch};
use crate::lease::Deadlines;
use crate::limits::{RECENT_BATCHES_MAX, RECENT_BYTES_MAX};
use crate::{Batch, Engine, KeyRange, KeyValue, LeaseId, Range, Revision, Store, StoreError, Txn, TxnError, Watch};

/// Bounds that tests may want small.
#[derive(Debug, Clone)]
pub struct MemoryOptions {
    /// Transactions kept for watchers.
    pub history_batches: usize,
    /// Bytes of transactions kept for watchers.
    pub history_bytes: usize,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self { history_batches: RECENT_BATCHES_MAX, history_bytes: RECENT_BYTES_MAX }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Memory {
    state: Mutex<State>,
    feed: Arc<Feed>,
}

#[derive(Debug, Default)]
struct State {
    rows: MemoryRows,
    deadlines: Deadlines,
    last_lease: u64,
    closed: bool,
}

impl Memory {
    /// An empty store.
    pub fn store() -> Store {
        Store::new(Self::new(&MemoryOptions::default()))
    }

    /// An empty engine with these bounds. Leases end by themselves only when somebody calls
    /// [`Engine::lease_expire`]: simulated time belongs to the simulation.
    pub fn new(options: &MemoryOptions) -> Self {
        Self {
            state: Mutex::new(State::default()),
            feed: Arc::new(Feed::new(0, options.history_batches, options.history_bytes)),
        }
    }

    fn open_state(&self) -> Result<parking_lot::MutexGuard<'_, State>, StoreError> {
        let state = self.state.lock();
        if state.closed { Err(StoreError::Closed) } else { Ok(state) }
    }

    /// Publishes under the state's lock, so that revisions reach the feed in order.
    fn publish(&self, revision: Revision, applied: Applied) -> Revision {
        if !applied.changed {
            return revision - 1;
        }
        self.feed.publish([Arc::new(Batch { revision, events: applied.events })]);
        revision
    }

    fn end_lease(&self, state: &mut State, lease: LeaseId) -> Result<Revision, StoreError> {
        let revision = self.feed.head() + 1;
        let ended = apply::apply_lease_end(&mut state.rows, lease, revision)?;
        state.rows.leases.remove(&lease);
        state.deadlines.remove(lease);
        Ok(self.publish(revision, ended))
    }
}

#[async_trait]
impl Engine for Memory {
    async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        Ok(self.open_state()?.rows.rows.get(key).cloned())
    }

    async fn range(&self, range: KeyRange, limit: usize) -> Result<Range, StoreError> {
        let state = self.open_state()?;
        let mut rows = state.rows.iter(&range);
        let kvs: Vec<KeyValue> = rows.by_ref().take(limit).cloned().collect();
        Ok(Range { revision: self.feed.head(), kvs, more: rows.next().is_some() })
    }

    async fn scan(&self, range: KeyRange, each: &mut (dyn FnMut(KeyValue) + Send)) -> Result<Revision, StoreError> {
        let state = self.open_state()?;
        state.rows.iter(&range).cloned().for_each(each);
        Ok(self.feed.head())
    }

    async fn txn(&self, txn: Txn) -> Result<Revision, TxnError> {
        let mut state = self.open_state()?;
        apply::check(&state.rows, &txn)?;
        let revision = self.feed.head() + 1;
        let applied = apply::apply(&mut state.rows, &txn, revision)?;
        Ok(self.publish(revision, applied))
    }

    fn revision(&self) -> Revision {
        self.feed.head()
    }

    fn watch(&self, range: KeyRange, from: Revision) -> Watch {
        Watch::new(FeedWatch::new(self.feed.clone(), None, range, from))
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<LeaseId, StoreError> {
        let mut state = self.open_state()?;
        state.last_lease += 1;
        let lease = LeaseId(state.last_lease);
        state.rows.leases.insert(lease);
        state.deadlines.start(lease, ttl, Instant::now());
        Ok(lease)
    }

    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError> {
        self.open_state()?.deadlines.keep_alive(lease, Instant::now())
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<Revision, StoreError> {
        let mut state = self.open_state()?;
        if !state.rows.leases.contains(&lease) {
            return Err(StoreError::LeaseNotFound { lease: lease.0 });
        }
        self.end_lease(&mut state, lease)
    }

    async fn lease_expire(&self, now: Instant) -> Result<usize, StoreError> {
        let mut state = self.open_state()?;
        let due = state.deadlines.take_due(now);
        for lease in &due {
            self.end_lease(&mut state, lease.lease)?;
        }
        Ok(due.len())
    }

    async fn close(&self) {
        self.state.lock().closed = true;
        self.feed.close();
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.feed.close();
    }
}

#[derive(Debug, Default)]
struct MemoryRows {
    rows: BTreeMap<Arc<str>, KeyValue>,
    leases: BTreeSet<LeaseId>,
    lease_keys: BTreeSet<(LeaseId, Arc<str>)>,
}

impl MemoryRows {
    fn iter<'a>(&'a self, range: &'a KeyRange) -> impl Iterator<Item = &'a KeyValue> {
        self.rows
            .range::<str, _>((Bound::Included(range.start.as_str()), Bound::Unbounded))
            .map(|(_, kv)| kv)
            .take_while(|kv| range.contains(&kv.key))
    }
}

impl Rows for MemoryRows {
    fn head(&self, key: &str) -> Result<Option<RowHead>, StoreError> {
        Ok(self.rows.get(key).map(|kv| RowHead {
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            version: kv.version,
            lease: kv.lease,
        }))
    }

    fn keys(&self, range: &KeyRange) -> Result<Vec<Arc<str>>, StoreError> {
        Ok(self.iter(range).map(|kv| kv.key.clone()).collect())
    }

    fn put(&mut self, kv: &KeyValue) -> Result<(), StoreError> {
        self.rows.insert(kv.key.clone(), kv.clone());
        Ok(())
    }

    fn remove(&mut self, key: &str) -> Result<(), StoreError> {
        self.rows.remove(key);
        Ok(())
    }

    fn lease_exists(&self, lease: LeaseId) -> Result<bool, StoreError> {
        Ok(self.leases.contains(&lease))
    }

    fn lease_keys(&self, lease: LeaseId) -> Result<Vec<Arc<str>>, StoreError> {
        let keys = self.lease_keys.iter().filter(|(of, _)| *of == lease);
        Ok(keys.map(|(_, key)| key.clone()).collect())
    }

    fn lease_attach(&mut self, lease: LeaseId, key: &str) -> Result<(), StoreError> {
        self.lease_keys.insert((lease, key.into()));
        Ok(())
    }

    fn lease_detach(&mut self, lease: LeaseId, key: &str) -> Result<(), StoreError> {
        self.lease_keys.remove(&(lease, key.into()));
        Ok(())
    }
}
