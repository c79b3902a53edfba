//! The simulated world used by tests.

pub mod fake_runtime;
pub mod world;

pub use world::World;
