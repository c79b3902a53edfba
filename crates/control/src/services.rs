//! What the operations on services and their reconciler share.

pub(crate) mod act;
pub(crate) mod alarms;
pub(crate) mod configuration;
pub(crate) mod daemon;
pub(crate) mod deploy;
pub(crate) mod deployment_wire;
pub(crate) mod find;
pub(crate) mod history;
pub(crate) mod hooks;
pub(crate) mod images;
pub(crate) mod observe;
pub(crate) mod rollout;
pub(crate) mod spec;
pub(crate) mod start;
pub(crate) mod task_sets;
pub(crate) mod token;
pub(crate) mod wire;
pub(crate) mod zones;
