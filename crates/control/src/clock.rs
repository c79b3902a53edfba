//! Where the control plane learns what time it is. Everything that depends on time asks a [`Clock`], so that tests
//! (and the simulated world) can decide it.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use gantry_domain::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// A shared clock.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A clock that follows tokio's: under `tokio::time::pause` it moves only when the test lets it, and sleeping
/// reconcilers and the timestamps they write stay in step.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    base: Timestamp,
    start: tokio::time::Instant,
}

impl TokioClock {
    /// A clock that reads `base` now.
    pub fn starting_at(base: Timestamp) -> Self {
        Self { base, start: tokio::time::Instant::now() }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        let elapsed = self.start.elapsed().as_millis();
        self.base.plus_millis(i64::try_from(elapsed).unwrap_or(i64::MAX))
    }
}
