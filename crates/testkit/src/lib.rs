//! The simulated world used by tests.
