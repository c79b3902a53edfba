//! A token bucket: how many requests a second are served, and how many at once after a quiet while.

use crate::time::Timestamp;

/// Parts of one token. One request a second fills a thousand in a second, a millisecond at a time.
const PARTS: i64 = 1000;

/// What a bucket lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// For ever.
    pub per_second: u32,
    /// At once, after a quiet while.
    pub burst: u32,
}

/// What is left to one kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Thousandths of requests.
    left: i64,
    filled_at: Timestamp,
}

impl Bucket {
    /// A full one.
    pub fn full(rate: Rate, now: Timestamp) -> Self {
        Self { left: most(rate), filled_at: now }
    }

    /// Whether another request may be served now; it is taken into account if so.
    #[must_use]
    pub fn take(&mut self, rate: Rate, now: Timestamp) -> bool {
        // A clock that was set back fills nothing.
        let passed = now.millis_since(self.filled_at).max(0);
        let filled = self.left.saturating_add(passed.saturating_mul(rate.per_second.into()));
        self.left = filled.min(most(rate));
        self.filled_at = now;
        let serves = self.left >= PARTS;
        if serves {
            self.left -= PARTS;
        }
        serves
    }
}

fn most(rate: Rate) -> i64 {
    i64::from(rate.burst) * PARTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_served_and_then_so_many_a_second() {
        let at = Timestamp::from_millis;
        let rate = Rate { per_second: 10, burst: 20 };
        let mut bucket = Bucket::full(rate, at(0));
        let mut served = |from: i64, until: i64| (from..until).filter(|now| bucket.take(rate, at(*now))).count();
        // Twenty at once and what the hundred milliseconds bring.
        assert_eq!(served(0, 100), 20);
        assert_eq!(served(100, 1100), 10);
        assert_eq!(served(1100, 2100), 10);
        // Quiet for long: no more than a burst comes of it.
        assert_eq!(served(1_000_000, 1_000_020), 20);
        assert_eq!(served(500_000, 500_020), 0, "a clock that was set back brings nothing");
    }
}
