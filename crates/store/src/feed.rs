//! The recent transactions, shared by all watchers of an engine, and how a watcher follows them.
//!
//! The feed is bounded and watchers have no queue of their own: each keeps a position and reads from here, or, when
//! it has fallen behind, from the engine's [`History`]. A slow watcher therefore costs nothing while it sleeps.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::{Batch, Event, KeyRange, Revision, StoreError, WatchError, WatchSource};

/// Most transactions and bytes a watcher takes from the feed at once.
const PAGE_BATCHES_MAX: usize = 256;
const PAGE_BYTES_MAX: usize = 1 << 20;

/// The last transactions of an engine, and the number of the last one.
#[derive(Debug)]
pub(crate) struct Feed {
    recent: RwLock<Recent>,
    head: watch::Sender<Head>,
}

/// What watchers wait for.
#[derive(Debug, Clone, Copy)]
struct Head {
    revision: Revision,
    closed: bool,
}

#[derive(Debug)]
struct Recent {
    /// Revisions are consecutive: the batch at `i` has revision `first + i`.
    batches: VecDeque<Arc<Batch>>,
    first: Revision,
    bytes: usize,
    batches_max: usize,
    bytes_max: usize,
}

/// Older transactions than the feed keeps.
#[async_trait]
pub(crate) trait History: Send + Sync + 'static {
    /// A page of transactions from `from` on, or [`WatchError::Compacted`].
    async fn read(&self, range: &KeyRange, from: Revision) -> Result<Page, WatchError>;
}

/// Transactions `..next` from where the reader was, reduced to the keys it watches.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) batches: VecDeque<Batch>,
    pub(crate) next: Revision,
}

impl Feed {
    /// A feed of a store whose last transaction is `head`.
    pub(crate) fn new(head: Revision, batches_max: usize, bytes_max: usize) -> Self {
        let recent = Recent { batches: VecDeque::new(), first: head + 1, bytes: 0, batches_max, bytes_max };
        Self { recent: RwLock::new(recent), head: watch::Sender::new(Head { revision: head, closed: false }) }
    }

    /// The last transaction that readers may see.
    pub(crate) fn head(&self) -> Revision {
        self.head.borrow().revision
    }

    /// Makes durable transactions visible, in order.
    pub(crate) fn publish(&self, batches: impl IntoIterator<Item = Arc<Batch>>) {
        let last = self.recent.write().push_all(batches);
        if let Some(revision) = last {
            self.head.send_modify(|head| head.revision = revision);
        }
    }

    /// Ends every watch once it has delivered what there is.
    pub(crate) fn close(&self) {
        self.head.send_modify(|head| head.closed = true);
    }

    fn page(&self, range: &KeyRange, from: Revision) -> Result<Page, Revision> {
        self.recent.read().page(range, from)
    }
}

impl Recent {
    fn push_all(&mut self, batches: impl IntoIterator<Item = Arc<Batch>>) -> Option<Revision> {
        let mut last = None;
        for batch in batches {
            debug_assert_eq!(batch.revision, self.first + self.batches.len() as u64, "revisions are consecutive");
            last = Some(batch.revision);
            self.bytes += weight(&batch);
            self.batches.push_back(batch);
        }
        while self.batches.len() > self.batches_max || self.bytes > self.bytes_max {
            let Some(dropped) = self.batches.pop_front() else { break };
            self.first = dropped.revision + 1;
            self.bytes -= weight(&dropped);
        }
        last
    }

    fn page(&self, range: &KeyRange, from: Revision) -> Result<Page, Revision> {
        let skip = from.checked_sub(self.first).ok_or(self.first)?;
        let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(self.batches.len());
        let mut page = PageBuilder::new(range, from);
        for batch in self.batches.range(skip..) {
            if !page.push(batch) {
                break;
            }
        }
        Ok(page.finish())
    }
}

fn weight(batch: &Batch) -> usize {
    64 + batch.events.iter().map(Event::weight).sum::<usize>()
}

/// Collects what a watcher wants until the page is full.
pub(crate) struct PageBuilder<'a> {
    range: &'a KeyRange,
    batches: VecDeque<Batch>,
    next: Revision,
    bytes: usize,
}

impl<'a> PageBuilder<'a> {
    pub(crate) fn new(range: &'a KeyRange, from: Revision) -> Self {
        Self { range, batches: VecDeque::new(), next: from, bytes: 0 }
    }

    /// Adds a transaction; false when the page is full (it was not added).
    pub(crate) fn push(&mut self, batch: &Batch) -> bool {
        if self.batches.len() >= PAGE_BATCHES_MAX || self.bytes > PAGE_BYTES_MAX {
            return false;
        }
        self.next = batch.revision + 1;
        let events: Vec<Event> =
            batch.events.iter().filter(|event| self.range.contains(event.key())).cloned().collect();
        if !events.is_empty() {
            self.bytes += events.iter().map(Event::weight).sum::<usize>();
            self.batches.push_back(Batch { revision: batch.revision, events });
        }
        true
    }

    pub(crate) fn finish(self) -> Page {
        Page { batches: self.batches, next: self.next }
    }
}

/// A watcher's position in a feed.
pub(crate) struct FeedWatch {
    feed: Arc<Feed>,
    head: watch::Receiver<Head>,
    history: Option<Arc<dyn History>>,
    range: KeyRange,
    /// Read but not yet delivered; all before `next`.
    pending: VecDeque<Batch>,
    next: Revision,
    /// Everything before this was delivered or told of as progress.
    told: Revision,
}

impl FeedWatch {
    pub(crate) fn new(feed: Arc<Feed>, history: Option<Arc<dyn History>>, range: KeyRange, from: Revision) -> Self {
        let head = feed.head.subscribe();
        let from = from.max(1);
        Self { feed, head, history, range, pending: VecDeque::new(), next: from, told: from }
    }

    fn deliver(&mut self) -> Option<Batch> {
        let batch = match self.pending.pop_front() {
            Some(batch) => batch,
            None if self.told < self.next => Batch { revision: self.next - 1, events: Vec::new() },
            None => return None,
        };
        self.told = batch.revision + 1;
        Some(batch)
    }

    async fn read(&self) -> Result<Page, WatchError> {
        match (self.feed.page(&self.range, self.next), &self.history) {
            (Ok(page), _) => Ok(page),
            (Err(_), Some(history)) => history.read(&self.range, self.next).await,
            (Err(oldest), None) => Err(WatchError::Compacted { oldest }),
        }
    }
}

#[async_trait]
impl WatchSource for FeedWatch {
    async fn next(&mut self) -> Result<Batch, WatchError> {
        loop {
            if let Some(batch) = self.deliver() {
                return Ok(batch);
            }
            let head = *self.head.borrow_and_update();
            if head.revision < self.next {
                if head.closed || self.head.changed().await.is_err() {
                    return Err(StoreError::Closed.into());
                }
                continue;
            }
            let page = self.read().await?;
            self.pending = page.batches;
            self.next = page.next;
        }
    }
}
