//! The image registry: ECR and the OCI distribution API over one content store.

pub mod blobs;
pub mod digest;
pub mod name;
