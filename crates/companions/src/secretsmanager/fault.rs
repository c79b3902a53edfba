//! What this service says when it refuses. The sentences are the real service's where they are known.

use std::error::Error;

use gantry_api::Fault;
use gantry_api::secretsmanager::fault;
use gantry_domain::secret::versions::{CURRENT, STAGES_MAX, VERSIONS_MAX, VersionError};
use gantry_store::StoreError;

pub(super) fn not_found() -> Fault {
    fault::resource_not_found_exception("Secrets Manager can't find the specified secret.")
}

pub(super) fn no_version(version: &str) -> Fault {
    fault::resource_not_found_exception(format!(
        "Secrets Manager can't find the specified secret value for VersionId: {version}"
    ))
}

pub(super) fn exists(name: &str) -> Fault {
    fault::resource_exists_exception(format!("The operation failed because the secret {name} already exists."))
}

pub(super) fn version_exists(version: &str) -> Fault {
    fault::resource_exists_exception(format!(
        "You can't use ClientRequestToken {version} because that value is already in use for a version of secret \
         with different content."
    ))
}

pub(super) fn deleted() -> Fault {
    request("You can't perform this operation on the secret because it was marked for deletion.")
}

pub(super) fn name_deleted() -> Fault {
    request("You can't create this secret because a secret with this name is already scheduled for deletion.")
}

pub(super) fn request(message: impl Into<String>) -> Fault {
    fault::invalid_request_exception(message)
}

pub(super) fn parameter(message: impl Into<String>) -> Fault {
    fault::invalid_parameter_exception(message)
}

pub(super) fn invalid_name() -> Fault {
    let text =
        "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!";
    Fault::new("ValidationException", 400, text)
}

pub(super) fn bad_token() -> Fault {
    fault::invalid_next_token_exception("The NextToken value is invalid.")
}

pub(super) fn limit(message: impl Into<String>) -> Fault {
    fault::limit_exceeded_exception(message)
}

pub(super) fn denied(sentence: String) -> Fault {
    Fault::new("AccessDeniedException", 400, sentence)
}

pub(super) fn malformed_policy() -> Fault {
    fault::malformed_policy_document_exception("This resource policy contains a syntax error.")
}

pub(super) fn public_policy() -> Fault {
    fault::public_policy_exception(
        "The BlockPublicPolicy parameter is set to true, and the resource policy did not prevent broad access to the \
         secret.",
    )
}

pub(super) fn versions(error: VersionError) -> Fault {
    match error {
        VersionError::NoStage(stage) => fault::resource_not_found_exception(format!(
            "Secrets Manager can't find the specified secret value for staging label: {stage}"
        )),
        VersionError::NoVersion(version) => no_version(&version),
        VersionError::StageElsewhere => {
            request("You provided a VersionStage that is not associated to the provided VersionId.")
        }
        VersionError::HolderNotNamed { stage, holder } => parameter(format!(
            "The parameter RemoveFromVersionId can't be empty. Staging label {stage} is currently attached to version \
             {holder}, so you must explicitly reference that version in RemoveFromVersionId."
        )),
        VersionError::NotHolder { stage, version } => {
            parameter(format!("The staging label {stage} isn't currently attached to version {version}."))
        }
        VersionError::CurrentMustStay => parameter(format!(
            "You can only move staging label {CURRENT} to a different secret version. It can't be completely removed."
        )),
        VersionError::TooManyStages => limit(format!("A version can have at most {STAGES_MAX} staging labels.")),
        VersionError::TooManyVersions => limit(format!(
            "The secret has {VERSIONS_MAX} versions that have staging labels or are less than 24 hours old."
        )),
    }
}

/// Somebody else keeps changing the same secret; SDKs try again.
pub(super) fn concurrent() -> Fault {
    fault::internal_service_error("The secret is being changed by another request. Try again.")
}

/// The operating system has no random numbers.
pub(super) fn no_random() -> Fault {
    fault::internal_service_error("An error occurred on the server side.").caused_by("no random numbers")
}

/// The store failed; SDKs try again.
pub(super) fn unavailable(cause: impl Error + Send + Sync + 'static) -> Fault {
    fault::internal_service_error("An error occurred on the server side.").caused_by(cause)
}

pub(super) fn store(error: StoreError) -> Fault {
    match error {
        StoreError::KeyLength { .. } => parameter("The name is too long."),
        error => unavailable(error),
    }
}

pub(super) fn encryption(cause: impl Error + Send + Sync + 'static) -> Fault {
    let text = "Secrets Manager can't encrypt the protected secret text using the provided KMS key.";
    fault::encryption_failure(text).caused_by(cause)
}

const CANNOT_DECRYPT: &str = "Secrets Manager can't decrypt the protected secret text using the provided KMS key.";

pub(super) fn decryption(cause: impl Error + Send + Sync + 'static) -> Fault {
    fault::decryption_failure(CANNOT_DECRYPT).caused_by(cause)
}

/// It opens, and is not what was sealed.
pub(super) fn damaged() -> Fault {
    fault::decryption_failure(CANNOT_DECRYPT)
}
