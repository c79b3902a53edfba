//! A deployment with two sides: BLUE_GREEN, LINEAR and CANARY.
//!
//! *Blue* is what serves when the deployment begins, *green* what is to serve in the end. Green is brought to the full
//! count beside blue, production moves over in one or many steps, and after the bake time blue goes. The stages come in
//! the order of [`Stage`]; hooks may hold a stage up. When anything fails, production is with blue again at once, and
//! green goes.
//!
//! [`advance()`] decides the next move from what is seen; it moves at most one stage at a time, so that each is kept
//! before the next begins. It does not know tasks: how the two sides are kept is decided in [`crate::service`], and how
//! a hook is called is the control plane's matter.

mod advance;
mod hook;

use crate::deployment::{DeploymentId, StopKind};
use crate::time::Timestamp;

pub use advance::{Advance, Seen, advance};
pub use hook::{Answer, CALL_BACK_MS_DEFAULT, Hook, HookRun, HookStatus, TimeoutAction};

/// A stage that nothing but tasks holds up is given up after this long.
pub const STAGE_MS_MAX: i64 = 24 * 3600 * 1000;

/// All traffic, in tenths of a percent.
pub const ALL: u32 = 1000;

/// `lifecycleStage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// More than one older revision runs: one of them becomes blue, the others go.
    ReconcileService,
    /// Nothing of green exists.
    PreScaleUp,
    /// Green is brought to the full count.
    ScaleUp,
    /// Green is complete and healthy.
    PostScaleUp,
    /// Test traffic goes to green.
    TestTrafficShift,
    /// Green has the test traffic.
    PostTestTrafficShift,
    /// Before each step of production.
    PreProductionTrafficShift,
    /// A step of production to green.
    ProductionTrafficShift,
    /// Green has all of production.
    PostProductionTrafficShift,
    /// Both sides are up, and the alarms are watched.
    BakeTime,
    /// Blue goes (or green, on the way back).
    CleanUp,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Stage; 11] = [
        Stage::ReconcileService,
        Stage::PreScaleUp,
        Stage::ScaleUp,
        Stage::PostScaleUp,
        Stage::TestTrafficShift,
        Stage::PostTestTrafficShift,
        Stage::PreProductionTrafficShift,
        Stage::ProductionTrafficShift,
        Stage::PostProductionTrafficShift,
        Stage::BakeTime,
        Stage::CleanUp,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Stage::ReconcileService => "RECONCILE_SERVICE",
            Stage::PreScaleUp => "PRE_SCALE_UP",
            Stage::ScaleUp => "SCALE_UP",
            Stage::PostScaleUp => "POST_SCALE_UP",
            Stage::TestTrafficShift => "TEST_TRAFFIC_SHIFT",
            Stage::PostTestTrafficShift => "POST_TEST_TRAFFIC_SHIFT",
            Stage::PreProductionTrafficShift => "PRE_PRODUCTION_TRAFFIC_SHIFT",
            Stage::ProductionTrafficShift => "PRODUCTION_TRAFFIC_SHIFT",
            Stage::PostProductionTrafficShift => "POST_PRODUCTION_TRAFFIC_SHIFT",
            Stage::BakeTime => "BAKE_TIME",
            Stage::CleanUp => "CLEAN_UP",
        }
    }

    /// From the name on the wire.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == name)
    }

    /// Whether hooks may be asked for here.
    pub const fn takes_hooks(self) -> bool {
        !matches!(self, Stage::ScaleUp | Stage::BakeTime | Stage::CleanUp)
    }

    /// Whether a PAUSE hook may be here: traffic that moves is not held up halfway.
    pub const fn takes_pauses(self) -> bool {
        self.takes_hooks() && !matches!(self, Stage::TestTrafficShift | Stage::ProductionTrafficShift)
    }
}

/// How production moves over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// In one step.
    BlueGreen,
    /// In equal steps.
    Linear {
        /// Of one step, in tenths of a percent.
        step: u32,
        /// After each step but the last.
        bake_ms: i64,
    },
    /// In a small step and the rest.
    Canary {
        /// Of the small step, in tenths of a percent.
        first: u32,
        /// After it.
        bake_ms: i64,
    },
}

