//! The newest events of each account and region, in the order in which they came: what the default bus got.
//!
//! ```text
//! /events/ACCOUNT/REGION/log/POSITION   an event; positions grow by one, written as 16 hex digits
//! /events/ACCOUNT/REGION/head           HeadRow: the first and the next position
//! ```

use bytes::Bytes;
use gantry_api::event::Event;
use gantry_store::{KeyRange, Store, StoreError, Txn, TxnError};
use serde::{Deserialize, Serialize};

use super::rows::Scope;

/// An event and where it is in the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoggedEvent {
    /// Its position; the next event has a greater one.
    pub position: u64,
    /// The event.
    pub event: Event,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct HeadRow {
    /// The position of the oldest event.
    first: u64,
    /// The position that the next event gets.
    next: u64,
}

impl Default for HeadRow {
    /// An empty log. Position 0 is before the first event.
    fn default() -> Self {
        Self { first: 1, next: 1 }
    }
}

/// A page ends once it has so many bytes.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Events that are read from the store in one go.
const READ_AT_ONCE: usize = 32;

/// See [`super::EventBridge::page`].
pub(super) async fn page(
    store: &Store,
    account: &str,
    region: &str,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<LoggedEvent>, StoreError> {
    let scope = Scope { account: account.to_owned(), region: region.to_owned() };
    let (_, head) = read_head(store, &scope).await?;
    let newest = head.next.saturating_sub(limit as u64).max(head.first);
    let from = after.map_or(newest, |after| after.saturating_add(1));
    let prefix = log_prefix(&scope);
    let range = KeyRange::between(&format!("{prefix}{from:016x}"), &format!("{prefix}~"));
    let logged = |kv: &gantry_store::KeyValue| {
        let position = u64::from_str_radix(kv.key.strip_prefix(&prefix)?, 16).ok()?;
        Some(LoggedEvent { position, event: serde_json::from_slice(&kv.value).ok()? })
    };
    // Some at a time: an event can have 256 KiB, and whoever follows asks for the rest.
    let (mut page, mut bytes, mut range) = (Vec::new(), 0, range);
    while page.len() < limit.max(1) && bytes < PAGE_BYTES_MAX {
        let found = store.range(range.clone(), READ_AT_ONCE.min(limit.max(1) - page.len())).await?;
        bytes += found.kvs.iter().map(|kv| kv.value.len()).sum::<usize>();
        page.extend(found.kvs.iter().filter_map(logged));
        match found.kvs.last().filter(|_| found.more) {
            Some(last) => range = KeyRange::between(&format!("{}\0", last.key), &format!("{prefix}~")),
            None => break,
        }
    }
    Ok(page)
}

/// Adds events at the end, and takes as many from the beginning as are then more than `kept`.
pub(super) async fn append(store: &Store, scope: &Scope, events: &[Bytes], kept: u64) -> Result<(), TxnError> {
    loop {
        let (revision, head) = read_head(store, scope).await?;
        match store.txn(plan(scope, head, revision, events, kept)).await {
            // Another process that shares the store was faster.
            Err(TxnError::Conflict { .. }) => {}
            other => return other.map(|_| ()),
        }
    }
}

/// The transaction that appends `events` to a log whose head was read at `revision`.
fn plan(scope: &Scope, head: HeadRow, revision: u64, events: &[Bytes], kept: u64) -> Txn {
    let key = head_key(scope);
    let prefix = log_prefix(scope);
    let mut txn = Txn::new().require(&key, revision);
    let mut next = head.next;
    for event in events {
        txn = txn.put_untold(format!("{prefix}{next:016x}"), event.clone());
        next += 1;
    }
    let first = next.saturating_sub(kept).max(head.first);
    for position in head.first..first.min(head.next) {
        txn = txn.delete(format!("{prefix}{position:016x}"));
    }
    let row = serde_json::to_vec(&HeadRow { first, next }).unwrap_or_default();
    txn.put(key, Bytes::from(row))
}

async fn read_head(store: &Store, scope: &Scope) -> Result<(u64, HeadRow), StoreError> {
    let Some(found) = store.get(&head_key(scope)).await? else { return Ok((0, HeadRow::default())) };
    Ok((found.mod_revision, serde_json::from_slice(&found.value).unwrap_or_default()))
}

fn head_key(scope: &Scope) -> String {
    format!("/events/{}/{}/head", scope.account, scope.region)
}

fn log_prefix(scope: &Scope) -> String {
    format!("/events/{}/{}/log/", scope.account, scope.region)
}
