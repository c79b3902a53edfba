//! Every decision of Gantry, pure.

pub mod time;

pub use time::Timestamp;
