//! Every decision of Gantry, pure: no I/O, no clock, no randomness, no async. What a decision needs to know is an
//! argument; what should happen is its result. `clippy.toml` beside this crate keeps it so.

pub mod address_block;
pub mod arn;
pub mod autoscaling;
pub mod away;
pub mod bucket;
pub mod capabilities;
pub mod capacity;
pub mod challenge;
pub mod deployment;
pub mod ebs;
pub mod environment_file;
pub mod event_input;
pub mod event_pattern;
pub mod event_schedule;
pub mod fargate;
pub mod gpus;
mod iso8601;
pub mod lifecycle;
pub mod limits;
pub mod metrics;
pub mod networks;
pub mod paging;
pub mod parameter;
pub mod placement;
pub mod policy;
pub mod query;
pub mod rate;
pub mod reason;
pub mod rollout;
pub mod secret;
pub mod service;
pub mod tags;
pub mod task;
pub mod task_definition;
pub mod time;
pub mod trace;
pub mod web_identity;
pub mod wildcard;

pub use time::Timestamp;
