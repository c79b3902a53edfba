//! What the operations on services and their reconciler share.

pub(crate) mod deploy;
pub(crate) mod find;
pub(crate) mod spec;
pub(crate) mod wire;
