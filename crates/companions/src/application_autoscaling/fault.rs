//! Every sentence with which auto scaling refuses a request.

use gantry_api::{Fault, application_autoscaling::fault as wire};
use gantry_store::StoreError;

use super::rows::ServiceId;

pub(super) fn invalid(message: impl Into<String>) -> Fault {
    wire::validation_exception(message)
}

pub(super) fn unsupported(what: &str) -> Fault {
    invalid(format!("Gantry does not support {what} yet."))
}

pub(super) fn unsupported_resource() -> Fault {
    invalid("Unsupported service namespace, resource type or scalable dimension")
}

pub(super) fn no_service(id: &ServiceId) -> Fault {
    invalid(format!("ECS service doesn't exist: {}", id.resource_id()))
}

fn not_found(what: &str, id: &ServiceId) -> Fault {
    wire::object_not_found_exception(format!(
        "No {what} for service namespace: ecs, resource ID: {}, scalable dimension: ecs:service:DesiredCount",
        id.resource_id()
    ))
}

pub(super) fn no_target(id: &ServiceId) -> Fault {
    not_found("scalable target found", id)
}

pub(super) fn not_registered(id: &ServiceId) -> Fault {
    not_found("scalable target registered", id)
}

pub(super) fn no_policy(id: &ServiceId) -> Fault {
    not_found("scaling policy found", id)
}

pub(super) fn no_scheduled_action(id: &ServiceId) -> Fault {
    not_found("scheduled action found", id)
}

pub(super) fn no_resource(arn: &str) -> Fault {
    wire::resource_not_found_exception(format!("The resource {arn} was not found."))
}

pub(super) fn limit(what: &str) -> Fault {
    wire::limit_exceeded_exception(format!("The maximum number of {what} was reached."))
}

pub(super) fn too_many_tags() -> Fault {
    wire::too_many_tags_exception("A resource can have at most 50 tags.")
}

pub(super) fn bad_token() -> Fault {
    wire::invalid_next_token_exception("The specified next token is invalid.")
}

pub(super) fn concurrent() -> Fault {
    wire::concurrent_update_exception("Another update of the same resource is under way, please try again.")
}

pub(super) fn store(error: StoreError) -> Fault {
    unavailable(error)
}

pub(super) fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> Fault {
    wire::internal_service_exception("The service is unavailable, please try again.").caused_by(error)
}
