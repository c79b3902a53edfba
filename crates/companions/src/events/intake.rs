//! Takes events: writes them to the log, and a delivery for every target of every rule that they match.
//!
//! One writer takes what waits in a bounded queue, so that a thousand events do not cost a thousand commits. Who
//! [takes](Intake::take) waits until the events are durable; an [emitted](Intake::emit) event that is still in the
//! queue when the process is killed is lost.

mod writer;

use std::sync::Arc;

use gantry_api::event::{Event, Untold};
use gantry_store::{Store, View};
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::Clock;
use super::picture::Picture;
use super::queues::Queues;
use super::rows::{DEFAULT_BUS, RuleKey, ScheduleRow};
use writer::Writer;
pub(super) use writer::delivered;

/// Messages that may wait to be written.
const QUEUE_MAX: usize = 20_000;
/// Calls of PutEvents whose events wait to be written, of 256 KiB each at most; others wait for their turn. The rest of
/// the queue is for events of the program itself, which nobody can tell again.
const TAKEN_MAX: usize = 256;
/// Events written together: each is a put and, when the log is full, a delete.
const EVENTS_MAX: usize = 400;

/// Events of the log that are sent again together.
pub(super) const REPLAYED_AT_ONCE: usize = 100;

pub(super) struct Intake {
    queue: mpsc::Sender<Message>,
    taken: Semaphore,
    writer: Mutex<Option<JoinHandle<()>>>,
}

enum Message {
    Events(Incoming),
    Close,
}

/// Events of one bus, or of one rule that is due.
struct Incoming {
    to: To,
    events: Vec<Event>,
    done: Option<oneshot::Sender<Result<(), Untold>>>,
}

enum To {
    Bus(String),
    /// The rule, and when it is due next.
    Rule(RuleKey, ScheduleRow),
    /// The rule, and the name of the replay. The events are in the log already; they go to the rule when they still
    /// match it.
    Again(RuleKey, String),
}

impl Intake {
    pub(super) fn start(store: Store, view: View<Picture>, queues: Arc<Queues>, clock: Clock, kept: u64) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let writer = Writer { store, view, queues, clock, kept: kept.max(1), waiting };
        Self { queue, taken: Semaphore::new(TAKEN_MAX), writer: Mutex::new(Some(tokio::spawn(writer.run()))) }
    }

    /// Takes an event of the default bus without waiting.
    pub(super) fn emit(&self, event: Event) {
        let incoming = Incoming { to: To::Bus(DEFAULT_BUS.to_owned()), events: vec![event], done: None };
        if self.queue.try_send(Message::Events(incoming)).is_err() {
            tracing::warn!("the event log cannot keep up; an event is lost");
        }
    }

    /// Takes events of a bus; they are durable when this returns.
    pub(super) async fn take(&self, bus: String, mut events: Vec<Event>) -> Result<(), Untold> {
        let _turn = self.taken.acquire().await.map_err(|error| Untold(error.to_string()))?;
        while !events.is_empty() {
            let rest = events.split_off(events.len().min(EVENTS_MAX));
            self.send(To::Bus(bus.clone()), events).await?;
            events = rest;
        }
        Ok(())
    }

    /// Takes the event of a rule that is due, and notes when it is due next.
    pub(super) async fn take_due(&self, rule: RuleKey, next: ScheduleRow, event: Event) -> Result<(), Untold> {
        self.send(To::Rule(rule, next), vec![event]).await
    }

    /// Takes events of the log again, for a rule that they match: at most [`REPLAYED_AT_ONCE`].
    pub(super) async fn take_again(&self, rule: RuleKey, replay: String, events: Vec<Event>) -> Result<(), Untold> {
        let _turn = self.taken.acquire().await.map_err(|error| Untold(error.to_string()))?;
        if events.is_empty() { Ok(()) } else { self.send(To::Again(rule, replay), events).await }
    }

    async fn send(&self, to: To, events: Vec<Event>) -> Result<(), Untold> {
        let closed = || Untold("the server is shutting down".to_owned());
        let (done, answer) = oneshot::channel();
        let incoming = Incoming { to, events, done: Some(done) };
        self.queue.send(Message::Events(incoming)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    pub(super) async fn close(&self) {
        let Some(writer) = self.writer.lock().await.take() else { return };
        let _ = self.queue.send(Message::Close).await;
        let _ = writer.await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use gantry_api::Caller;
    use gantry_api::events::{Events as _, PutRuleRequest, PutTargetsRequest, Target};
    use gantry_domain::Timestamp;
    use gantry_store::Memory;
    use serde_json::json;

    use super::*;
    use crate::events::EventBridge;
    use crate::events::rows::{Scope, TargetKey};

    #[tokio::test]
    async fn what_a_rule_is_no_longer_for_is_not_sent_again() {
        let clock: Clock = Arc::new(|| Timestamp::from_millis(1_767_225_600_000));
        // Nobody delivers: what is for the target stays.
        let events = EventBridge::open(Memory::store(), clock, 10).await.unwrap();
        let caller = Caller::root("000000000000", "us-east-1");
        let rule = |source: &str| PutRuleRequest {
            name: Some("r".to_owned()),
            event_pattern: Some(json!({"source": [source]}).to_string()),
            ..Default::default()
        };
        events.put_rule(&caller, rule("one")).await.unwrap();
        let url = Some("http://127.0.0.1:1/".to_owned());
        let target = Target { id: Some("t".to_owned()), arn: url, ..Default::default() };
        let input = PutTargetsRequest { rule: Some("r".to_owned()), targets: Some(vec![target]), ..Default::default() };
        events.put_targets(&caller, input).await.unwrap();
        let rule_key = Scope::of(&caller).rule(DEFAULT_BUS, "r");
        let key = TargetKey { rule: rule_key.clone(), target: "t".to_owned() };
        let event = Event {
            id: "00000000-0000-0000-0000-000000000001".to_owned(),
            source: "one".to_owned(),
            detail_type: "d".to_owned(),
            account: caller.account.clone(),
            region: caller.region.clone(),
            time_ms: 0,
            resources: Vec::new(),
            detail: json!({}),
        };
        let again = || events.inner.intake.take_again(rule_key.clone(), "again".to_owned(), vec![event.clone()]);
        again().await.unwrap();
        assert_eq!(events.inner.queues.waiting(&key), 1);
        events.put_rule(&caller, rule("other")).await.unwrap();
        again().await.unwrap();
        assert_eq!(events.inner.queues.waiting(&key), 1);
    }
}
