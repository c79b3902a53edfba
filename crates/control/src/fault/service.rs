//! Refusals of the operations on services.

use gantry_api::Fault;

use super::invalid;
use crate::keys::ServiceKind;

/// A service or managed daemon of that name was made by another request.
pub fn name_taken(kind: ServiceKind) -> Fault {
    invalid(match kind {
        ServiceKind::Service => "Creation of service was not idempotent.",
        ServiceKind::Daemon => "Creation of daemon was not idempotent.",
    })
}

/// A service or managed daemon of that name is still on its way out.
pub fn name_leaves(kind: ServiceKind) -> Fault {
    invalid(match kind {
        ServiceKind::Service => "Unable to Start a service that is still Draining.",
        ServiceKind::Daemon => "Unable to create a daemon that is still being deleted.",
    })
}
