//! How often a task may ask: a token bucket as the container agent has it. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// Requests in a row.
const BURST: f64 = 60.0;
/// Requests per second, for ever.
const RATE: f64 = 40.0;

/// What is left of a task's allowance.
#[derive(Debug)]
pub(super) struct Bucket {
    tokens: f64,
    at: Option<Instant>,
}

impl Bucket {
    pub(super) const fn full() -> Self {
        Self { tokens: BURST, at: None }
    }

    /// Whether one more request is allowed.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let since = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.at = Some(now);
        self.tokens = (self.tokens + since.as_secs_f64() * RATE).min(BURST);
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_a_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::full();
        assert_eq!((0..100).filter(|_| bucket.take(start)).count(), 60);
        assert!(!bucket.take(start + Duration::from_millis(20)));
        assert_eq!((0..100).filter(|_| bucket.take(start + Duration::from_secs(1))).count(), 40);
        assert_eq!(
            (0..100).filter(|_| bucket.take(start + Duration::from_secs(60))).count(),
            60,
            "no more than a burst"
        );
    }
}
