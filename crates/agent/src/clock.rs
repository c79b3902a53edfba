//! The wall clock as the agent reads it: milliseconds since the epoch, as every timestamp on the wire and on disk.
//!
//! Tests run on a clock that follows tokio's (paused) time, so that time-outs and the timestamps they are compared
//! with move together.

use std::time::{Duration, SystemTime};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

#[cfg(test)]
use tokio::time::Instant;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Clock {
    System,
    #[cfg(test)]
    /// `start_ms` at `start`, moving with tokio's time.
    Tokio {
        start_ms: u64,
        start: Instant,
    },
}

impl Clock {
    pub(crate) fn now_ms(&self) -> u64 {
        match self {
            Self::System => {
                SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64)
            }
            #[cfg(test)]
            Self::Tokio { start_ms, start } => start_ms + start.elapsed().as_millis() as u64,
        }
    }

    /// Waits until `at_ms`; returns at once when it is past.
    pub(crate) async fn sleep_until(&self, at_ms: u64) {
        tokio::time::sleep(Duration::from_millis(at_ms.saturating_sub(self.now_ms()))).await;
    }
}

/// A moment as documents say it: `2023-11-14T22:13:20.123Z`.
pub(crate) fn rfc3339(at_ms: u64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at_ms) * 1_000_000);
    // What lies beyond the year 9999 has no such text.
    at.ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}
