//! The engine for one machine: one redb file, one writer thread, group commit.
//!
//! - Reads take a snapshot of the file (MVCC) and never wait for the writer.
//! - Writes go through a bounded queue to one thread ([`writer`]), which commits everything that waits as one durable
//!   transaction.
//! - Watchers follow a bounded feed in memory and fall back to the event log in the file ([`history`]).
//!
//! A full disk refuses writes with [`StoreError::NoSpace`] and leaves reads alone; see [`database`] for how it comes
//! back. A disk that fails to sync ends the store until it is opened again: what such a disk holds cannot be known
//! from this side of the page cache.

mod codec;
mod database;
mod file;
mod history;
mod queue;
mod rows;
mod writer;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use redb::{ReadTransaction, ReadableTable};
use tokio::sync::mpsc;

use crate::feed::{Feed, FeedWatch};
use crate::lease::Deadlines;
use crate::limits::{RECENT_BATCHES_MAX, RECENT_BYTES_MAX};
use crate::{Engine, KeyRange, KeyValue, LeaseId, OpenError, Range, Revision, Store, StoreError, Txn, TxnError, Watch};
use database::{Db, failed};
use history::{LogEnd, LogHistory};
use queue::{Queue, Request};
use writer::Writer;

/// Pages larger than this are read on a thread that may block.
const INLINE_ROWS_MAX: usize = 128;
/// Rows a scan hands over at once, and how many such chunks it reads ahead.
const SCAN_CHUNK_ROWS: usize = 256;
const SCAN_CHUNKS_AHEAD: usize = 2;

/// How to open the embedded engine.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// Bytes of events kept in the file for watchers that fell behind.
    pub history_bytes: u64,
    /// Transactions kept in memory for watchers that keep up.
    pub recent_batches: usize,
    /// Bytes of file pages kept in memory.
    pub cache_bytes: usize,
    /// Ask the disk for free space before each commit. Off only in tests of what happens when that was too late.
    pub check_room: bool,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self { history_bytes: 16 << 20, recent_batches: RECENT_BATCHES_MAX, cache_bytes: 16 << 20, check_room: true }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Embedded {
    db: Arc<Db>,
    queue: Arc<Queue>,
    feed: Arc<Feed>,
    deadlines: Arc<Mutex<Deadlines>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Embedded {
    /// Opens or creates the store in the file `path`, whose directory must exist.
    ///
    /// After a crash this checks the whole file, so it takes time in proportion to its size.
    pub async fn open(path: impl Into<PathBuf>, options: EmbeddedOptions) -> Result<Store, OpenError> {
        let path = path.into();
        let opened = tokio::task::spawn_blocking({
            let path = path.clone();
            move || Self::open_blocking(&path, &options)
        });
        let opened = opened.await.map_err(|error| OpenError::Damaged { path, reason: error.to_string() })?;
        opened.map(Store::new)
    }

    fn open_blocking(path: &Path, options: &EmbeddedOptions) -> Result<Self, OpenError> {
        let damaged = |error: StoreError| OpenError::Damaged { path: path.to_owned(), reason: error.to_string() };
        let db = Arc::new(Db::open(path, options.cache_bytes)?);
        let log = db.read(LogEnd::read).map_err(damaged)?;
        let deadlines = Arc::new(Mutex::new(db.read(read_deadlines).map_err(damaged)?));
        let feed = Arc::new(Feed::new(log.revision, options.recent_batches, RECENT_BYTES_MAX));
        let queue = Arc::new(Queue::new());
        let writer = Writer {
            db: db.clone(),
            queue: queue.clone(),
            feed: feed.clone(),
            deadlines: deadlines.clone(),
            log,
            history_bytes: options.history_bytes,
            check_room: options.check_room,
        };
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(|| writer.run())
            .map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        Ok(Self { db, queue, feed, deadlines, writer: Mutex::new(Some(writer)) })
    }

    fn stop(&self) {
        self.queue.close();
        let writer = self.writer.lock().take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the store's writer ended with a panic");
        }
    }
}

