//! From what the shim wrote to log events and batches of them. Pure.

use regex::Regex;
use serde::Deserialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::tail::{Mark, RawLine};

/// An event is charged this much beyond its message.
const EVENT_OVERHEAD: usize = 26;
/// Longer messages are split.
pub(crate) const MESSAGE_BYTES_MAX: usize = 262_144 - EVENT_OVERHEAD;
const BATCH_BYTES_MAX: usize = 1_048_576;
const BATCH_EVENTS_MAX: usize = 10_000;
/// First and last event of a batch may not be further apart.
const BATCH_SPAN_MS: i64 = 24 * 3600 * 1000 - 1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogEvent {
    pub(crate) timestamp_ns: i64,
    /// It was printed to standard error.
    pub(crate) stderr: bool,
    pub(crate) message: String,
    /// Where reading goes on when everything up to this event is delivered.
    pub(crate) end: Mark,
}

impl LogEvent {
    pub(crate) fn timestamp_ms(&self) -> i64 {
        self.timestamp_ns / NANOSECONDS_PER_MS
    }

    /// Seconds since the epoch, and nanoseconds.
    pub(crate) fn time(&self) -> (u32, u32) {
        let seconds = u32::try_from(self.timestamp_ns / 1_000_000_000).unwrap_or_default();
        (seconds, u32::try_from(self.timestamp_ns % 1_000_000_000).unwrap_or_default())
    }

    /// `stdout` or `stderr`.
    pub(crate) fn source(&self) -> &'static str {
        if self.stderr { "stderr" } else { "stdout" }
    }
}

const NANOSECONDS_PER_MS: i64 = 1_000_000;

/// One line of the json-file format.
#[derive(Deserialize)]
struct Entry {
    log: String,
    #[serde(default)]
    stream: String,
    #[serde(default)]
    time: String,
}

/// Puts lines together to events: parts of long lines, and lines of one event when there is a pattern.
pub(crate) struct Assembler {
    event_start: Option<Regex>,
    /// Longer messages are split.
    message_bytes_max: usize,
    /// Per stream (stdout, stderr): a line whose end has not come.
    partial: [Option<Pending>; 2],
    /// An event that more lines may belong to.
    open: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    timestamp_ns: i64,
    stderr: bool,
    message: String,
    end: Mark,
}

impl Assembler {
    pub(crate) fn new(event_start: Option<Regex>, message_bytes_max: usize) -> Self {
        Self { event_start, message_bytes_max, partial: [None, None], open: None }
    }

    /// Takes one line; events that are complete by it are added to `events`.
    pub(crate) fn push(&mut self, line: &RawLine, now_ms: i64, events: &mut Vec<LogEvent>) {
        let entry: Entry = match serde_json::from_slice(&line.bytes) {
            Ok(entry) => entry,
            // Not ours, but somebody printed it.
            Err(_) => Entry {
                log: format!("{}\n", String::from_utf8_lossy(&line.bytes)),
                stream: String::new(),
                time: String::new(),
            },
        };
        let stderr = entry.stream == "stderr";
        let slot = usize::from(stderr);
        let mut pending = self.partial[slot].take().unwrap_or_else(|| Pending {
            timestamp_ns: nanoseconds(&entry.time).unwrap_or(now_ms.saturating_mul(NANOSECONDS_PER_MS)),
            stderr,
            message: String::new(),
            end: line.end.clone(),
        });
        let (text, complete) = match entry.log.strip_suffix('\n') {
            Some(text) => (text, true),
            None => (entry.log.as_str(), false),
        };
        pending.message.push_str(text.strip_suffix('\r').unwrap_or(text));
        pending.end = line.end.clone();
        if complete || pending.message.len() >= self.message_bytes_max {
            self.line(pending, events);
        } else {
            self.partial[slot] = Some(pending);
        }
    }

    fn line(&mut self, line: Pending, events: &mut Vec<LogEvent>) {
        let bytes_max = self.message_bytes_max;
        let Some(event_start) = &self.event_start else {
            emit(line, bytes_max, events);
            return;
        };
        match &mut self.open {
            Some(open)
                if !event_start.is_match(&line.message) && open.message.len() + line.message.len() < bytes_max =>
            {
                open.message.push('\n');
                open.message.push_str(&line.message);
                open.end = line.end;
            }
            _ => {
                if let Some(before) = self.open.replace(line) {
                    emit(before, bytes_max, events);
                }
            }
        }
    }

    /// Whether something waits for more lines.
    pub(crate) fn is_waiting(&self) -> bool {
        self.open.is_some() || self.partial.iter().any(Option::is_some)
    }

    /// Completes whatever waits: no more lines come, or none came for a while.
    pub(crate) fn finish(&mut self, events: &mut Vec<LogEvent>) {
        for slot in 0..self.partial.len() {
            if let Some(partial) = self.partial[slot].take() {
                self.line(partial, events);
            }
        }
        if let Some(open) = self.open.take() {
            emit(open, self.message_bytes_max, events);
        }
    }
}

