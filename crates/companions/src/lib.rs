//! The AWS services that tasks and deployments lean on, a module each.
//!
//! They know nothing of ECS. What one needs of another crate it takes as a value or trait that the program wires.

pub mod application_autoscaling;
mod background;
mod commit;
pub mod events;
pub mod iam;
pub mod logs;
pub mod machines;
pub mod outbound;
pub mod sealing;
pub mod secretsmanager;
pub mod ssm;
mod sts;
pub mod xray;

pub use sts::{IssuerConfig, IssuerConfigs, Issuers, Jwks, Sts};

/// Account and region of a caller.
fn scope_of(caller: &gantry_api::Caller) -> gantry_domain::arn::Scope {
    gantry_domain::arn::Scope::new(&*caller.account, &*caller.region)
}
