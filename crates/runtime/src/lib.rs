//! Images, snapshots, containers and networks on one host.
//!
//! Three traits are the whole surface that the agent sees: [`image::Images`], [`container::Containers`] and
//! [`network::Networks`]. Each has a real implementation here and a misbehaving-on-request fake in `testkit`.
//! Nothing in this crate knows about tasks' desired states, the AWS wire, or the control plane.

pub mod cdi;
pub mod container;
pub mod image;
pub mod locks;
pub mod mounts;
pub mod network;
pub mod volume;
