//! Tests of the registry through its two doors.

#![allow(clippy::unwrap_used, missing_docs)]

mod access;
mod blobs;
mod collect;
mod ecr;
mod harness;
mod lists;
mod manifests;
mod races;
mod uploads;
