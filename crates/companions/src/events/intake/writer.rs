//! The one writer of events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gantry_api::event::{Event, Untold};
use gantry_domain::Timestamp;
use gantry_domain::event_input::About;
use gantry_store::limits::VALUE_BYTES_MAX;
use gantry_store::{Store, StoreError, Txn, TxnError, View};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{EVENTS_MAX, Incoming, Message, To};
use crate::events::picture::{Picture, Rule};
use crate::events::queues::{self, Queues};
use crate::events::rows::{DEFAULT_BUS, DeliveryRow, Scope, TargetKey};
use crate::events::{Clock, change, log};

/// Operations and bytes of one transaction.
const TXN_OPS_MAX: usize = 500;
const TXN_BYTES_MAX: usize = 4 << 20;
/// How long the writer waits for more when nobody waits for it.
const GATHER: Duration = Duration::from_millis(20);

pub(super) struct Writer {
    pub(super) store: Store,
    pub(super) view: View<Picture>,
    pub(super) queues: Arc<Queues>,
    pub(super) clock: Clock,
    pub(super) kept: u64,
    pub(super) waiting: mpsc::Receiver<Message>,
}

/// A delivery that is to be written.
struct Delivery {
    key: TargetKey,
    position: u64,
    row: Bytes,
}

impl Writer {
    pub(super) async fn run(mut self) {
        let mut closing = false;
        while !closing {
            let Some(first) = self.waiting.recv().await else { return };
            let mut batch = Vec::new();
            let mut events = 0;
            let mut next = Some(first);
            while let Some(message) = next.take() {
                match message {
                    Message::Close => closing = true,
                    Message::Events(incoming) => {
                        events += incoming.events.len();
                        batch.push(incoming);
                    }
                }
                if closing || events >= EVENTS_MAX {
                    break;
                }
                next = self.waiting.try_recv().ok();
                if next.is_none() && batch.len() == 1 && batch.iter().all(|incoming| incoming.done.is_none()) {
                    tokio::time::sleep(GATHER).await;
                    next = self.waiting.try_recv().ok();
                }
            }
            self.write(batch).await;
        }
    }

    async fn write(&self, batch: Vec<Incoming>) {
        let mut logged: BTreeMap<Scope, Vec<Bytes>> = BTreeMap::new();
        let mut deliveries = Vec::new();
        let mut schedules = Vec::new();
        let mut flushed = Ok(());
        for incoming in &batch {
            for event in &incoming.events {
                let scope = Scope { account: event.account.clone(), region: event.region.clone() };
                let Some(row) = log_row(event) else { continue };
                self.match_rules(&scope, &incoming.to, event, &mut deliveries);
                // One event can be for very many targets: what it became does not wait for the next one's.
                if deliveries.iter().map(|delivery| delivery.row.len()).sum::<usize>() > TXN_BYTES_MAX {
                    let full = std::mem::take(&mut deliveries);
                    flushed = flushed.and(self.write_deliveries(full, Vec::new()).await);
                }
                if matches!(&incoming.to, To::Bus(bus) if bus == DEFAULT_BUS) {
                    logged.entry(scope).or_default().push(row);
                }
            }
            if let To::Rule(rule, next) = &incoming.to {
                match change::encode(next) {
                    Ok(row) => schedules.push((rule.schedule(), row)),
                    // Then it stays due, and is told again.
                    Err(error) => tracing::error!(rule = rule.arn(), %error, "a schedule cannot be written"),
                }
            }
        }
        let (delivered, logged) = tokio::join!(self.write_deliveries(deliveries, schedules), self.write_log(logged));
        let outcome = flushed.and(delivered).and(logged).map_err(|error| Untold(error.to_string()));
        if let Err(error) = &outcome {
            let lost: usize = batch.iter().filter(|one| one.done.is_none()).map(|one| one.events.len()).sum();
            tracing::warn!(%error, lost, "events could not be written");
        }
        for done in batch.into_iter().filter_map(|incoming| incoming.done) {
            let _ = done.send(outcome.clone());
        }
    }

    /// Adds a delivery for every target of every rule that the event is for.
    fn match_rules(&self, scope: &Scope, to: &To, event: &Event, deliveries: &mut Vec<Delivery>) {
        let picture = self.view.read();
        let now = (self.clock)();
        match to {
            To::Rule(key, _) => {
                if let Some(rule) = picture.rules.get(key) {
                    self.add_targets(rule, &delivered(event), event, now, deliveries);
                }
            }
            To::Again(key, replay) => {
                let Some(rule) = picture.rules.get(key) else { return };
                let mut told = delivered(event);
                // It did when the log was read; the rule may be another one since.
                if !rule.is_for(&told) {
                    return;
                }
                told["replay-name"] = replay.as_str().into();
                self.add_targets(rule, &told, event, now, deliveries);
            }
            To::Bus(bus) => {
                let mut rules = picture.rules_of(scope, bus).filter(|rule| rule.is_enabled()).peekable();
                if rules.peek().is_none() {
                    return;
                }
                let told = delivered(event);
                for rule in rules {
                    if rule.is_for(&told) {
                        self.add_targets(rule, &told, event, now, deliveries);
                    }
                }
            }
        }
    }

