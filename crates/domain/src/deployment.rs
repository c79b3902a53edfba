//! Deployments of a service: their ids, their bounds with the exact rounding, the delay between failing starts, and
//! when the circuit breaker trips. What to do next is decided in [`crate::service`].

mod outcome;

use std::fmt;

use crate::time::Timestamp;

pub use outcome::{Cause, EarlySuccess, StopKind, Trouble, Watch};

/// The longest delay between two starts of a service whose tasks never reach RUNNING: 27 minutes.
pub const START_DELAY_SECONDS_MAX: i64 = 1_620;

/// The longest delay between two starts when tasks do run but end at once. The real service does not delay these, but
/// takes about so long for every start; ours takes milliseconds, and a crash loop must not eat a machine.
pub const EARLY_EXIT_DELAY_SECONDS_MAX: i64 = 10;

/// The first failures are retried at once; then the delay starts here and doubles.
const FIRST_DELAY_SECONDS: i64 = 10;

/// How many failures in a row are retried without a delay.
const FREE_RETRIES: u32 = 2;

/// `ecs-svc/N`: names a deployment, and as `startedBy` the tasks it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeploymentId(u64);

impl DeploymentId {
    /// From random bits. The number has 19 digits at most and fits a signed 64-bit integer, as clients expect.
    pub const fn from_random(bits: u64) -> Self {
        DeploymentId(bits & 0x7fff_ffff_ffff_ffff)
    }

    /// The bare number; the service revision of the deployment is named by it too.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// From `ecs-svc/N`.
    pub fn parse(text: &str) -> Option<Self> {
        text.strip_prefix("ecs-svc/")?.parse().ok().map(DeploymentId)
    }
}

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ecs-svc/{:019}", self.0)
    }
}

/// How far a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RolloutState {
    /// Tasks are being started and stopped.
    InProgress,
    /// It reached a steady state once.
    Completed,
    /// The circuit breaker stopped it.
    Failed,
}

impl RolloutState {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            RolloutState::InProgress => "IN_PROGRESS",
            RolloutState::Completed => "COMPLETED",
            RolloutState::Failed => "FAILED",
        }
    }

    /// From the name on the wire.
    pub fn parse(name: &str) -> Option<Self> {
        [RolloutState::InProgress, RolloutState::Completed, RolloutState::Failed]
            .into_iter()
            .find(|state| state.as_str() == name)
    }
}

/// `deploymentConfiguration`'s two percentages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeploymentLimits {
    /// Healthy tasks that must stay, in percent of the desired count, rounded up.
    pub minimum_healthy_percent: u32,
    /// Tasks that may exist at once, in percent of the desired count, rounded down.
    pub maximum_percent: u32,
}

impl DeploymentLimits {
    /// What a REPLICA service gets when it does not say.
    pub const REPLICA: DeploymentLimits = DeploymentLimits { minimum_healthy_percent: 100, maximum_percent: 200 };

    /// What a DAEMON service gets when it does not say.
    pub const DAEMON: DeploymentLimits = DeploymentLimits { minimum_healthy_percent: 0, maximum_percent: 100 };

    /// The healthy tasks that we must not go below by our own doing.
    pub fn floor(self, desired_count: u32) -> u32 {
        percent_up(desired_count, self.minimum_healthy_percent)
    }

    /// The tasks that may exist, stopping ones included. Never less than the desired count: a service must be able to
    /// get where it is told to go.
    pub fn ceiling(self, desired_count: u32) -> u32 {
        let exact = u64::from(desired_count) * u64::from(self.maximum_percent);
        u32::try_from(exact / 100).unwrap_or(u32::MAX).max(desired_count)
    }
}

/// How many of a managed daemon's `desired_count` tasks one step of its deployments replaces: `drainPercent` of them, in
/// hundredths of a percent, and one at least, for a deployment must come to its end.
pub fn drained_at_once(desired_count: u32, hundredths: u32) -> u32 {
    let exact = u64::from(desired_count) * u64::from(hundredths) / 10_000;
    u32::try_from(exact).unwrap_or(u32::MAX).max(1)
}

/// How the circuit breaker's `thresholdConfiguration` is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threshold {
    /// Percent of the desired count, between 3 and 200 tasks.
    BoundedPercent(u32),
    /// Percent of the desired count, at least one task.
    UnboundedPercent(u32),
    /// So many tasks.
    Count(u32),
}

impl Threshold {
    /// What a circuit breaker gets when it does not say.
    pub const DEFAULT: Threshold = Threshold::BoundedPercent(50);

    /// How many failed tasks fail the deployment.
    pub fn tasks(self, desired_count: u32) -> u32 {
        match self {
            Threshold::BoundedPercent(value) => percent_up(desired_count, value).clamp(3, 200),
            Threshold::UnboundedPercent(value) => percent_up(desired_count, value).max(1),
            Threshold::Count(value) => value.max(1),
        }
    }
}

