//! Managed daemons: one task on each instance of some capacity providers. They are kept as DAEMON services are
//! ([`crate::services`]); here is what they have of their own.

pub(crate) mod definition;
pub(crate) mod find;
pub(crate) mod spec;
pub(crate) mod wire;
