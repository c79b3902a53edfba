//! Refusals of TagResource, UntagResource and ListTagsForResource.

use gantry_api::{Fault, ecs::fault as wire};
use gantry_domain::limits::TAGS_PER_RESOURCE_MAX;

use super::invalid;

/// Not an ARN of something that can be tagged.
pub fn arn_invalid() -> Fault {
    invalid("The ARN provided is invalid.")
}

/// The ARN of a service, task or instance without its cluster.
pub fn long_arn_required() -> Fault {
    invalid("Long arn format must be used for tagging operations")
}

/// No such resource.
pub fn resource_not_found(what: &str) -> Fault {
    wire::resource_not_found_exception(format!(
        "The specified {what} could not be found. Specify a valid {what} and try again."
    ))
}

/// A resource that is there to be described only; `state` is `inactive` or `stopped`.
pub fn resource_not_active(what: &str, state: &str, wanted: &str) -> Fault {
    invalid(format!("The specified {what} is {state}. Specify {wanted} {what} and try again."))
}

/// The resource would have more tags than it may.
pub fn tag_limit() -> Fault {
    wire::limit_exceeded_exception(format!("The maximum number of tags per resource is {TAGS_PER_RESOURCE_MAX}."))
}
