//! The image registry: ECR and the OCI distribution API over one content store.
