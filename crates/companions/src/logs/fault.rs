//! What this service says when it refuses. The sentences are the real service's where they are known.

use std::error::Error;

use gantry_api::Fault;
use gantry_api::logs::fault;
use gantry_store::StoreError;

pub(super) fn group_not_found() -> Fault {
    fault::resource_not_found_exception("The specified log group does not exist.")
}

pub(super) fn stream_not_found() -> Fault {
    fault::resource_not_found_exception("The specified log stream does not exist.")
}

pub(super) fn group_exists() -> Fault {
    fault::resource_already_exists_exception("The specified log group already exists")
}

pub(super) fn stream_exists() -> Fault {
    fault::resource_already_exists_exception("The specified log stream already exists")
}

pub(super) fn group_protected() -> Fault {
    fault::validation_exception("Log group has deletion protection enabled. Disable deletion protection and try again.")
}

pub(super) fn invalid(message: impl Into<String>) -> Fault {
    fault::invalid_parameter_exception(message)
}

pub(super) fn bad_token() -> Fault {
    invalid("The specified nextToken is invalid.")
}

pub(super) fn too_many_tags() -> Fault {
    fault::too_many_tags_exception("The resource already has the maximum number of tags.")
}

/// Somebody else keeps changing the same resource.
pub(super) fn aborted() -> Fault {
    fault::operation_aborted_exception(
        "A conflicting operation is currently in progress against this resource. Please try again.",
    )
}

/// The disk or the store failed; SDKs try again.
pub(super) fn unavailable(cause: impl Error + Send + Sync + 'static) -> Fault {
    fault::service_unavailable_exception("The service cannot complete the request.").caused_by(cause)
}

pub(super) fn store(error: StoreError) -> Fault {
    match error {
        StoreError::KeyLength { .. } => invalid("The name is too long."),
        error => unavailable(error),
    }
}