#[async_trait]
impl Engine for Embedded {
    async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        // A point read is some microseconds of page cache: handing it to another thread would cost more.
        self.db.read(|snapshot| {
            let rows = snapshot.open_table(rows::ROWS).map_err(failed)?;
            let row = rows.get(key.as_bytes()).map_err(failed)?;
            row.map(|row| codec::decode_row(key.as_bytes(), row.value())).transpose()
        })
    }

    async fn range(&self, range: KeyRange, limit: usize) -> Result<Range, StoreError> {
        if limit <= INLINE_ROWS_MAX {
            return self.db.read(|snapshot| read_range(snapshot, &range, limit));
        }
        let db = self.db.clone();
        blocking(move || db.read(|snapshot| read_range(snapshot, &range, limit))).await
    }

    async fn scan(&self, range: KeyRange, each: &mut (dyn FnMut(KeyValue) + Send)) -> Result<Revision, StoreError> {
        let (sender, mut chunks) = mpsc::channel::<Vec<KeyValue>>(SCAN_CHUNKS_AHEAD);
        let db = self.db.clone();
        let scan = tokio::spawn(blocking(move || {
            let begun = Cell::new(false);
            db.read(|snapshot| scan_rows(snapshot, &range, &Chunks { sender: &sender, begun: &begun }))
        }));
        while let Some(chunk) = chunks.recv().await {
            chunk.into_iter().for_each(&mut *each);
        }
        scan.await.map_err(|error| StoreError::Damaged { reason: error.to_string() })?
    }

    async fn txn(&self, txn: Txn) -> Result<Revision, TxnError> {
        self.queue.call(|reply| Request::Txn(txn, reply)).await?
    }

    fn revision(&self) -> Revision {
        self.feed.head()
    }

    fn watch(&self, range: KeyRange, from: Revision) -> Watch {
        let history = Arc::new(LogHistory(self.db.clone()));
        Watch::new(FeedWatch::new(self.feed.clone(), Some(history), range, from))
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<LeaseId, StoreError> {
        let lease = self.queue.call(|reply| Request::Grant(ttl, reply)).await?;
        // The writer may be asleep until a later deadline than this one's.
        self.queue.wake();
        lease
    }

    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError> {
        self.deadlines.lock().keep_alive(lease, Instant::now())
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<Revision, StoreError> {
        self.queue.call(|reply| Request::Revoke(lease, reply)).await?
    }

    async fn lease_expire(&self, now: Instant) -> Result<usize, StoreError> {
        let due = self.deadlines.lock().take_due(now);
        if due.is_empty() {
            return Ok(0);
        }
        self.queue.call(|reply| Request::Expire(due, reply)).await?
    }

    async fn close(&self) {
        self.queue.close();
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            let joined = tokio::task::spawn_blocking(|| writer.join().is_ok()).await;
            if !matches!(joined, Ok(true)) {
                tracing::error!("the store's writer ended with a panic");
            }
        }
    }
}

impl Drop for Embedded {
    /// Waits for the commit under way, so that the file is free when this returns.
    fn drop(&mut self) {
        self.stop();
    }
}

fn read_range(snapshot: &ReadTransaction, range: &KeyRange, limit: usize) -> Result<Range, StoreError> {
    let revision = database::revision(snapshot)?;
    let mut page = Range { revision, kvs: Vec::new(), more: false };
    if range.is_empty() {
        return Ok(page);
    }
    let rows = snapshot.open_table(rows::ROWS).map_err(failed)?;
    for row in rows.range::<&[u8]>(range.bounds()).map_err(failed)? {
        if page.kvs.len() == limit {
            page.more = true;
            break;
        }
        let (key, row) = row.map_err(failed)?;
        page.kvs.push(codec::decode_row(key.value(), row.value())?);
    }
    Ok(page)
}

/// Where a scan's rows go.
struct Chunks<'a> {
    sender: &'a mpsc::Sender<Vec<KeyValue>>,
    begun: &'a Cell<bool>,
}

impl Chunks<'_> {
    /// Hands rows over; false when whoever asked has gone away.
    fn send(&self, rows: Vec<KeyValue>) -> bool {
        self.begun.set(true);
        self.sender.blocking_send(rows).is_ok()
    }
}

fn scan_rows(snapshot: &ReadTransaction, range: &KeyRange, chunks: &Chunks<'_>) -> Result<Revision, StoreError> {
    if chunks.begun.get() {
        // The second attempt, after the database was opened again: starting over would hand over rows twice.
        return Err(StoreError::Disk { reason: "the scan was interrupted by a failed write; try again".to_owned() });
    }
    let revision = database::revision(snapshot)?;
    if range.is_empty() {
        return Ok(revision);
    }
    let rows = snapshot.open_table(rows::ROWS).map_err(failed)?;
    let mut chunk = Vec::with_capacity(SCAN_CHUNK_ROWS);
    for row in rows.range::<&[u8]>(range.bounds()).map_err(failed)? {
        let (key, row) = row.map_err(failed)?;
        chunk.push(codec::decode_row(key.value(), row.value())?);
        if chunk.len() == SCAN_CHUNK_ROWS {
            let full = std::mem::replace(&mut chunk, Vec::with_capacity(SCAN_CHUNK_ROWS));
            if !chunks.send(full) {
                return Ok(revision);
            }
        }
    }
    chunks.send(chunk);
    Ok(revision)
}

fn read_deadlines(snapshot: &ReadTransaction) -> Result<Deadlines, StoreError> {
    let now = Instant::now();
    let mut deadlines = Deadlines::default();
    let leases = snapshot.open_table(rows::LEASES).map_err(failed)?;
    for lease in leases.iter().map_err(failed)? {
        let (lease, ttl_ms) = lease.map_err(failed)?;
        deadlines.start(LeaseId(lease.value()), Duration::from_millis(ttl_ms.value()), now);
    }
    Ok(deadlines)
}

async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let read = tokio::task::spawn_blocking(read).await;
    read.map_err(|error| StoreError::Damaged { reason: error.to_string() })?
}
