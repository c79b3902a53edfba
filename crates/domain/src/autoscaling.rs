//! Service auto scaling: from alarms on measured use to a desired count.
//!
//! [`alarm`] says how an alarm stands, [`step`] what a step adjusts, [`decide()`] puts the policies of one service together:
//! out when any asks, and the largest wins; in only when all that track a target agree; never beyond the bounds, and
//! within a cooldown only further out.

pub mod alarm;
mod decision;
pub mod schedule;
pub mod step;

pub use decision::{
    Ask, Bounds, Decision, Direction, History, NotScaled, Observed, Policy, Scaled, Suspended, decide, tracking_ask,
};

/// What both kinds of policies wait between two steps when they do not say, seconds.
pub const COOLDOWN_SECONDS_DEFAULT: u32 = 300;
