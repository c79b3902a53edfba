//! Traces: what a segment says, what a trace of several is, and which traces an expression means.

pub mod expression;
pub mod segment;
mod summary;

pub use summary::{Service, Summary, start, summary};
