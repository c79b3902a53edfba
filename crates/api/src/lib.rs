//! Wire types of the services that Gantry speaks, generated from `models/`, and the agent protocol.
//!
//! This crate knows names and shapes only: no HTTP, no state, no decisions. Every member of a generated struct is an
//! `Option`, so that "absent" and "empty" stay different; [`validate`] has already refused what the model forbids
//! when an operation sees its input.

pub mod agent;
pub mod alarm;
pub mod application_autoscaling;
mod caller;
pub mod codec;
pub mod data_channel;
pub mod ecr;
pub mod ecs;
pub mod event;
pub mod events;
pub mod exec;
mod fault;
pub mod iam;
pub mod logs;
pub mod machine;
mod scalar;
pub mod secretsmanager;
mod service;
pub mod ssm;
pub mod sts;
pub mod task_values;
pub mod validate;
pub mod xray;

pub use caller::{Caller, Origin, PrincipalKind, Session, TaskSession};
pub use codec::Codec;
pub use fault::Fault;
pub use scalar::{Blob, Timestamp};
pub use service::{Empty, OperationInfo, ServiceInfo};