impl Course {
    /// What green serves after the next step.
    pub fn next(self, production: u32) -> u32 {
        match self {
            Course::BlueGreen => ALL,
            // A step of nothing would never arrive.
            Course::Linear { step, .. } => production.saturating_add(step.max(1)).min(ALL),
            Course::Canary { first, .. } if production == 0 => first.clamp(1, ALL),
            Course::Canary { .. } => ALL,
        }
    }

    const fn step_bake_ms(self) -> i64 {
        match self {
            Course::BlueGreen => 0,
            Course::Linear { bake_ms, .. } | Course::Canary { bake_ms, .. } => bake_ms,
        }
    }
}

/// Where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To green.
    Forward,
    /// Back to blue, because it failed.
    Back,
    /// Back to blue without ceremony, because somebody wanted it to end.
    Abort,
}

impl Direction {
    /// Every direction.
    pub const ALL: [Direction; 3] = [Direction::Forward, Direction::Back, Direction::Abort];

    /// The name in a row.
    pub const fn as_str(self) -> &'static str {
        match self {
            Direction::Forward => "FORWARD",
            Direction::Back => "BACK",
            Direction::Abort => "ABORT",
        }
    }

    /// From the name in a row.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|direction| direction.as_str() == name)
    }
}

/// A deployment with two sides, under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// How production moves over.
    pub course: Course,
    /// How long both sides stay up after it has.
    pub bake_ms: i64,
    /// As configured.
    pub hooks: Vec<Hook>,
    /// What is to serve.
    pub green: DeploymentId,
    /// What served before; none when nothing did, or while [`Stage::ReconcileService`] has yet to tell.
    pub blue: Option<DeploymentId>,
    /// Where it goes.
    pub direction: Direction,
    /// Where it stands.
    pub stage: Stage,
    /// Since when.
    pub since: Timestamp,
    /// Green's share of production, in tenths of a percent.
    pub production: u32,
    /// Green's share of the test traffic, in tenths of a percent.
    pub test: u32,
    /// Hooks of this stage.
    pub runs: Vec<HookRun>,
    /// How many hooks were begun so far: the next one's number.
    pub runs_made: u32,
}

impl Rollout {
    /// The way back: production is with blue at once. Hooks of the shifts that were made are called again, unless
    /// nobody wants them.
    #[must_use]
    pub fn back(&self, now: Timestamp, stop: Option<StopKind>) -> Rollout {
        let direction = if stop == Some(StopKind::Abort) { Direction::Abort } else { Direction::Back };
        let stage = match (direction, self.production, self.test) {
            (Direction::Back, 1.., _) => Stage::ProductionTrafficShift,
            (Direction::Back, 0, 1..) => Stage::TestTrafficShift,
            _ => Stage::CleanUp,
        };
        let turned = Rollout { direction, production: 0, test: 0, ..self.clone() };
        turned.entering(stage, now)
    }

    /// Whether green is to be at the full count.
    pub fn wants_green(&self) -> bool {
        self.direction == Direction::Forward && self.stage >= Stage::ScaleUp
    }

    /// The same at the beginning of a stage.
    #[must_use]
    pub fn entering(mut self, stage: Stage, now: Timestamp) -> Rollout {
        let forward = self.direction == Direction::Forward;
        self.stage = stage;
        self.since = now;
        match stage {
            Stage::TestTrafficShift if forward => self.test = ALL,
            Stage::ProductionTrafficShift if forward => self.production = self.course.next(self.production),
            _ => {}
        }
        let due = self.hooks.iter().enumerate().filter(|(_, hook)| hook.stages.contains(&stage));
        let runs = due.zip(self.runs_made..).map(|((index, hook), number)| HookRun::begin(number, index, hook, now));
        self.runs = runs.collect();
        self.runs_made = self.runs_made.saturating_add(u32::try_from(self.runs.len()).unwrap_or(u32::MAX));
        self
    }
}

#[cfg(test)]
mod tests;
