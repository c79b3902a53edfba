//! Refusals of the task definition operations. The sentences about the document itself stand with [`Invalid`].

use gantry_api::{Fault, ecs::fault as wire};
use gantry_domain::{
    arn::ReferenceError,
    limits::{DELETE_TASK_DEFINITIONS_MAX, REVISIONS_PER_FAMILY_MAX},
};

use super::{client, elsewhere, invalid};
use crate::task_definition::Invalid;

/// A task definition that breaks a rule.
pub fn task_definition(error: &Invalid) -> Fault {
    match error {
        Invalid::PlacementSyntax { .. } => invalid(error.to_string()),
        _ => client(error.to_string()),
    }
}

/// The reference is not `family`, `family:revision` or an ARN of either here.
pub fn task_definition_reference(error: &ReferenceError) -> Fault {
    match error {
        ReferenceError::Revision(revision) if revision.is_empty() => revision_missing(),
        ReferenceError::Revision(revision) => invalid(format!("Invalid revision number. Number: {revision}")),
        ReferenceError::Malformed => task_definition_unknown(),
        other => elsewhere(other),
    }
}

/// No such revision, or no ACTIVE one in the family.
pub fn task_definition_unknown() -> Fault {
    client("Unable to describe task definition.")
}

/// DeregisterTaskDefinition must name one revision.
pub fn revision_missing() -> Fault {
    client("Revision is missing.")
}

/// A family that has used all its numbers.
pub fn too_many_revisions() -> Fault {
    wire::limit_exceeded_exception(format!("The family has reached its limit of {REVISIONS_PER_FAMILY_MAX} revisions."))
}

/// DeleteTaskDefinitions of nothing.
pub fn no_task_definitions() -> Fault {
    invalid("size of TaskDefinition references list must be greater than 0")
}

/// DeleteTaskDefinitions of more than it takes.
pub fn too_many_task_definitions() -> Fault {
    invalid(format!("Size of TaskDefinition references list cannot exceed {DELETE_TASK_DEFINITIONS_MAX}"))
}
