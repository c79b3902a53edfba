//! Hooks of a deployment's stages: what is waited for, how long, and what follows.

use super::Stage;
use crate::time::Timestamp;

/// A hook that gives no answer is called this often in a row before it counts as failed.
pub(super) const CALLS_WITHOUT_ANSWER_MAX: u32 = 3;

/// One configured hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Where it holds the deployment up.
    pub stages: Vec<Stage>,
    /// It waits for ContinueServiceDeployment instead of calling anything.
    pub pause: bool,
    /// How long it may take.
    pub timeout_ms: i64,
    /// What happens then.
    pub on_timeout: TimeoutAction,
}

/// What happens when a hook takes too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeoutAction {
    /// The deployment fails.
    Rollback,
    /// The deployment goes on.
    Continue,
}

/// How one hook of the present stage stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookStatus {
    /// A PAUSE waits for somebody.
    AwaitingAction,
    /// It is called, and has not said yet how it went.
    InProgress,
    /// The deployment may go on.
    Succeeded,
    /// The deployment may not go on.
    Failed,
    /// It took too long.
    TimedOut,
}

impl HookStatus {
    /// Every status.
    pub const ALL: [HookStatus; 5] = [
        HookStatus::AwaitingAction,
        HookStatus::InProgress,
        HookStatus::Succeeded,
        HookStatus::Failed,
        HookStatus::TimedOut,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            HookStatus::AwaitingAction => "AWAITING_ACTION",
            HookStatus::InProgress => "IN_PROGRESS",
            HookStatus::Succeeded => "SUCCEEDED",
            HookStatus::Failed => "FAILED",
            HookStatus::TimedOut => "TIMED_OUT",
        }
    }

    /// From the name on the wire.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Whether it is still waited for.
    pub const fn is_open(self) -> bool {
        matches!(self, HookStatus::AwaitingAction | HookStatus::InProgress)
    }
}

/// One hook of the present stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookRun {
    /// Its number in the deployment, which names it.
    pub number: u32,
    /// Which of the configured hooks it is.
    pub hook: usize,
    /// How it stands.
    pub status: HookStatus,
    /// When it has taken too long.
    pub expires_at: Timestamp,
    /// Not called before this moment.
    pub call_at: Timestamp,
    /// Calls in a row that gave no answer.
    pub unanswered: u32,
}

impl HookRun {
    pub(super) fn begin(number: u32, index: usize, hook: &Hook, now: Timestamp) -> Self {
        Self {
            number,
            hook: index,
            status: if hook.pause { HookStatus::AwaitingAction } else { HookStatus::InProgress },
            expires_at: now.plus_millis(hook.timeout_ms),
            call_at: now,
            unanswered: 0,
        }
    }

    /// Its `hookId`, unique in the deployment.
    pub fn id(&self) -> String {
        format!("hook-{:06}", self.number)
    }

    /// What a call led to.
    #[must_use]
    pub fn answered(&self, now: Timestamp, answer: &Answer) -> HookRun {
        let run = HookRun { unanswered: 0, ..self.clone() };
        match answer {
            Answer::Succeeded => HookRun { status: HookStatus::Succeeded, ..run },
            Answer::Failed => HookRun { status: HookStatus::Failed, ..run },
            Answer::InProgress { call_back_ms } => HookRun { call_at: now.plus_millis(*call_back_ms), ..run },
            Answer::None if self.unanswered + 1 >= CALLS_WITHOUT_ANSWER_MAX => {
                HookRun { status: HookStatus::Failed, ..run }
            }
            Answer::None => {
                HookRun { unanswered: self.unanswered + 1, call_at: now.plus_millis(CALL_BACK_MS_DEFAULT), ..run }
            }
        }
    }
}

/// How long to wait before a hook is called again, unless it says so.
pub const CALL_BACK_MS_DEFAULT: i64 = 30_000;

/// What a called hook said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Go on.
    Succeeded,
    /// Do not go on.
    Failed,
    /// Ask again.
    InProgress {
        /// After so long.
        call_back_ms: i64,
    },
    /// Nothing: it could not be reached, or broke down.
    None,
}
