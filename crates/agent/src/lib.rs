//! Drives tasks to their desired status on a container instance.

mod aws;
mod clock;
mod config;
mod container_spec;
mod engine;
#[cfg(test)]
mod engine_tests;
mod etc_files;
mod health;
mod host;
mod logs;
mod outbox;
mod ports;
mod reason;
mod record;
mod registry_access;
mod sigv4;
mod task;
mod volumes;
mod wire;

pub use config::{Config, Credentials, ImagePullBehavior, RuntimeParts};
