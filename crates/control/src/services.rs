//! What the operations on services and their reconciler share.

pub(crate) mod act;
pub(crate) mod daemon;
pub(crate) mod deploy;
pub(crate) mod find;
pub(crate) mod observe;
pub(crate) mod spec;
pub(crate) mod start;
pub(crate) mod task_sets;
pub(crate) mod wire;
pub(crate) mod zones;
