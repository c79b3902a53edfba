//! Traces: what a segment says, what a trace of several is, which traces an expression means,
//! and what of them is said to OpenTelemetry.

pub mod expression;
pub mod otlp;
pub mod segment;
mod summary;

pub use summary::{Service, Summary, start, summary};