    fn add_targets(&self, rule: &Rule, told: &Value, event: &Event, now: Timestamp, deliveries: &mut Vec<Delivery>) {
        let (arn, time) = (rule.key.arn(), now.to_iso8601());
        let about = About { rule_arn: &arn, rule_name: &rule.key.rule, ingestion_time: &time };
        for (target, input) in &rule.inputs {
            let row = input.of(told, about).map_err(|error| error.to_string()).and_then(|input| {
                let row = DeliveryRow { event_id: event.id.clone(), at_ms: now.as_millis(), attempts: 0, input };
                queues::encode(&row).ok_or_else(|| "it is too large".to_owned())
            });
            match row {
                Ok(row) => deliveries.push(Delivery {
                    key: TargetKey { rule: rule.key.clone(), target: target.clone() },
                    position: self.queues.new_position(now.as_millis()),
                    row: Bytes::from(row),
                }),
                Err(reason) => {
                    tracing::warn!(rule = arn, target, event = event.id, reason, "an event is not delivered");
                }
            }
        }
    }

    async fn write_deliveries(
        &self,
        deliveries: Vec<Delivery>,
        schedules: Vec<(String, Vec<u8>)>,
    ) -> Result<(), StoreError> {
        let mut txn = Txn::new();
        let (mut bytes, mut written) = (0, Vec::new());
        for delivery in deliveries {
            if txn.then.len() >= TXN_OPS_MAX || bytes + delivery.row.len() > TXN_BYTES_MAX {
                self.commit(std::mem::take(&mut txn), &mut written).await?;
                bytes = 0;
            }
            bytes += delivery.row.len();
            txn = txn.put_untold(delivery.key.delivery(delivery.position), delivery.row.clone());
            written.push(delivery);
        }
        // Not before what is told: a rule whose next time stands already would never tell the last one.
        let txn = schedules.into_iter().fold(txn, |txn, (key, row)| txn.put(key, row));
        self.commit(txn, &mut written).await
    }

    /// Writes deliveries and lets their targets' workers know.
    async fn commit(&self, txn: Txn, written: &mut Vec<Delivery>) -> Result<(), StoreError> {
        if txn.then.is_empty() {
            return Ok(());
        }
        unconditional(self.store.txn(txn).await)?;
        let mut dropped = Vec::new();
        for delivery in written.drain(..) {
            dropped.extend(self.queues.push(delivery.key, delivery.position, delivery.row.len()));
        }
        for some in dropped.chunks(TXN_OPS_MAX) {
            if let Some((key, _)) = some.first() {
                let (rule, target) = (key.rule.arn(), key.target.as_str());
                tracing::warn!(
                    rule,
                    target,
                    given_up = some.len(),
                    "too much waits for a target; the oldest is given up"
                );
            }
            let deletes = some.iter().fold(Txn::new(), |txn, (key, position)| txn.delete(key.delivery(*position)));
            unconditional(self.store.txn(deletes).await)?;
        }
        Ok(())
    }

    async fn write_log(&self, logged: BTreeMap<Scope, Vec<Bytes>>) -> Result<(), StoreError> {
        for (scope, events) in logged {
            let mut rest = events.as_slice();
            while !rest.is_empty() {
                let mut bytes = 0;
                let fits = |event: &&Bytes| {
                    bytes += event.len();
                    bytes <= TXN_BYTES_MAX
                };
                let count = rest.iter().take(EVENTS_MAX).take_while(fits).count().max(1);
                let (some, after) = rest.split_at(count);
                unconditional(log::append(&self.store, &scope, some, self.kept).await)?;
                rest = after;
            }
        }
        Ok(())
    }
}

/// A transaction without conditions has no conflicts.
fn unconditional<T>(done: Result<T, TxnError>) -> Result<(), StoreError> {
    match done {
        Ok(_) | Err(TxnError::Conflict { .. }) => Ok(()),
        Err(TxnError::Store(error)) => Err(error),
    }
}

/// An event as targets and patterns see it.
pub(in crate::events) fn delivered(event: &Event) -> Value {
    event.delivered(&Timestamp::from_millis(event.time_ms).to_iso8601())
}

/// An event as the log keeps it; none for one that no row can hold. PutEvents has refused what EventBridge refuses.
fn log_row(event: &Event) -> Option<Bytes> {
    let row = serde_json::to_vec(event).ok()?;
    if row.len() > VALUE_BYTES_MAX {
        tracing::warn!(detail_type = event.detail_type, bytes = row.len(), "an event is too large");
        return None;
    }
    Some(Bytes::from(row))
}