/// Splits what is too long; an empty line is no event for the service.
fn emit(pending: Pending, bytes_max: usize, events: &mut Vec<LogEvent>) {
    let mut rest = pending.message.as_str();
    while !rest.is_empty() {
        let mut at = rest.len().min(bytes_max);
        while !rest.is_char_boundary(at) {
            at -= 1;
        }
        let (message, after) = rest.split_at(at);
        events.push(LogEvent {
            timestamp_ns: pending.timestamp_ns,
            stderr: pending.stderr,
            message: message.to_owned(),
            end: pending.end.clone(),
        });
        rest = after;
    }
}

fn nanoseconds(time: &str) -> Option<i64> {
    let at = OffsetDateTime::parse(time, &Rfc3339).ok()?;
    i64::try_from(at.unix_timestamp_nanos()).ok()
}

/// How many events from the front of `events` make one legal batch. Never 0 while there is an event.
pub(crate) fn batch_len(events: &[LogEvent]) -> usize {
    let mut bytes = 0;
    let (mut first, mut last) = (i64::MAX, i64::MIN);
    for (count, event) in events.iter().enumerate() {
        bytes += event.message.len() + EVENT_OVERHEAD;
        first = first.min(event.timestamp_ms());
        last = last.max(event.timestamp_ms());
        if count == BATCH_EVENTS_MAX || (count > 0 && (bytes > BATCH_BYTES_MAX || last - first > BATCH_SPAN_MS)) {
            return count;
        }
    }
    events.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[(&str, &str)]) -> Vec<RawLine> {
        let entry = |(nth, (stream, log)): (usize, &(&str, &str))| RawLine {
            bytes: serde_json::json!({"log": log, "stream": stream, "time": "1970-01-01T00:00:01.5Z"})
                .to_string()
                .into_bytes(),
            end: Mark { nth_file: 0, offset: nth as u64 + 1 },
        };
        text.iter().enumerate().map(entry).collect()
    }

    fn assemble(pattern: Option<&str>, text: &[(&str, &str)]) -> Vec<(String, u64)> {
        let mut assembler = Assembler::new(pattern.and_then(|pattern| Regex::new(pattern).ok()), MESSAGE_BYTES_MAX);
        let mut events = Vec::new();
        for line in lines(text) {
            assembler.push(&line, 0, &mut events);
        }
        assembler.finish(&mut events);
        assert!(!assembler.is_waiting());
        events.into_iter().map(|event| (event.message, event.end.offset)).collect()
    }

    #[test]
    fn lines_become_events() {
        let (out, err) = ("stdout", "stderr");
        for (pattern, text, expected) in [
            (None, vec![(out, "a\n"), (err, "b\r\n"), (out, "\n")], vec![("a", 1), ("b", 2)]),
            // Parts of a long line, with the other stream in between.
            (None, vec![(out, "a"), (err, "x\n"), (out, "b\n")], vec![("x", 2), ("ab", 3)]),
            // A line that never ended.
            (None, vec![(out, "a")], vec![("a", 1)]),
            (
                Some("^INFO"),
                vec![(out, "INFO 1\n"), (out, " more\n"), (out, "INFO 2\n")],
                vec![("INFO 1\n more", 2), ("INFO 2", 3)],
            ),
            (Some("^INFO"), vec![(out, "before\n"), (out, "INFO\n")], vec![("before", 1), ("INFO", 2)]),
        ] {
            let expected: Vec<(String, u64)> = expected.into_iter().map(|(text, end)| (text.to_owned(), end)).collect();
            assert_eq!(assemble(pattern, &text), expected, "{text:?}");
        }
    }

    #[test]
    fn long_lines_are_split_at_characters() {
        let long = "ä".repeat(MESSAGE_BYTES_MAX);
        let events = assemble(None, &[("stdout", &format!("{long}\n"))]);
        assert!(events.iter().all(|(message, _)| message.len() <= MESSAGE_BYTES_MAX));
        assert_eq!(events.iter().map(|(message, _)| message.as_str()).collect::<String>(), long);
    }

    #[test]
    fn what_is_no_json_is_passed_on_with_the_time_of_reading() {
        let mut assembler = Assembler::new(None, MESSAGE_BYTES_MAX);
        let mut events = Vec::new();
        let line = RawLine { bytes: b"plain \xff".to_vec(), end: Mark { nth_file: 0, offset: 1 } };
        assembler.push(&line, 77, &mut events);
        assert_eq!((events[0].message.as_str(), events[0].timestamp_ms()), ("plain \u{fffd}", 77));
    }

    #[test]
    fn batches_stay_within_the_services_limits() {
        let event = |bytes: usize, timestamp_ms: i64| LogEvent {
            timestamp_ns: timestamp_ms * NANOSECONDS_PER_MS,
            stderr: false,
            message: "x".repeat(bytes),
            end: Mark { nth_file: 0, offset: 0 },
        };
        assert_eq!(batch_len(&[]), 0);
        assert_eq!(batch_len(&vec![event(1, 0); 10_001]), 10_000);
        assert_eq!(batch_len(&vec![event(262_118, 0); 5]), 4);
        assert_eq!(batch_len(&[event(1, 0), event(1, BATCH_SPAN_MS), event(1, BATCH_SPAN_MS + 1)]), 2);
    }
}
