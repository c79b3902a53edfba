//! PutEvents and TestEventPattern.

use std::collections::BTreeMap;

use gantry_api::event::Event;
use gantry_api::events::{
    PutEventsRequest, PutEventsRequestEntry, PutEventsResponse, PutEventsResultEntry, TestEventPatternRequest,
    TestEventPatternResponse,
};
use gantry_api::{Caller, Fault};
use gantry_domain::event_input::INPUT_BYTES_MAX;
use gantry_domain::event_pattern::EventPattern;
use serde_json::Value;

use super::rows::Scope;
use super::{Inner, fault, names};

/// What the entries of a request may have together, bytes.
const ENTRIES_BYTES_MAX: usize = INPUT_BYTES_MAX;
/// What an event without a text counts: its time.
const TIME_BYTES: usize = 14;

/// Why an entry is refused: code and sentence.
type Refusal = (&'static str, String);

pub(super) async fn put_events(
    inner: &Inner,
    caller: &Caller,
    input: PutEventsRequest,
) -> Result<PutEventsResponse, Fault> {
    if input.endpoint_id.is_some() {
        return Err(fault::not_valid("EndpointId", "There are no global endpoints."));
    }
    let entries = input.entries.unwrap_or_default();
    if entries.iter().map(bytes).sum::<usize>() > ENTRIES_BYTES_MAX {
        return Err(fault::validation("Total size of the entries in the request is over the limit."));
    }
    let scope = Scope::of(caller);
    let mut results = Vec::with_capacity(entries.len());
    let mut by_bus: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    for entry in entries {
        let understood = event(inner, &scope, entry);
        results.push(match understood {
            Ok((bus, event)) => {
                let id = Some(event.id.clone());
                by_bus.entry(bus).or_default().push(event);
                PutEventsResultEntry { event_id: id, ..Default::default() }
            }
            Err((code, message)) => PutEventsResultEntry {
                error_code: Some(code.to_owned()),
                error_message: Some(message),
                ..Default::default()
            },
        });
    }
    for (bus, events) in by_bus {
        inner.intake.take(bus, events).await.map_err(fault::internal)?;
    }
    let failed = results.iter().filter(|result| result.error_code.is_some()).count();
    Ok(PutEventsResponse { failed_entry_count: i32::try_from(failed).ok(), entries: Some(results) })
}

/// An entry's bytes as EventBridge counts them.
fn bytes(entry: &PutEventsRequestEntry) -> usize {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let resources: usize = entry.resources.iter().flatten().map(String::len).sum();
    let time = if entry.time.is_some() { TIME_BYTES } else { 0 };
    time + length(&entry.source) + length(&entry.detail_type) + length(&entry.detail) + resources
}

fn event(inner: &Inner, scope: &Scope, entry: PutEventsRequestEntry) -> Result<(String, Event), Refusal> {
    let required = |name: &str, value: Option<String>| {
        let missing = || format!("Parameter {name} is not valid. Reason: {name} is a required argument.");
        value.filter(|text| !text.is_empty()).ok_or_else(|| ("InvalidArgument", missing()))
    };
    let source = required("Source", entry.source)?;
    let detail_type = required("DetailType", entry.detail_type)?;
    let detail = required("Detail", entry.detail)?;
    if source.starts_with("aws.") {
        return Err(("NotAuthorizedForSourceException", "Not authorized for the source.".to_owned()));
    }
    let malformed = || ("MalformedDetail", "Detail is malformed.".to_owned());
    let detail: Value = serde_json::from_str(&detail).map_err(|_| malformed())?;
    if !detail.is_object() {
        return Err(malformed());
    }
    let bus = names::existing_bus(&inner.view.read(), scope, entry.event_bus_name.as_deref());
    let bus = bus.map_err(|fault| ("ResourceNotFoundException", fault.message))?;
    let time_ms = entry.time.and_then(|time| i64::try_from(time.as_millis()).ok());
    let event = Event {
        id: uuid::Uuid::new_v4().to_string(),
        source,
        detail_type,
        account: scope.account.clone(),
        region: scope.region.clone(),
        time_ms: time_ms.unwrap_or_else(|| inner.now_ms()),
        resources: entry.resources.unwrap_or_default(),
        detail,
    };
    Ok((bus, event))
}

pub(super) async fn test_event_pattern(
    _: &Inner,
    _: &Caller,
    input: TestEventPatternRequest,
) -> Result<TestEventPatternResponse, Fault> {
    let pattern = EventPattern::parse(input.event_pattern.as_deref().unwrap_or_default());
    let pattern = pattern.map_err(|error| fault::pattern(&error))?;
    let event = input.event.unwrap_or_default();
    if event.len() > INPUT_BYTES_MAX {
        return Err(fault::not_valid("Event", "It is larger than an event may be."));
    }
    let event: Value = serde_json::from_str(&event).map_err(|_| fault::validation("Parameter Event is not valid."))?;
    let required = ["id", "account", "source", "time", "region", "resources", "detail-type"];
    if let Some(name) = required.into_iter().find(|name| event.get(name).is_none()) {
        return Err(fault::not_valid("Event", format!("{name} is a required field.")));
    }
    Ok(TestEventPatternResponse { result: Some(pattern.matches(&event)) })
}
