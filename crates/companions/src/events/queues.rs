//! What waits for each target: the keys of its deliveries, beside their rows in the store.
//!
//! Only the intake adds, only a target's one worker takes. Everything is bounded ([`TARGET_MAX`], [`TARGET_BYTES_MAX`],
//! [`ALL_BYTES_MAX`]): the oldest deliveries of the target that has too much are given up, with a warning.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use gantry_store::{KeyRange, Store, StoreError};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::rows::{DELIVERIES, DeliveryRow, TargetKey};

/// Deliveries that may wait for a target.
pub(super) const TARGET_MAX: usize = 1_000;
/// Bytes that may wait for a target.
const TARGET_BYTES_MAX: usize = 16 << 20;
/// Bytes that may wait for all targets together.
const ALL_BYTES_MAX: usize = 256 << 20;
/// The longest a target is left alone after a failure.
const PAUSE_MS_MAX: i64 = 60_000;
/// The longest a delivery waits for its next try.
const RETRY_MS_MAX: i64 = 5 * 60_000;

#[derive(Debug, Default)]
pub(super) struct Queues {
    state: Mutex<State>,
    /// Told when a target has something and no worker.
    pub(super) idle_target: Notify,
}

#[derive(Debug, Default)]
struct State {
    queues: BTreeMap<TargetKey, Queue>,
    bytes: usize,
    last_position: u64,
}

#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<Entry>,
    bytes: usize,
    has_worker: bool,
    /// Failures since the last success.
    failures: u32,
    /// The target is left alone until then.
    pause_until_ms: i64,
    changed: Arc<Notify>,
}

/// A delivery that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) position: u64,
    bytes: usize,
    not_before_ms: i64,
}

/// What a worker does next.
pub(super) enum Next {
    Due(Entry),
    /// Nothing until then, or until something changes.
    Wait(i64, Arc<Notify>),
    /// Nothing at all; the worker ends.
    Empty,
}

impl Queues {
    /// What waited when the store was closed.
    pub(super) async fn load(store: &Store) -> Result<Self, StoreError> {
        let mut state = State::default();
        let each = |kv: gantry_store::KeyValue| {
            let Some((key, position)) = TargetKey::of_delivery(&kv.key) else { return };
            state.push(key, position, kv.value.len());
        };
        store.scan(KeyRange::prefix(DELIVERIES), each).await?;
        Ok(Self { state: Mutex::new(state), idle_target: Notify::new() })
    }

    /// A position after all others.
    pub(super) fn new_position(&self, now_ms: i64) -> u64 {
        let mut state = self.state.lock();
        let by_clock = u64::try_from(now_ms).unwrap_or(0) << 12;
        state.last_position = by_clock.max(state.last_position + 1);
        state.last_position
    }

    /// Adds a delivery whose row is written; what has to go for it.
    pub(super) fn push(&self, key: TargetKey, position: u64, bytes: usize) -> Vec<(TargetKey, u64)> {
        let mut state = self.state.lock();
        state.push(key.clone(), position, bytes);
        let dropped = state.trim(&key);
        self.idle_target.notify_one();
        dropped
    }

    /// How many deliveries wait for a target.
    pub(super) fn waiting(&self, key: &TargetKey) -> usize {
        self.state.lock().queues.get(key).map_or(0, |queue| queue.entries.len())
    }

    /// The targets that have something and no worker; they have one from now on.
    pub(super) fn take_idle(&self) -> Vec<TargetKey> {
        let mut state = self.state.lock();
        let idle = state.queues.iter_mut().filter(|(_, queue)| !queue.has_worker && !queue.entries.is_empty());
        idle.map(|(key, queue)| {
            queue.has_worker = true;
            key.clone()
        })
        .collect()
    }

    /// The target's worker ended without having done everything.
    pub(super) fn left(&self, key: &TargetKey) {
        if let Some(queue) = self.state.lock().queues.get_mut(key) {
            queue.has_worker = false;
        }
        self.idle_target.notify_one();
    }

    pub(super) fn next(&self, key: &TargetKey, now_ms: i64) -> Next {
        let mut state = self.state.lock();
        let Some(queue) = state.queues.get_mut(key) else { return Next::Empty };
        let Some(soonest) = queue.entries.iter().map(|entry| entry.not_before_ms).min() else {
            state.queues.remove(key);
            return Next::Empty;
        };
        let until = soonest.max(queue.pause_until_ms);
        match queue.entries.iter().find(|entry| entry.not_before_ms <= now_ms) {
            Some(entry) if queue.pause_until_ms <= now_ms => Next::Due(*entry),
            _ => Next::Wait(until, Arc::clone(&queue.changed)),
        }
    }

    /// The delivery is no more; `took_it` when its target has it.
    pub(super) fn done(&self, key: &TargetKey, entry: Entry, took_it: bool) {
        let mut state = self.state.lock();
        state.remove(key, entry.position);
        if let Some(queue) = state.queues.get_mut(key).filter(|_| took_it) {
            (queue.failures, queue.pause_until_ms) = (0, 0);
        }
    }

