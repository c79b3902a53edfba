//! Clusters, task definitions, tags, attributes and account settings through the door that the server uses: JSON in,
//! JSON out, model constraints checked.

#![allow(clippy::unwrap_used, unreachable_pub)]

mod account_settings;
mod attributes;
mod capacity_providers;
mod clusters;
mod events;
mod malformed;
mod retention;
mod support;
mod tags;
mod task_definitions;
