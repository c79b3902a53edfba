//! Tests of the registry through its two doors.

#![allow(clippy::unwrap_used, missing_docs)]

mod access;
mod blobs;
mod changes;
mod clients;
mod collect;
mod conformance;
mod crash;
mod dying;
mod ecr;
mod harness;
mod hooked;
mod hostile;
mod interleaved;
mod lifecycle;
mod lists;
mod manifests;
mod memory;
mod policies;
mod prepared;
mod pull_through;
mod quotas;
mod races;
mod refusals;
mod replication;
mod scanning;
mod server;
mod settings;
mod signing;
mod storm;
mod templates;
mod uploads;
