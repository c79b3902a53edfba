//! The OCI distribution specification, behaviour by behaviour: what a registry must do for pull, push, discovery and
//! management, for both digest algorithms and for every shape of content the specification allows.
//!
//! Tables say what is sent and what must come back. A behaviour that is optional in the specification is not optional
//! here: no row may be answered with "not supported".

mod blobs;
mod discovery;
mod limits;
mod manifests;
mod refusals;
mod shapes;
