//! The simulated world used by tests.

pub mod fake_runtime;
