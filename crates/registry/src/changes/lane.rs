//! The changes of one repository, handed to every handler at its own pace.
//!
//! Rows are ordered by the revision of their transaction, which no key can carry: it is not known while the
//! transaction is planned. Keys carry the revision at which it was planned, which is smaller. So of a page of keys,
//! what was committed before the last of them was planned comes before everything that is not in the page; see
//! [`in_order`].

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use gantry_store::{KeyValue, Txn, TxnError};
use tokio::time::Instant;

use super::{ChangeHandler, ImageChange, decode};
use crate::fault::RegistryError;
use crate::metadata::planned_at;
use crate::registry::Registry;

/// Rows a lane reads, hands on and deletes at a time.
const PAGE: usize = 64;
/// Rows that are forgotten in one transaction.
const FORGOTTEN_AT_ONCE: usize = 500;
/// How long one handler may take for one change.
const HANDLER_TIME_MAX: Duration = Duration::from_secs(60);
/// The first and the longest wait after a failure.
pub(super) const RETRY: std::ops::RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_secs(300);
/// How long a change is offered to a handler that refuses it. Then an operator must look: it is logged and dropped.
const OFFERED_MS_MAX: i64 = 24 * 60 * 60 * 1000;
/// Changes that may wait in one repository for a failing handler; the oldest is dropped for the next.
const WAITING_MAX: usize = 10_000;

/// A lane at work.
pub(super) struct Lane<'a> {
    registry: &'a Registry,
    handlers: &'a [Box<dyn ChangeHandler>],
    /// The prefix of its rows' keys.
    lane: &'a str,
    /// Of each handler.
    paces: Vec<Pace>,
}

impl<'a> Lane<'a> {
    pub(super) fn new(registry: &'a Registry, handlers: &'a [Box<dyn ChangeHandler>], lane: &'a str) -> Self {
        Self { registry, handlers, lane, paces: handlers.iter().map(|_| Pace::default()).collect() }
    }

    /// Hands on the rows of a lane until there are none, or none that a handler takes before the time returned.
    pub(super) async fn drain(&mut self) -> Result<Option<Instant>, RegistryError> {
        let (lane, paces) = (self.lane, &mut self.paces);
        let store = &self.registry.metadata.store;
        let mut page_size = PAGE;
        loop {
            let page = store.range(lane, page_size).await?;
            if page.kvs.is_empty() {
                return Ok(None);
            }
            let more = page.more;
            let rows = in_order(page.kvs, more);
            let told = self.handlers.iter().zip(paces.iter_mut());
            let registry = self.registry;
            join_all(told.map(|(handler, pace)| hand_on(registry, lane, handler.as_ref(), pace, &rows))).await;
            let taken = |row: &&KeyValue| paces.iter().all(|pace| pace.taken.contains(&row.key));
            let done: Vec<&KeyValue> = rows.iter().filter(taken).collect();
            for some in done.chunks(FORGOTTEN_AT_ONCE) {
                let txn = some.iter().fold(Txn::new(), |txn, row| txn.delete(&*row.key));
                match store.txn(txn).await {
                    Ok(_) | Err(TxnError::Conflict { .. }) => {}
                    Err(TxnError::Store(error)) => return Err(error.into()),
                }
            }
            if done.len() == rows.len() && !done.is_empty() {
                paces.iter_mut().for_each(|pace| pace.taken.clear());
                page_size = PAGE;
            } else if more && page_size < WAITING_MAX {
                // Rows that wait for one handler must not hide from the others what comes after them; or more
                // transactions than a page holds were planned at one revision.
                page_size *= 2;
            } else {
                let there: HashSet<&Arc<str>> = rows.iter().map(|row| &row.key).collect();
                paces.iter_mut().for_each(|pace| pace.taken.retain(|key| there.contains(key)));
                let soonest = paces.iter().filter_map(|pace| pace.until).min();
                return Ok(soonest.or_else(|| more.then(|| Instant::now() + *RETRY.start())));
            }
        }
    }
}

