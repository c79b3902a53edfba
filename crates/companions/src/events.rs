//! Events: for now, a log of the newest ones.
//!
//! [`EventLog`] takes events from everybody who tells them and keeps the newest of each account and region, in the
//! order in which they came. Rules and targets of EventBridge come later; they are another [`EventSink`] that is given
//! every event beside this one.
//!
//! ```text
//! /events/ACCOUNT/REGION/log/POSITION   an event; positions grow by one, written as 16 hex digits
//! /events/ACCOUNT/REGION/head           HeadRow: the first and the next position
//! ```
//!
//! Taking an event is a push to a bounded queue. One task writes what waits there as one transaction per account and
//! region, so that a thousand pushes do not cost a thousand writes. What is in the queue when the process is killed is
//! lost: events are best effort.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gantry_api::event::{Event, EventSink};
use gantry_store::{KeyRange, Store, StoreError, Txn, TxnError};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

/// Events kept per account and region.
pub const EVENTS_KEPT: u64 = 10_000;
/// Events that may wait to be written; more are lost and counted.
const QUEUE_MAX: usize = 20_000;
/// Events written in one transaction: each is a put and, when the log is full, a delete.
const BATCH_MAX: usize = 400;
/// How long the writer waits for more after the first event.
const GATHER: Duration = Duration::from_millis(20);
/// Largest event, in bytes, as EventBridge has it.
const EVENT_BYTES_MAX: usize = 256 * 1024;

/// The log. Clones share it.
#[derive(Clone)]
pub struct EventLog {
    store: Store,
    queue: mpsc::Sender<Message>,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
}

enum Message {
    Event(Box<Event>),
    Close,
}

/// An event and where it is in the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoggedEvent {
    /// Its position; the next event has a greater one.
    pub position: u64,
    /// The event.
    pub event: Event,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct HeadRow {
    /// The position of the oldest event.
    first: u64,
    /// The position that the next event gets.
    next: u64,
}

impl EventLog {
    /// A log in `store` that keeps `kept` events of each account and region; starts its writer.
    pub fn start(store: Store, kept: u64) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let writer = Writer { store: store.clone(), kept: kept.max(1), waiting };
        let writer = tokio::spawn(writer.run());
        Self { store, queue, writer: Arc::new(Mutex::new(Some(writer))) }
    }

    /// Up to `limit` events of an account and region after position `after`, oldest first; without `after`, the
    /// newest.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn page(
        &self,
        account: &str,
        region: &str,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<LoggedEvent>, StoreError> {
        let (_, head) = read_head(&self.store, account, region).await?;
        let newest = head.next.saturating_sub(limit as u64).max(head.first);
        let from = after.map_or(newest, |after| after.saturating_add(1));
        let prefix = log_prefix(account, region);
        let end = format!("{prefix}~");
        let range = KeyRange::between(&format!("{prefix}{from:016x}"), &end);
        let found = self.store.range(range, limit.max(1)).await?;
        let logged = |kv: &gantry_store::KeyValue| {
            let position = u64::from_str_radix(kv.key.strip_prefix(&prefix)?, 16).ok()?;
            Some(LoggedEvent { position, event: serde_json::from_slice(&kv.value).ok()? })
        };
        Ok(found.kvs.iter().filter_map(logged).collect())
    }

    /// Writes what waits and ends the writer. Events that come later are lost.
    pub async fn close(&self) {
        let Some(writer) = self.writer.lock().await.take() else { return };
        let _ = self.queue.send(Message::Close).await;
        let _ = writer.await;
    }
}

impl EventSink for EventLog {
    fn emit(&self, event: Event) {
        if self.queue.try_send(Message::Event(Box::new(event))).is_err() {
            tracing::warn!("the event log cannot keep up; an event is lost");
        }
    }
}

impl std::fmt::Debug for EventLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventLog").finish_non_exhaustive()
    }
}

struct Writer {
    store: Store,
    kept: u64,
    waiting: mpsc::Receiver<Message>,
}

