//! Reconcilers close the gap between what was asked and what is. Each observes one key, decides with the domain, and
//! acts with one transaction; the [`runner`] says when.

mod clusters;
pub mod runner;
mod services;
mod task_definitions;

pub use clusters::Clusters;
pub use runner::{Reconciler, Runner, Wake};
pub use services::Services;
pub use task_definitions::TaskDefinitions;