/// Tells one handler of the rows that it has not taken yet, until it refuses one.
async fn hand_on(registry: &Registry, lane: &str, handler: &dyn ChangeHandler, pace: &mut Pace, rows: &[KeyValue]) {
    if pace.until.is_some_and(|until| until > Instant::now()) {
        return;
    }
    pace.until = None;
    for row in rows {
        if pace.taken.contains(&row.key) {
            continue;
        }
        let Some(change) = decode(row) else {
            tracing::error!(key = %row.key, "an image change cannot be read and is dropped");
            pace.taken.insert(Arc::clone(&row.key));
            continue;
        };
        if let Err(error) = tell(handler, registry, &change).await {
            let name = handler.name();
            metrics::counter!("gantry_registry_change_failures_total", "handler" => name).increment(1);
            let dropped = is_to_be_dropped(registry, lane, &change).await;
            let error = &error as &dyn std::error::Error;
            if !dropped {
                let wait = pace.failed();
                tracing::warn!(lane, handler = name, ?wait, error, "an image change could not be handled");
                return;
            }
            metrics::counter!("gantry_registry_changes_dropped_total", "handler" => name).increment(1);
            tracing::error!(
                lane,
                change = change.id,
                handler = name,
                error,
                "an image change was refused for too long and is dropped"
            );
        }
        pace.took(&row.key);
    }
}

/// Whether a change that was refused is not offered again.
async fn is_to_be_dropped(registry: &Registry, lane: &str, change: &ImageChange) -> bool {
    if registry.now().as_millis().saturating_sub(change.at_ms) > OFFERED_MS_MAX {
        return true;
    }
    registry.metadata.store.range(lane, WAITING_MAX).await.is_ok_and(|waiting| waiting.more)
}

async fn tell(handler: &dyn ChangeHandler, registry: &Registry, change: &ImageChange) -> Result<(), RegistryError> {
    match tokio::time::timeout(HANDLER_TIME_MAX, handler.handle(registry, change)).await {
        Ok(told) => told,
        Err(_) => Err(RegistryError::LimitExceeded(format!(
            "the handler '{}' took longer than {HANDLER_TIME_MAX:?}",
            handler.name()
        ))),
    }
}

/// Of the rows of a page, those that come before every row that is not in it, in the order of their transactions.
fn in_order(mut page: Vec<KeyValue>, more: bool) -> Vec<KeyValue> {
    if more {
        let last = page.last().and_then(|last| planned_at(&last.key)).unwrap_or_default();
        page.retain(|row| row.create_revision <= last);
    }
    page.sort_by_key(|row| row.create_revision);
    page
}

/// How far a handler is in a lane.
#[derive(Debug, Default)]
struct Pace {
    /// Rows that it has taken and another handler has not.
    taken: HashSet<Arc<str>>,
    failures: u32,
    /// When it is offered again what it refused.
    until: Option<Instant>,
}

impl Pace {
    fn took(&mut self, key: &Arc<str>) {
        self.taken.insert(Arc::clone(key));
        self.failures = 0;
    }

    fn failed(&mut self) -> Duration {
        let wait = retry_wait(self.failures);
        self.failures += 1;
        self.until = Some(Instant::now() + wait);
        wait
    }
}

/// How long to wait after so many failures before this one.
pub(super) fn retry_wait(failures: u32) -> Duration {
    RETRY.start().saturating_mul(1 << failures.min(16)).min(*RETRY.end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::CHANGES_PREFIX;

    fn row(planned: u64, committed: u64) -> KeyValue {
        KeyValue {
            key: format!("{CHANGES_PREFIX}0/r/app:{planned:016x}{committed:016x}").into(),
            value: bytes::Bytes::new(),
            create_revision: committed,
            mod_revision: committed,
            version: 1,
            lease: None,
        }
    }

    fn order(rows: &[(u64, u64)], more: bool) -> Vec<u64> {
        in_order(rows.iter().map(|(p, c)| row(*p, *c)).collect(), more).iter().map(|row| row.create_revision).collect()
    }

    #[test]
    fn rows_come_in_the_order_of_their_transactions() {
        assert_eq!(order(&[(1, 9), (2, 3), (4, 5)], false), [3, 5, 9]);
    }

    #[test]
    fn a_row_that_something_outside_the_page_may_precede_waits() {
        // What follows was planned at 4 or later, so committed at 5 or later: 9 may come after it.
        assert_eq!(order(&[(1, 9), (2, 3), (4, 5)], true), [3]);
        assert_eq!(order(&[(1, 5), (1, 6), (1, 7)], true), Vec::<u64>::new());
    }

    #[test]
    fn waits_grow_to_a_bound() {
        let waits: Vec<Duration> = (0..40).map(retry_wait).collect();
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!((waits[0], waits[39]), (*RETRY.start(), *RETRY.end()));
    }
}
