//! PutLogEvents: the rules of a batch, then the append.

use gantry_api::logs::{InputLogEvent, PutLogEventsRequest, PutLogEventsResponse, RejectedLogEventsInfo};
use gantry_api::{Caller, Fault};

use super::events::AppendError;
use super::rows::{self, Scope};
use super::streams::{id_of, sequence_token};
use super::{Inner, day_ms, fault};

/// Bytes that each event counts beside its message.
const EVENT_OVERHEAD: usize = 26;
/// Most bytes of a batch, and of an event.
const BATCH_BYTES_MAX: usize = 1 << 20;
const HOUR_MS: u64 = 60 * 60 * 1000;
/// Events may be this far ahead of our clock, and this old.
const TOO_NEW_MS: u64 = 2 * HOUR_MS;
const TOO_OLD_MS: u64 = 14 * day_ms(1);

pub(super) async fn put(
    inner: &Inner,
    caller: &Caller,
    input: PutLogEventsRequest,
) -> Result<PutLogEventsResponse, Fault> {
    let scope = Scope::of(caller);
    let now = inner.now();
    let events = check(input.log_events.unwrap_or_default())?;
    let group = rows::group(&inner.store, &scope, &input.log_group_name.unwrap_or_default()).await?;
    let stream = rows::stream(&inner.store, &scope, &group, &input.log_stream_name.unwrap_or_default()).await?;
    let (accepted, rejected) = sort_out(events, now, group.row.retention_days);
    if !accepted.is_empty() {
        inner.events.append(id_of(&group, &stream), now, &accepted).await.map_err(append_fault)?;
    }
    Ok(PutLogEventsResponse {
        next_sequence_token: Some(sequence_token(stream.row.id)),
        rejected_entity_info: None,
        rejected_log_events_info: rejected,
    })
}

/// Refuses a batch that breaks a rule as a whole.
fn check(events: Vec<InputLogEvent>) -> Result<Vec<(u64, String)>, Fault> {
    let mut checked: Vec<(u64, String)> = Vec::with_capacity(events.len());
    let mut bytes = 0;
    for event in events {
        // The model has refused negative times and empty messages.
        let timestamp = event.timestamp.and_then(|timestamp| u64::try_from(timestamp).ok()).unwrap_or_default();
        let message = event.message.unwrap_or_default();
        if checked.last().is_some_and(|(before, _)| *before > timestamp) {
            return Err(fault::invalid("Log events in a single PutLogEvents request must be in chronological order."));
        }
        let size = message.len() + EVENT_OVERHEAD;
        if size > BATCH_BYTES_MAX {
            return Err(fault::invalid(format!(
                "Log event too large: {size} bytes exceeds limit of {BATCH_BYTES_MAX}"
            )));
        }
        bytes += size;
        checked.push((timestamp, message));
    }
    if bytes > BATCH_BYTES_MAX {
        return Err(fault::invalid(format!("Upload too large: {bytes} bytes exceeds limit of {BATCH_BYTES_MAX}")));
    }
    let (oldest, newest) = (checked.first(), checked.last());
    if let (Some((oldest, _)), Some((newest, _))) = (oldest, newest)
        && newest - oldest > day_ms(1)
    {
        return Err(fault::invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ));
    }
    Ok(checked)
}

/// Takes out the events that are too old or too new; the others are kept.
fn sort_out(
    mut events: Vec<(u64, String)>,
    now: u64,
    retention_days: Option<u32>,
) -> (Vec<(u64, String)>, Option<RejectedLogEventsInfo>) {
    let before = |time: u64| events.partition_point(|(timestamp, _)| *timestamp < time);
    let too_old = before(now.saturating_sub(TOO_OLD_MS));
    let expired = retention_days.map_or(0, |days| before(now.saturating_sub(day_ms(days))));
    let too_new = before(now + TOO_NEW_MS + 1);
    let index = |index: usize| i32::try_from(index).ok();
    let rejected = RejectedLogEventsInfo {
        expired_log_event_end_index: index(expired).filter(|end| *end > 0),
        too_old_log_event_end_index: index(too_old).filter(|end| *end > 0),
        too_new_log_event_start_index: index(too_new).filter(|_| too_new < events.len()),
    };
    events.truncate(too_new);
    events.drain(..too_old.max(expired).min(events.len()));
    let any = rejected != RejectedLogEventsInfo::default();
    (events, any.then_some(rejected))
}

fn append_fault(error: AppendError) -> Fault {
    match error {
        AppendError::Deleted => fault::stream_not_found(),
        error => fault::unavailable(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn event(timestamp: u64, message: &str) -> InputLogEvent {
        InputLogEvent { timestamp: i64::try_from(timestamp).ok(), message: Some(message.to_owned()) }
    }

    #[test]
    fn a_batch_that_breaks_a_rule_is_refused_with_the_services_sentence() {
        let message = |events: Vec<InputLogEvent>| check(events).unwrap_err().message;
        let disordered = message(vec![event(2, "a"), event(1, "b")]);
        assert_eq!(disordered, "Log events in a single PutLogEvents request must be in chronological order.");
        let long = message(vec![event(0, "a"), event(day_ms(1) + 1, "b")]);
        assert_eq!(long, "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.");
        let big = "x".repeat(BATCH_BYTES_MAX - 25);
        assert_eq!(message(vec![event(0, &big)]), "Log event too large: 1048577 bytes exceeds limit of 1048576");
        let half = "x".repeat(BATCH_BYTES_MAX / 2);
        let upload = message(vec![event(0, &half), event(0, &half)]);
        assert_eq!(upload, "Upload too large: 1048628 bytes exceeds limit of 1048576");
        check(vec![event(0, &big[1..])]).unwrap();
        check(vec![event(0, "a"), event(day_ms(1), "b")]).unwrap();
    }

    #[test]
    fn events_that_are_too_old_or_too_new_are_taken_out_and_told() {
        let now = 100 * day_ms(1);
        let at = |time: u64| (time, String::new());
        let events = vec![
            at(now - TOO_OLD_MS - 1),
            at(now - TOO_OLD_MS),
            at(now),
            at(now + TOO_NEW_MS),
            at(now + TOO_NEW_MS + 1),
        ];
        let (kept, rejected) = sort_out(events.clone(), now, None);
        assert_eq!(kept, events[1..4]);
        let rejected = rejected.unwrap();
        assert_eq!(rejected.too_old_log_event_end_index, Some(1));
        assert_eq!(rejected.too_new_log_event_start_index, Some(4));
        assert_eq!(rejected.expired_log_event_end_index, None);
        let (kept, rejected) = sort_out(events.clone(), now, Some(3));
        assert_eq!(kept, events[2..4]);
        assert_eq!(rejected.unwrap().expired_log_event_end_index, Some(2));
        assert_eq!(sort_out(vec![at(now)], now, None), (vec![at(now)], None));
        assert_eq!(sort_out(vec![at(now + TOO_NEW_MS + 1)], now, Some(1)).0, []);
    }
}
