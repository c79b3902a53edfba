//! A token bucket: how many requests a second are served, and how many at once after a quiet while.

use crate::time::Timestamp;

/// Seconds whose requests may come at once.
const BURST_SECONDS: i64 = 2;
/// Parts of one token. One request a second fills a thousand in a second, a millisecond at a time.
const PARTS: i64 = 1000;

/// What is left to one kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Thousandths of requests.
    left: i64,
    filled_at: Timestamp,
}

impl Bucket {
    /// A full one.
    pub fn full(per_second: u32, now: Timestamp) -> Self {
        Self { left: Self::most(per_second), filled_at: now }
    }

    /// Whether another request may be served now; it is taken into account if so.
    #[must_use]
    pub fn take(&mut self, per_second: u32, now: Timestamp) -> bool {
        // A clock that was set back fills nothing.
        let passed = now.millis_since(self.filled_at).max(0);
        let filled = self.left.saturating_add(passed.saturating_mul(per_second.into()));
        self.left = filled.min(Self::most(per_second));
        self.filled_at = now;
        let serves = self.left >= PARTS;
        if serves {
            self.left -= PARTS;
        }
        serves
    }

    fn most(per_second: u32) -> i64 {
        i64::from(per_second) * BURST_SECONDS * PARTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_served_and_then_so_many_a_second() {
        let at = Timestamp::from_millis;
        let mut bucket = Bucket::full(10, at(0));
        let mut served = |from: i64, until: i64| (from..until).filter(|now| bucket.take(10, at(*now))).count();
        // Twenty at once and what the hundred milliseconds bring.
        assert_eq!(served(0, 100), 20);
        assert_eq!(served(100, 1100), 10);
        assert_eq!(served(1100, 2100), 10);
        // Quiet for long: no more than a burst comes of it.
        assert_eq!(served(1_000_000, 1_000_020), 20);
        assert_eq!(served(500_000, 500_020), 0, "a clock that was set back brings nothing");
    }
}
