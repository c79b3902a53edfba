//! Between the wire and the agent's own words: desired tasks in, observed tasks out.

mod desired;
mod logging;
mod observed;

pub(crate) use desired::desired;
pub(crate) use observed::observed;
