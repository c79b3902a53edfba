//! What Systems Manager says when it refuses.

use gantry_api::Fault;
use gantry_api::ssm::fault;

pub(in crate::ssm) fn validation(message: impl Into<String>) -> Fault {
    Fault::new("ValidationException", 400, message)
}

pub(in crate::ssm) fn no_role(role: &str) -> Fault {
    validation(format!("Not existing role: {role}"))
}

pub(in crate::ssm) fn untrusting_role(role: &str) -> Fault {
    validation(format!("Role {role} does not trust ssm.amazonaws.com: its trust policy must allow it sts:AssumeRole."))
}

pub(in crate::ssm) fn expiration() -> Fault {
    validation("The expiration date must be in the future and at most 30 days from now.")
}

pub(in crate::ssm) fn too_many_activations() -> Fault {
    validation("There are too many activations; delete some first.")
}

pub(in crate::ssm) fn no_activation(id: &str) -> Fault {
    fault::invalid_activation_id(format!("Activation ID {id} does not exist."))
}

pub(in crate::ssm) fn no_instance(id: &str) -> Fault {
    fault::invalid_instance_id(format!("Instance {id} is not a managed instance of this account."))
}

pub(in crate::ssm) fn no_resource(id: &str) -> Fault {
    fault::invalid_resource_id(format!(
        "The resource ID {id} is not valid. Verify that you entered the correct ID and try again."
    ))
}

pub(in crate::ssm) fn no_resource_type() -> Fault {
    fault::invalid_resource_type("The resource type is not valid. Gantry has Parameter and ManagedInstance.")
}

pub(in crate::ssm) fn too_many_tags() -> Fault {
    fault::too_many_tags_error("A resource can have at most 50 tags.")
}

pub(in crate::ssm) fn bad_filter(key: &str) -> Fault {
    fault::invalid_filter_key(format!("The filter key {key} is not supported."))
}

pub(in crate::ssm) fn bad_token() -> Fault {
    fault::invalid_next_token("The specified token isn't valid.")
}

pub(in crate::ssm) fn internal(error: impl std::error::Error + Send + Sync + 'static) -> Fault {
    fault::internal_server_error("An error occurred on the server side.").caused_by(error)
}
