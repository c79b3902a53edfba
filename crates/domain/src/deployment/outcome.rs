//! What decides how a deployment ends, besides its tasks.

/// Why a deployment is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Too many of its tasks failed.
    CircuitBreaker,
    /// These alarms went off.
    Alarms(Vec<String>),
    /// StopServiceDeployment.
    Stopped(StopKind),
    /// A stage of a deployment with two sides failed.
    Stage {
        /// Its name.
        stage: &'static str,
        /// How.
        trouble: Trouble,
    },
}

/// How a stage of a deployment with two sides fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// A hook said so.
    HookFailed,
    /// A hook took too long.
    HookTimedOut,
    /// The stage took too long.
    StageTimedOut,
}

/// What StopServiceDeployment wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopKind {
    /// The last completed one comes back.
    Rollback,
    /// It ends where it is.
    Abort,
}

/// An enabled `earlySuccessCriteria`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EarlySuccess {
    /// Percent of the desired count that must be healthy.
    pub healthy_percent: u32,
    /// The older deployments' tasks may still be there.
    pub cleanup_deferred: bool,
}

impl EarlySuccess {
    /// How many tasks must be healthy.
    pub fn tasks(self, desired_count: u32) -> u32 {
        super::percent_up(desired_count, self.healthy_percent)
    }
}

/// What the primary deployment is held to while it is IN_PROGRESS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Watch {
    /// How long it is watched after its goal is reached, before it is COMPLETED.
    pub bake_ms: i64,
    /// When it is successful before every task is replaced.
    pub early_success: Option<EarlySuccess>,
    /// Alarms it watches that are in ALARM.
    pub alarms: Vec<String>,
    /// Whether an alarm brings the last completed deployment back.
    pub alarm_rollback: bool,
    /// StopServiceDeployment was called.
    pub stop: Option<StopKind>,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Trouble::HookFailed => "a lifecycle hook failed",
            Trouble::HookTimedOut => "a lifecycle hook timed out",
            Trouble::StageTimedOut => "it took too long",
        })
    }
}
