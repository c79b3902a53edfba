//! Refusal of a part of a request: the entries of `failures`, answered with HTTP 200 beside what worked.

use gantry_api::ecs::Failure;

fn failure(arn: String, reason: &str) -> Failure {
    Failure { arn: Some(arn), reason: Some(reason.to_owned()), ..Failure::default() }
}

/// Nothing of that name is known.
pub fn missing(arn: String) -> Failure {
    failure(arn, "MISSING")
}

/// A deregistered container instance.
pub fn inactive(arn: String) -> Failure {
    failure(arn, "INACTIVE")
}
