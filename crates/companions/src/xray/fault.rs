//! What X-Ray says when it refuses.

use gantry_api::Fault;
use gantry_api::xray::fault;

pub(super) fn invalid(message: impl Into<String>) -> Fault {
    fault::invalid_request_exception(message)
}

/// The disk failed; SDKs try again.
pub(super) fn unavailable(error: std::io::Error) -> Fault {
    Fault::new("InternalFailure", 500, "The segments could not be kept.").caused_by(error)
}
