//! Refusals of the attribute operations.

use gantry_api::{Fault, ecs::fault as wire};
use gantry_domain::limits::{ATTRIBUTES_PER_REQUEST_MAX, ATTRIBUTES_PER_RESOURCE_MAX};

use super::invalid;

/// No attribute, or more than a request may have.
pub fn attribute_count() -> Fault {
    invalid(format!("Between 1 and {ATTRIBUTES_PER_REQUEST_MAX} attributes must be specified."))
}

/// A name that is none, or that belongs to the service itself.
pub fn attribute_name(name: &str) -> Fault {
    invalid(format!("Invalid attribute name '{name}'."))
}

/// A value that is none.
pub fn attribute_value(name: &str) -> Fault {
    invalid(format!("Invalid value for attribute '{name}'."))
}

/// DeleteAttributes goes by name and target.
pub fn attribute_value_given() -> Fault {
    invalid("The value of an attribute must not be specified when it is deleted.")
}

/// A target that is neither an ARN nor an id with `targetType`.
pub fn attribute_target(target: &str) -> Fault {
    invalid(format!("Invalid attribute target '{target}'."))
}

/// No such container instance.
pub fn target_not_found(target: &str) -> Fault {
    wire::target_not_found_exception(format!("Could not find {target}"))
}

/// The instance would have more custom attributes than it may.
pub fn attribute_limit() -> Fault {
    wire::attribute_limit_exceeded_exception(format!(
        "The maximum number of custom attributes per resource is {ATTRIBUTES_PER_RESOURCE_MAX}."
    ))
}

/// ListAttributes with a value but no name.
pub fn attribute_value_without_name() -> Fault {
    invalid("An attributeName must be specified together with an attributeValue.")
}
