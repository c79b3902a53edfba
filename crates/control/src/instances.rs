//! What the container instance operations share: reading registrations, finding instances, writing answers.

pub(crate) mod find;
pub(crate) mod owner;
pub(crate) mod registration;
pub(crate) mod wire;
