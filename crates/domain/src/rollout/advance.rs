//! The next move of a deployment with two sides.

use super::{ALL, Direction, HookStatus, Rollout, STAGE_MS_MAX, Stage, TimeoutAction};
use crate::deployment::Trouble;
use crate::time::Timestamp;

/// What the tasks look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// At most one older deployment still has tasks.
    pub reconciled: bool,
    /// Green has the full count, all of it healthy.
    pub green_ready: bool,
}

/// The next move.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Advance {
    /// How it stands from now on; none: as before.
    pub next: Option<Rollout>,
    /// It fails in this stage.
    pub failed: Option<Trouble>,
    /// When time alone would change the answer.
    pub wake_at: Option<Timestamp>,
}

/// Decides the next move. In [`Stage::CleanUp`] there is none: the tasks decide when it is over.
pub fn advance(now: Timestamp, rollout: &Rollout, seen: Seen) -> Advance {
    if let Some(expired) = expire(now, rollout) {
        return Advance { next: Some(expired), ..Advance::default() };
    }
    let forward = rollout.direction == Direction::Forward;
    if let Some(failed) = trouble(rollout).filter(|_| forward) {
        return Advance { failed: Some(failed), ..Advance::default() };
    }
    let open = rollout.runs.iter().filter(|run| run.status.is_open());
    if let Some(first) = open.map(|run| run.expires_at).min() {
        return Advance { wake_at: Some(first), ..Advance::default() };
    }
    let wait_ms = match rollout.stage {
        Stage::BakeTime => rollout.bake_ms,
        Stage::ProductionTrafficShift if forward && rollout.production < ALL => rollout.course.step_bake_ms(),
        _ => 0,
    };
    let over = rollout.since.plus_millis(wait_ms);
    if over > now {
        return Advance { wake_at: Some(over), ..Advance::default() };
    }
    let held = match rollout.stage {
        Stage::ReconcileService => !seen.reconciled,
        Stage::ScaleUp => !seen.green_ready,
        Stage::CleanUp => return Advance::default(),
        _ => false,
    };
    if held {
        let end = rollout.since.plus_millis(STAGE_MS_MAX);
        return match end > now {
            true => Advance { wake_at: Some(end), ..Advance::default() },
            false => Advance { failed: Some(Trouble::StageTimedOut), ..Advance::default() },
        };
    }
    Advance { next: Some(rollout.clone().entering(following(rollout), now)), ..Advance::default() }
}

/// Hooks that have taken too long.
fn expire(now: Timestamp, rollout: &Rollout) -> Option<Rollout> {
    let late = |run: &super::HookRun| run.status.is_open() && run.expires_at <= now;
    if !rollout.runs.iter().any(late) {
        return None;
    }
    let mut next = rollout.clone();
    next.runs.iter_mut().filter(|run| late(run)).for_each(|run| run.status = HookStatus::TimedOut);
    Some(next)
}

fn trouble(rollout: &Rollout) -> Option<Trouble> {
    rollout.runs.iter().find_map(|run| match run.status {
        HookStatus::Failed => Some(Trouble::HookFailed),
        HookStatus::TimedOut => {
            let action = rollout.hooks.get(run.hook).map_or(TimeoutAction::Rollback, |hook| hook.on_timeout);
            (action == TimeoutAction::Rollback).then_some(Trouble::HookTimedOut)
        }
        _ => None,
    })
}

fn following(rollout: &Rollout) -> Stage {
    match (rollout.direction, rollout.stage) {
        (Direction::Forward, Stage::ProductionTrafficShift) if rollout.production < ALL => {
            Stage::PreProductionTrafficShift
        }
        (Direction::Forward, stage) => {
            let later = Stage::ALL.into_iter().find(|later| *later > stage);
            later.unwrap_or(Stage::CleanUp)
        }
        (Direction::Back, Stage::ProductionTrafficShift) => Stage::TestTrafficShift,
        (Direction::Back | Direction::Abort, _) => Stage::CleanUp,
    }
}
