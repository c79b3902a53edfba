//! Events: what happened to a resource, told to whoever listens. The shape is EventBridge's.
//!
//! A part of Gantry that has something to tell holds an `Arc<dyn EventSink>`; the program decides who listens. Who can
//! tell an event again after a crash [tells](EventSink::tell) it and goes on when it is kept: such events are told at
//! least once. The others are [emitted](EventSink::emit), best effort.

use std::{future::Future, pin::Pin};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Something that happened. Serializes as it is kept; [`Event::delivered`] is what clients see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Names the occurrence: an event that is told twice has the same id. A UUID.
    pub id: String,
    /// Who tells it, for example `aws.ecr`.
    pub source: String,
    /// What kind of event it is, for example `ECR Image Action`.
    #[serde(rename = "detail-type")]
    pub detail_type: String,
    /// Twelve digits.
    pub account: String,
    /// The region.
    pub region: String,
    /// When it happened, in milliseconds since the epoch.
    pub time_ms: i64,
    /// ARNs of what it is about; empty for the kinds of events that name none.
    pub resources: Vec<String>,
    /// The rest, by kind.
    pub detail: Value,
}

impl Event {
    /// The form in which EventBridge delivers events; `time` is its moment as ISO 8601.
    pub fn delivered(&self, time: &str) -> Value {
        json!({
            "version": "0",
            "id": self.id,
            "detail-type": self.detail_type,
            "source": self.source,
            "account": self.account,
            "time": time,
            "region": self.region,
            "resources": self.resources,
            "detail": self.detail,
        })
    }
}

/// Events could not be kept; tell them again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the events could not be kept: {0}")]
pub struct Untold(pub String);

/// The running answer of [`EventSink::tell`].
pub type Telling<'a> = Pin<Box<dyn Future<Output = Result<(), Untold>> + Send + 'a>>;

/// Takes events. Shared; called from anywhere.
pub trait EventSink: Send + Sync + 'static {
    /// Takes `event` without blocking. It is lost when the sink has no room.
    fn emit(&self, event: Event);

    /// Takes events in order; they are durable when this returns. A sink that keeps nothing just takes them.
    fn tell(&self, events: Vec<Event>) -> Telling<'_> {
        events.into_iter().for_each(|event| self.emit(event));
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A sink that forgets everything, for tests and for parts that run alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEvents;

impl EventSink for NoEvents {
    fn emit(&self, _: Event) {}
}