/// An enabled `deploymentCircuitBreaker`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitBreaker {
    /// When it trips.
    pub threshold: Threshold,
    /// Whether a failed deployment goes back to the last completed one.
    pub rollback: bool,
    /// Whether a task that becomes healthy forgives the failures before it.
    pub reset_on_healthy_task: bool,
}

/// What a deployment remembers of its failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Failures {
    /// `failedTasks` on the wire, and what the circuit breaker counts.
    pub failed_tasks: u32,
    /// Rounds of starts in a row in which a task ended before it was RUNNING.
    pub start_failures: u32,
    /// Rounds of starts in a row in which a task ran and ended by itself before it counted as healthy.
    pub early_exits: u32,
    /// When the last task of either kind ended.
    pub last_at: Option<Timestamp>,
}

impl Failures {
    /// Nothing before this moment is started; `None` while starts are not delayed.
    pub fn next_start_at(&self) -> Option<Timestamp> {
        let start = delay_seconds(self.start_failures, START_DELAY_SECONDS_MAX);
        let exit = delay_seconds(self.early_exits, EARLY_EXIT_DELAY_SECONDS_MAX);
        match (self.last_at, start.max(exit)) {
            (Some(last_at), delay) if delay > 0 => Some(last_at.plus_seconds(delay)),
            _ => None,
        }
    }

    /// Whether starts are delayed because tasks do not reach RUNNING.
    pub fn start_impaired(&self) -> bool {
        self.start_failures > FREE_RETRIES
    }

    /// Whether a task created at `created_at` belongs to a new round: ten tasks that were started together and fail
    /// together are one failure of the service, not ten.
    pub fn is_new_round(&self, created_at: Timestamp) -> bool {
        self.last_at.is_none_or(|last_at| created_at >= last_at)
    }
}

/// `percent` of `desired_count`, rounded up.
fn percent_up(desired_count: u32, percent: u32) -> u32 {
    let exact = u64::from(desired_count) * u64::from(percent);
    u32::try_from(exact.div_ceil(100)).unwrap_or(u32::MAX)
}

/// 0, 0, 10, 20, 40 … seconds, for the 1st, 2nd, 3rd … failure in a row.
fn delay_seconds(failures: u32, max: i64) -> i64 {
    match failures.checked_sub(FREE_RETRIES + 1) {
        None => 0,
        Some(doublings) => FIRST_DELAY_SECONDS.checked_shl(doublings.min(30)).unwrap_or(max).min(max),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn floor_rounds_up_and_ceiling_rounds_down() {
        let check = |desired: u32, minimum: u32, maximum: u32, floor: u32, ceiling: u32| {
            let limits = DeploymentLimits { minimum_healthy_percent: minimum, maximum_percent: maximum };
            assert_eq!((limits.floor(desired), limits.ceiling(desired)), (floor, ceiling), "{desired} {limits:?}");
        };
        check(4, 100, 200, 4, 8);
        check(0, 100, 200, 0, 0);
        check(2, 75, 100, 2, 2);
        check(3, 50, 125, 2, 3);
        check(3, 34, 150, 2, 4);
        check(1, 50, 150, 1, 1);
        check(10, 0, 100, 0, 10);
        check(3, 0, 50, 0, 3);
        check(u32::MAX, 100, 200, u32::MAX, u32::MAX);
    }

    #[test]
    fn a_step_of_a_managed_daemon_is_one_instance_at_least() {
        let check = |desired, hundredths, expected| assert_eq!(drained_at_once(desired, hundredths), expected);
        check(4, 2_500, 1);
        check(3, 2_500, 1);
        check(8, 2_500, 2);
        check(1000, 10, 1);
        check(7, 10_000, 7);
        check(0, 0, 1);
    }

    #[test]
    fn thresholds() {
        assert_eq!(Threshold::DEFAULT.tasks(25), 13);
        assert_eq!(Threshold::DEFAULT.tasks(1), 3);
        assert_eq!(Threshold::DEFAULT.tasks(400), 200);
        assert_eq!(Threshold::UnboundedPercent(10).tasks(1), 1);
        assert_eq!(Threshold::UnboundedPercent(50).tasks(1000), 500);
        assert_eq!(Threshold::Count(7).tasks(1000), 7);
    }

    #[test]
    fn the_delay_doubles_and_stops_growing() {
        let delays: Vec<i64> = (0..=12).map(|failures| delay_seconds(failures, START_DELAY_SECONDS_MAX)).collect();
        assert_eq!(delays, [0, 0, 0, 10, 20, 40, 80, 160, 320, 640, 1280, 1620, 1620]);
        assert_eq!(delay_seconds(u32::MAX, START_DELAY_SECONDS_MAX), START_DELAY_SECONDS_MAX);
    }

    #[test]
    fn a_deployment_id_reads_back() {
        let id = DeploymentId::from_random(u64::MAX);
        assert_eq!(id.to_string(), "ecs-svc/9223372036854775807");
        assert_eq!(DeploymentId::parse(&id.to_string()), Some(id));
        assert_eq!(DeploymentId::from_random(7).to_string(), "ecs-svc/0000000000000000007");
        assert_eq!(DeploymentId::parse("ecs-svc/x"), None);
    }
}
