//! Every decision of Gantry, pure.

pub mod reason;
pub mod task;
pub mod time;

pub use time::Timestamp;
