//! The task engine: observe, decide, act.
//!
//! - [`state`]: what is known of a task, and how an event changes it. Pure.
//! - [`dependency`]: may a container go on, given the others? Pure.
//! - [`plan`]: what to do now, and when time alone would change the answer. Pure.
//! - [`actor`]: one per task; runs planned steps and feeds their outcomes back. No decisions.
//! - [`steps`], [`pull`], [`teardown`]: the steps themselves, all I/O.
//! - [`supervisor`]: the set of actors; recovery after a restart of the agent or of the host.
//!
//! What must hold: a container is started only when the task's record is on disk, and every step may be repeated, so
//! an agent killed anywhere goes on from the record and the runtime's own list of containers.

pub(crate) mod actor;
pub(crate) mod dependency;
pub(crate) mod plan;
#[cfg(test)]
mod plan_tests;
mod pull;
pub(crate) mod state;
pub(crate) mod steps;
pub(crate) mod supervisor;
mod teardown;
