//! The image registry: ECR and the OCI distribution API over one content store.
//!
//! Two doors, one house: [`http::router`] speaks the OCI distribution API to docker and its relatives, and
//! [`Registry`] implements the ECR operations. Both work on the same repositories, images and uploads, so that what
//! goes in at one comes out at the other. Bytes lie in a content store ([`blobs`]), everything else in the store
//! ([`metadata`]).

mod access;
pub mod attempts;
pub mod blobs;
pub mod changes;
pub mod collect;
pub mod digest;
pub mod fault;
pub mod history;
pub mod http;
pub mod images;
mod layers;
pub mod lifecycle;
pub mod manifest;
pub mod metadata;
pub mod mutability;
pub mod name;
mod operations;
pub mod policies;
pub mod prefix;
pub mod prepared;
pub mod pull_through;
pub mod push;
pub mod push_image;
pub mod quotas;
mod rates;
mod registry;
pub mod replication;
mod repositories;
pub mod scanning;
mod sendfile;
pub mod settings;
pub mod signing;
mod storage_class;
pub mod templates;
pub mod token;
mod verified;
pub mod verify;

pub use registry::{Clock, OpenError, Registry, RegistryConfig, system_clock};
pub use sendfile::SendfileStream;
