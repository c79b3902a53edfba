//! The simulated world used by tests.

#[cfg(feature = "fake-runtime")]
pub mod fake_runtime;
pub mod world;

pub use world::World;
