//! GetLogEvents and FilterLogEvents: pages of events and the tokens that continue them.
//!
//! A token is a boundary between events (the position of the event after it), not an offset: events that come later
//! are found from the same token, so a follower that asks again and again with the last token misses nothing that comes
//! in order. At the end of the data the token that was sent comes back.

use std::collections::HashMap;

use gantry_api::logs::{
    FilterLogEventsRequest, FilterLogEventsResponse, FilteredLogEvent, GetLogEventsRequest, GetLogEventsResponse,
    OutputLogEvent,
};
use gantry_api::{Caller, Fault};

use super::events::{Found, Order, Position, Selection};
use super::pattern::Pattern;
use super::rows::{self, Group, Scope};
use super::streams::{choose, id_of};
use super::{Inner, day_ms, fault, groups};

/// Most events and bytes of messages in a page.
const PAGE_EVENTS_MAX: usize = 10_000;
const PAGE_BYTES_MAX: usize = 1 << 20;
/// Most bytes that one FilterLogEvents reads before it answers with what it has and a token.
const READ_BYTES_MAX: u64 = 32 << 20;

pub(super) async fn get(
    inner: &Inner,
    caller: &Caller,
    input: GetLogEventsRequest,
) -> Result<GetLogEventsResponse, Fault> {
    let scope = Scope::of(caller);
    let group = groups::named(inner, &scope, input.log_group_name, input.log_group_identifier).await?;
    let stream = rows::stream(&inner.store, &scope, &group, &input.log_stream_name.unwrap_or_default()).await?;
    let token = input.next_token.as_deref().map(parse_directed).transpose()?;
    let times = Times::new(inner, &group, input.start_time, input.end_time);
    let (order, boundary) = match token {
        Some((order, boundary)) => (order, Some(boundary)),
        None if input.start_from_head.unwrap_or(false) => (Order::OldestFirst, None),
        None => (Order::NewestFirst, None),
    };
    let selection = Selection {
        streams: vec![id_of(&group, &stream)],
        read_max: u64::MAX,
        ..times.selection(order, boundary, input.limit)
    };
    // With nothing found, both tokens stay where the search began: at the token, or before everything still to come.
    let start = boundary.unwrap_or(selection.from);
    let mut events = inner.events.select(selection, |_| true).await.map_err(fault::unavailable)?.events;
    if order == Order::NewestFirst {
        events.reverse();
    }
    let forward = events.last().map_or(start, |last| last.position.next());
    let backward = events.first().map_or(start, |first| first.position);
    Ok(GetLogEventsResponse {
        events: Some(events.into_iter().map(output_event).collect()),
        next_forward_token: Some(format!("f/{}/s", number(forward))),
        next_backward_token: Some(format!("b/{}/s", number(backward))),
    })
}

pub(super) async fn filter(
    inner: &Inner,
    caller: &Caller,
    input: FilterLogEventsRequest,
) -> Result<FilterLogEventsResponse, Fault> {
    if input.log_stream_names.is_some() && input.log_stream_name_prefix.is_some() {
        return Err(fault::invalid("logStreamNames and logStreamNamePrefix are mutually exclusive parameters."));
    }
    let pattern = Pattern::parse(input.filter_pattern.as_deref().unwrap_or_default());
    let pattern = pattern.map_err(|error| fault::invalid(error.to_string()))?;
    let scope = Scope::of(caller);
    let group = groups::named(inner, &scope, input.log_group_name, input.log_group_identifier).await?;
    let prefix = input.log_stream_name_prefix.as_deref();
    let streams = choose(inner, &scope, &group, input.log_stream_names, prefix).await?;
    let order = if input.start_from_head.unwrap_or(true) { Order::OldestFirst } else { Order::NewestFirst };
    let boundary = input.next_token.as_deref().map(|token| parse(token).ok_or_else(fault::bad_token)).transpose()?;
    let times = Times::new(inner, &group, input.start_time, input.end_time);
    let selection = Selection {
        streams: streams.iter().map(|stream| id_of(&group, stream)).collect(),
        ..times.selection(order, boundary, input.limit)
    };
    let selected = inner.events.select(selection, move |message| pattern.matches(message)).await;
    let selected = selected.map_err(fault::unavailable)?;
    let names: HashMap<u64, &str> = streams.iter().map(|stream| (stream.row.id, stream.name.as_str())).collect();
    Ok(FilterLogEventsResponse {
        events: Some(selected.events.into_iter().map(|found| filtered_event(&names, found)).collect()),
        searched_log_streams: Some(Vec::new()),
        next_token: selected.rest.map(number),
    })
}

/// The times a request asks for, cut to what retention leaves.
struct Times {
    from: u64,
    until: u64,
}

impl Times {
    fn new(inner: &Inner, group: &Group, start: Option<i64>, end: Option<i64>) -> Self {
        let time = |time: Option<i64>| time.and_then(|time| u64::try_from(time).ok());
        let kept_from = group.row.retention_days.map_or(0, |days| inner.now().saturating_sub(day_ms(days)));
        Self { from: time(start).unwrap_or(0).max(kept_from), until: time(end).unwrap_or(u64::MAX) }
    }

    /// A selection without streams. `boundary` is where an earlier page ended.
    fn selection(&self, order: Order, boundary: Option<Position>, limit: Option<i32>) -> Selection {
        let (mut from, mut until) = (Position::at(self.from), Position::at(self.until));
        if let Some(boundary) = boundary {
            match order {
                Order::OldestFirst => from = from.max(boundary),
                Order::NewestFirst => until = until.min(boundary),
            }
        }
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE_EVENTS_MAX);
        Selection {
            streams: Vec::new(),
            from,
            until,
            order,
            events_max: limit.clamp(1, PAGE_EVENTS_MAX),
            bytes_max: PAGE_BYTES_MAX,
            read_max: READ_BYTES_MAX,
        }
    }
}

fn output_event(found: Found) -> OutputLogEvent {
    OutputLogEvent {
        timestamp: i64::try_from(found.position.timestamp).ok(),
        ingestion_time: i64::try_from(found.ingestion).ok(),
        message: Some(found.message),
    }
}

fn filtered_event(names: &HashMap<u64, &str>, found: Found) -> FilteredLogEvent {
    FilteredLogEvent {
        log_stream_name: names.get(&found.position.stream).map(|name| (*name).to_owned()),
        timestamp: i64::try_from(found.position.timestamp).ok(),
        ingestion_time: i64::try_from(found.ingestion).ok(),
        event_id: Some(number(found.position)),
        message: Some(found.message),
    }
}

/// A position as 56 digits that sort as positions do. Unique, so it is also an event's id.
pub(super) fn number(position: Position) -> String {
    format!("{:020}{:020}{:016}", position.timestamp, position.stream, position.sequence)
}

fn parse(number: &str) -> Option<Position> {
    if number.len() != 56 || !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| number[from..to].parse().ok();
    Some(Position { timestamp: part(0, 20)?, stream: part(20, 40)?, sequence: part(40, 56)? })
}

/// `f/…/s` goes to newer events, `b/…/s` to older ones.
fn parse_directed(token: &str) -> Result<(Order, Position), Fault> {
    let parts: Vec<&str> = token.split('/').collect();
    let (order, digits) = match parts[..] {
        ["f", digits, "s"] => (Order::OldestFirst, digits),
        ["b", digits, "s"] => (Order::NewestFirst, digits),
        _ => return Err(fault::bad_token()),
    };
    Ok((order, parse(digits).ok_or_else(fault::bad_token)?))
}
