//! Container health: the state machine of one container's probes.
//!
//! Pure. The engine runs a probe when [`Health::next_probe_ms`] says so and hands the outcome to [`Health::probed`].

use gantry_domain::task::HealthStatus;
use serde::{Deserialize, Serialize};

use crate::task::HealthCheck;

/// How much of a probe's output is kept, bytes.
const OUTPUT_MAX: usize = 1024;

/// What is known of one container's health since its last start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Health {
    #[serde(with = "name")]
    pub(crate) status: HealthStatus,
    /// When `status` was entered.
    pub(crate) since_ms: u64,
    /// Failures in a row that counted.
    pub(crate) failures: u32,
    /// End of the last probe.
    pub(crate) probed_ms: Option<u64>,
    /// Tail of the last probe's output.
    pub(crate) output: String,
}

impl Health {
    /// The first probe comes one interval after the start, each other one interval after the end of the one before.
    pub(crate) fn next_probe_ms(&self, check: &HealthCheck, started_ms: u64) -> u64 {
        self.probed_ms.unwrap_or(started_ms) + check.interval_seconds * 1000
    }

    /// The state after a probe. `exit_code` is `None` when the probe was killed by its time-out or could not be run.
    pub(crate) fn probed(
        &self,
        check: &HealthCheck,
        started_ms: u64,
        now_ms: u64,
        exit_code: Option<i32>,
        output: &str,
    ) -> Self {
        let mut next = self.clone();
        next.probed_ms = Some(now_ms);
        next.output = tail(output, OUTPUT_MAX).to_owned();
        if exit_code == Some(0) {
            next.failures = 0;
            next.enter(HealthStatus::Healthy, now_ms);
            return next;
        }
        // A failure before the first success does not count while the start period lasts.
        let starting = self.status == HealthStatus::Unknown && now_ms < started_ms + check.start_period_seconds * 1000;
        if !starting {
            next.failures = self.failures.saturating_add(1);
            if next.failures >= check.retries {
                next.enter(HealthStatus::Unhealthy, now_ms);
            }
        }
        next
    }

    fn enter(&mut self, status: HealthStatus, now_ms: u64) {
        if self.status != status {
            self.status = status;
            self.since_ms = now_ms;
        }
    }
}

/// A status on disk is its name on the wire.
mod name {
    use gantry_domain::task::HealthStatus;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(status: &HealthStatus, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(status.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<HealthStatus, D::Error> {
        let name = String::deserialize(from)?;
        Ok(HealthStatus::parse(&name).unwrap_or_default())
    }
}

/// The last `max` bytes of `text`, cut at a character.
fn tail(text: &str, max: usize) -> &str {
    let mut from = text.len().saturating_sub(max);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> HealthCheck {
        HealthCheck {
            args: vec!["true".into()],
            interval_seconds: 10,
            timeout_seconds: 2,
            retries: 3,
            start_period_seconds: 25,
        }
    }

    /// Runs probes at 10 s, 20 s, … after a start at 0 and returns the status after each.
    fn run(codes: &[Option<i32>]) -> String {
        let mut health = Health::default();
        let mut seen = String::new();
        for code in codes {
            let at = health.next_probe_ms(&check(), 0);
            health = health.probed(&check(), 0, at, *code, "");
            seen.push(match health.status {
                HealthStatus::Unknown => '?',
                HealthStatus::Healthy => 'H',
                HealthStatus::Unhealthy => 'U',
            });
        }
        seen
    }

    #[test]
    fn probes_follow_dockers_rules() {
        const OK: Option<i32> = Some(0);
        const BAD: Option<i32> = Some(1);
        for (codes, expected) in [
            (vec![OK], "H"),
            // 10 s and 20 s lie in the start period: three more failures are needed.
            (vec![BAD, BAD, BAD, BAD, BAD], "????U"),
            // A success ends the start period.
            (vec![OK, BAD, BAD, BAD], "HHHU"),
            (vec![OK, BAD, BAD, OK, BAD, BAD], "HHHHHH"),
            // A time-out is a failure; recovery is possible.
            (vec![OK, None, None, None, OK], "HHHUH"),
        ] {
            assert_eq!(run(&codes), expected, "{codes:?}");
        }
    }

    #[test]
    fn output_is_cut_at_a_character() {
        assert_eq!(tail("aäb", 2), "b");
        assert_eq!(tail("ab", 5), "ab");
    }
}
