//! What EventBridge says when it refuses. The sentences are the real service's where they are known.

use gantry_api::Fault;
use gantry_api::events::fault;
use gantry_domain::event_pattern::PatternError;
use gantry_store::StoreError;

pub(super) use gantry_api::events::fault::{
    concurrent_modification_exception, limit_exceeded_exception, resource_already_exists_exception,
};

pub(super) fn validation(message: impl Into<String>) -> Fault {
    Fault::new("ValidationException", 400, message)
}

pub(super) fn not_valid(parameter: &str, reason: impl std::fmt::Display) -> Fault {
    validation(format!("Parameter {parameter} is not valid. Reason: {reason}"))
}

pub(super) fn no_rule(rule: &str, bus: &str) -> Fault {
    fault::resource_not_found_exception(format!("Rule {rule} does not exist on EventBus {bus}."))
}

pub(super) fn no_bus(bus: &str) -> Fault {
    fault::resource_not_found_exception(format!("Event bus {bus} does not exist."))
}

pub(super) fn no_resource(arn: &str) -> Fault {
    fault::resource_not_found_exception(format!("Resource {arn} does not exist."))
}

pub(super) fn pattern(error: &PatternError) -> Fault {
    fault::invalid_event_pattern_exception(format!("Event pattern is not valid. Reason: {error}"))
}

pub(super) fn too_many(what: &str) -> Fault {
    limit_exceeded_exception(format!("The requested resource exceeds the maximum number allowed: {what}."))
}

pub(super) fn bad_token() -> Fault {
    validation("Parameter NextToken is not valid.")
}

pub(super) fn overtaken() -> Fault {
    concurrent_modification_exception("There is concurrent modification on the resource. Please try again.")
}

pub(super) fn internal(cause: impl std::error::Error + Send + Sync + 'static) -> Fault {
    fault::internal_exception("The request could not be carried out.").caused_by(cause)
}

pub(super) fn store(error: StoreError) -> Fault {
    match error {
        StoreError::KeyLength { .. } => validation("The name is too long."),
        error => internal(error),
    }
}
