//! Drives tasks to their desired status on a container instance, and reports back.
//!
//! - The **engine** ([`engine`]) owns the tasks of the machine. It needs nobody: with the control plane away, tasks go
//!   on, health checks and restarts included.
//! - The **session** ([`session`]) is the one connection to the control plane: orders in, observations out.
//! - **Exec** ([`exec`]) runs what users run in containers, each session over a connection of its own.
//! - **Logs** ([`logs`]) follow what containers print and deliver it, from where the last agent stopped.
//!
//! The agent may be killed at any moment: containers live under shims of their own, every task has a durable record,
//! and the next agent goes on from both.

mod access;
mod answer;
mod aws;
mod clock;
mod config;
mod container_spec;
mod credentials;
mod endpoint;
mod engine;
#[cfg(test)]
mod engine_tests;
mod ephemeral_storage;
mod etc_files;
mod exec;
mod file_systems;
mod firelens;
mod gpus;
mod health;
mod held_values;
mod host;
mod identity;
mod images_cleanup;
mod logs;
mod managed_volumes;
mod memory;
mod outbox;
mod overlay;
mod ports;
mod reason;
mod record;
mod register;
mod registry_access;
mod run;
#[cfg(test)]
mod run_tests;
mod session;
mod sigv4;
mod task;
mod unfinished_images;
mod usage;
mod volume_files;
mod volumes;
pub mod websocket;
mod wire;

pub use config::{Config, ImagePullBehavior, Join, RuntimeParts};
pub use file_systems::{AccessPoint, FileSystemConfig, FileSystemConfigs, Owner};
pub use managed_volumes::take_down_volumes;
pub use run::{AgentError, run};

/// From 0 to 1.
fn random_fraction() -> f64 {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    }
}