impl Writer {
    async fn run(mut self) {
        loop {
            let mut messages = Vec::with_capacity(BATCH_MAX);
            if self.waiting.recv_many(&mut messages, BATCH_MAX).await == 0 {
                return;
            }
            let mut closing = messages.iter().any(|message| matches!(message, Message::Close));
            if !closing && messages.len() < BATCH_MAX {
                tokio::time::sleep(GATHER).await;
                while messages.len() < BATCH_MAX
                    && let Ok(message) = self.waiting.try_recv()
                {
                    messages.push(message);
                }
            }
            let mut by_scope: BTreeMap<(String, String), Vec<Event>> = BTreeMap::new();
            for message in messages {
                match message {
                    Message::Close => closing = true,
                    Message::Event(event) => {
                        by_scope.entry((event.account.clone(), event.region.clone())).or_default().push(*event);
                    }
                }
            }
            for ((account, region), events) in by_scope {
                if let Err(error) = self.append(&account, &region, &events).await {
                    tracing::warn!(%error, lost = events.len(), "events could not be written to the log");
                }
            }
            if closing {
                return;
            }
        }
    }

    /// Adds events at the end, and takes as many from the beginning as are then too many.
    async fn append(&self, account: &str, region: &str, events: &[Event]) -> Result<(), TxnError> {
        loop {
            let (revision, head) = read_head(&self.store, account, region).await?;
            let txn = plan(account, region, head, revision, events, self.kept);
            match self.store.txn(txn).await {
                // Another process that shares the store was faster.
                Err(TxnError::Conflict { .. }) => {}
                other => return other.map(|_| ()),
            }
        }
    }
}

/// The transaction that appends `events` to a log whose head was read at `revision`.
fn plan(account: &str, region: &str, head: HeadRow, revision: u64, events: &[Event], kept: u64) -> Txn {
    let key = head_key(account, region);
    let prefix = log_prefix(account, region);
    let mut txn = Txn::new().require(&key, revision);
    let mut next = head.next;
    for event in events {
        let Ok(bytes) = serde_json::to_vec(event) else { continue };
        if bytes.len() > EVENT_BYTES_MAX {
            tracing::warn!(detail_type = event.detail_type, bytes = bytes.len(), "an event is too large for the log");
            continue;
        }
        txn = txn.put(format!("{prefix}{next:016x}"), bytes);
        next += 1;
    }
    let first = next.saturating_sub(kept).max(head.first);
    for position in head.first..first.min(head.next) {
        txn = txn.delete(format!("{prefix}{position:016x}"));
    }
    let row = serde_json::to_vec(&HeadRow { first, next }).unwrap_or_default();
    txn.put(key, Bytes::from(row))
}

async fn read_head(store: &Store, account: &str, region: &str) -> Result<(u64, HeadRow), StoreError> {
    let Some(found) = store.get(&head_key(account, region)).await? else { return Ok((0, HeadRow::default())) };
    Ok((found.mod_revision, serde_json::from_slice(&found.value).unwrap_or_default()))
}

fn head_key(account: &str, region: &str) -> String {
    format!("/events/{account}/{region}/head")
}

fn log_prefix(account: &str, region: &str) -> String {
    format!("/events/{account}/{region}/log/")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use gantry_store::Memory;

    use super::*;

    fn event(number: usize) -> Event {
        Event {
            id: format!("{number}"),
            source: "aws.ecr".into(),
            detail_type: "ECR Image Action".into(),
            account: "000000000000".into(),
            region: "us-east-1".into(),
            time_ms: 1,
            resources: Vec::new(),
            detail: serde_json::json!({"n": number}),
        }
    }

    async fn ids(log: &EventLog, after: Option<u64>, limit: usize) -> Vec<String> {
        let page = log.page("000000000000", "us-east-1", after, limit).await.unwrap();
        page.into_iter().map(|logged| logged.event.id).collect()
    }

    #[tokio::test]
    async fn the_newest_are_kept_in_the_order_they_came() {
        let store = Memory::store();
        for start in [0, 1000] {
            let log = EventLog::start(store.clone(), 500);
            (start..start + 1000).for_each(|number| log.emit(event(number)));
            log.close().await;
        }
        let log = EventLog::start(store.clone(), 500);
        assert_eq!(ids(&log, None, 3).await, ["1997", "1998", "1999"]);
        let all = ids(&log, Some(0), 10_000).await;
        assert_eq!((all.len(), all[0].as_str()), (500, "1500"));
        assert_eq!(ids(&log, Some(1997), 10).await, ["1998", "1999"]);
        assert_eq!(store.range("/events/", 0).await.unwrap().kvs.len(), 501);
        assert!(log.page("000000000000", "eu-west-1", None, 10).await.unwrap().is_empty());
    }
}
