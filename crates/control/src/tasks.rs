//! What the task operations share: reading requests, writing answers, and taking in what agents observe.

pub(crate) mod desired;
pub(crate) mod find;
pub(crate) mod observe;
pub(crate) mod overrides;
pub(crate) mod protection;
pub(crate) mod request;
pub(crate) mod submitted;
pub(crate) mod wire;
