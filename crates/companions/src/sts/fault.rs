//! What STS says when it refuses. The sentences are the real service's where they are known.

use gantry_api::Fault;
use gantry_api::sts::fault;

pub(super) fn denied(sentence: impl Into<String>) -> Fault {
    Fault::new("AccessDenied", 403, sentence)
}

/// Of a role that is not there, which must not tell that it is not.
pub(super) fn may_not_assume(principal: &str, role: &str) -> Fault {
    denied(format!("User: {principal} is not authorized to perform: sts:AssumeRole on resource: {role}"))
}

pub(super) fn validation(message: impl Into<String>) -> Fault {
    Fault::new("ValidationError", 400, message)
}

pub(super) fn too_long_for_role() -> Fault {
    validation("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
}

pub(super) fn too_long_for_chain() -> Fault {
    validation("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
}

pub(super) fn malformed_policy(cause: &dyn std::fmt::Display) -> Fault {
    fault::malformed_policy_document_exception(format!("The policy is not in the valid JSON format: {cause}"))
}

pub(super) fn packed_policy_too_large(percent: usize) -> Fault {
    fault::packed_policy_too_large_exception(format!(
        "Packed size of session tags consumes {percent}% of allotted space."
    ))
}

pub(super) fn session_credentials() -> Fault {
    denied("Cannot call GetSessionToken with session credentials")
}

pub(super) fn no_mfa() -> Fault {
    denied("MultiFactorAuthentication failed, unable to validate MFA code. Gantry has no MFA devices.")
}

pub(super) fn unknown_key() -> Fault {
    validation("The access key ID is not known.")
}
