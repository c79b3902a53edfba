//! What the cluster operations share: the rules on what a cluster is given, and a cluster as clients see it.

mod capacity;
mod settings;
mod wire;

pub(crate) use capacity::{check_providers, check_strategy, items};
pub(crate) use settings::{CONTAINER_INSIGHTS, check_configuration, check_namespace, check_settings};
pub(crate) use wire::{Include, wire};
