//! Events: what happened to a resource, told to whoever listens. The shape is EventBridge's.
//!
//! A part of Gantry that has something to tell holds an `Arc<dyn EventSink>`; the program decides who listens. Telling
//! is best effort, as it is in the real service: a sink never blocks and never fails, so nobody may rely on an event
//! to keep state.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Something that happened. Serializes in the form in which EventBridge delivers events, but for `time`, which a sink
/// that speaks to clients writes as ISO 8601.
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

/// Takes events. Shared; called from anywhere.
pub trait EventSink: Send + Sync + 'static {
    /// Takes `event` without blocking. It is lost when the sink has no room: events are best effort.
    fn emit(&self, event: Event);
}

/// A sink that forgets everything, for tests and for parts that run alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEvents;

impl EventSink for NoEvents {
    fn emit(&self, _: Event) {}
}