    /// The delivery failed for the `attempts`th time: it goes behind the others, and the target is left alone a while.
    pub(super) fn failed(&self, key: &TargetKey, entry: Entry, attempts: u32, now_ms: i64) {
        let mut state = self.state.lock();
        let Some(queue) = state.queues.get_mut(key) else { return };
        queue.failures = queue.failures.saturating_add(1);
        queue.pause_until_ms = now_ms + doubled(queue.failures).min(PAUSE_MS_MAX);
        let Some(at) = queue.entries.iter().position(|one| one.position == entry.position) else { return };
        if let Some(entry) = queue.entries.remove(at) {
            let not_before_ms = now_ms + doubled(attempts).min(RETRY_MS_MAX);
            queue.entries.push_back(Entry { not_before_ms, ..entry });
        }
    }
}

/// Half a second after the first failure, doubled with each.
fn doubled(failures: u32) -> i64 {
    250 << failures.clamp(1, 16)
}

impl State {
    fn push(&mut self, key: TargetKey, position: u64, bytes: usize) {
        self.last_position = self.last_position.max(position);
        self.bytes += bytes;
        let queue = self.queues.entry(key).or_default();
        queue.bytes += bytes;
        queue.entries.push_back(Entry { position, bytes, not_before_ms: 0 });
        queue.changed.notify_one();
    }

    fn remove(&mut self, key: &TargetKey, position: u64) {
        let Some(queue) = self.queues.get_mut(key) else { return };
        let Some(at) = queue.entries.iter().position(|entry| entry.position == position) else { return };
        if let Some(entry) = queue.entries.remove(at) {
            queue.bytes -= entry.bytes;
            self.bytes -= entry.bytes;
        }
    }

    /// Gives up the oldest of whoever has too much: of the queue that just grew, or, when all together are too much, of
    /// the largest queue of the account that has most.
    fn trim(&mut self, grown: &TargetKey) -> Vec<(TargetKey, u64)> {
        let mut dropped = Vec::new();
        let full = |queue: &Queue| queue.entries.len() > TARGET_MAX || queue.bytes > TARGET_BYTES_MAX;
        loop {
            let too_much = match self.bytes > ALL_BYTES_MAX {
                true => self.largest(),
                false => self.queues.get_key_value(grown).filter(|(_, queue)| full(queue)),
            };
            let oldest = too_much.and_then(|(key, queue)| {
                let position = queue.entries.iter().map(|entry| entry.position).min()?;
                Some((key.clone(), position))
            });
            let Some((key, position)) = oldest else { return dropped };
            self.remove(&key, position);
            dropped.push((key, position));
        }
    }

    fn largest(&self) -> Option<(&TargetKey, &Queue)> {
        let mut by_account: BTreeMap<&str, usize> = BTreeMap::new();
        for (key, queue) in &self.queues {
            *by_account.entry(&key.rule.scope.account).or_default() += queue.bytes;
        }
        let (most, _) = by_account.into_iter().max_by_key(|(_, bytes)| *bytes)?;
        let own = self.queues.iter().filter(|(key, _)| key.rule.scope.account == most);
        own.max_by_key(|(_, queue)| queue.bytes)
    }
}

/// A delivery's row as it is written.
pub(super) fn encode(row: &DeliveryRow) -> Option<Vec<u8>> {
    let encoded = serde_json::to_vec(row).ok()?;
    (encoded.len() <= gantry_store::limits::VALUE_BYTES_MAX).then_some(encoded)
}

#[cfg(test)]
mod tests {
    use super::super::rows::Scope;
    use super::*;

    fn key(target: &str) -> TargetKey {
        let scope = Scope { account: "000000000000".into(), region: "us-east-1".into() };
        TargetKey { rule: scope.rule("default", "r"), target: target.into() }
    }

    fn due(queues: &Queues, target: &str, now_ms: i64) -> Option<u64> {
        match queues.next(&key(target), now_ms) {
            Next::Due(entry) => Some(entry.position),
            _ => None,
        }
    }

    fn fail(queues: &Queues, target: &str, attempts: u32, now_ms: i64) {
        if let Next::Due(entry) = queues.next(&key(target), now_ms) {
            queues.failed(&key(target), entry, attempts, now_ms);
        }
    }

    #[test]
    fn a_target_that_has_too_much_gives_up_its_oldest_and_no_other_does() {
        let queues = Queues::default();
        queues.push(key("other"), 1, 10);
        let positions = 2..TARGET_MAX as u64 + 5;
        let dropped: Vec<u64> = positions
            .flat_map(|position| queues.push(key("full"), position, 10))
            .map(|(_, position)| position)
            .collect();
        assert_eq!(dropped, [2, 3, 4]);
        assert_eq!((due(&queues, "full", 0), due(&queues, "other", 0)), (Some(5), Some(1)));
        let large = queues.push(key("large"), 9000, TARGET_BYTES_MAX + 1);
        assert_eq!(large, [(key("large"), 9000)]);
    }

    #[test]
    fn what_failed_goes_behind_the_others_and_its_target_rests() {
        let queues = Queues::default();
        queues.push(key("t"), 1, 1);
        queues.push(key("t"), 2, 1);
        assert_eq!(queues.take_idle(), [key("t")]);
        assert!(queues.take_idle().is_empty());
        fail(&queues, "t", 1, 1000);
        assert_eq!(due(&queues, "t", 1499), None);
        assert_eq!(due(&queues, "t", 1500), Some(2));
        fail(&queues, "t", 1, 1500);
        assert_eq!(due(&queues, "t", 2499), None);
        assert_eq!(due(&queues, "t", 2500), Some(1));
        if let Next::Due(entry) = queues.next(&key("t"), 2500) {
            queues.done(&key("t"), entry, true);
        }
        assert_eq!(due(&queues, "t", 2500), Some(2));
    }
}
