//! What Systems Manager says when it refuses.

use gantry_api::Fault;
use gantry_api::ssm::fault;

pub(super) fn validation(message: impl Into<String>) -> Fault {
    Fault::new("ValidationException", 400, message)
}

pub(super) fn no_role(role: &str) -> Fault {
    validation(format!("Not existing role: {role}"))
}

pub(super) fn untrusting_role(role: &str) -> Fault {
    validation(format!("Role {role} does not trust ssm.amazonaws.com: its trust policy must allow it sts:AssumeRole."))
}

pub(super) fn expiration() -> Fault {
    validation("The expiration date must be in the future and at most 30 days from now.")
}

pub(super) fn too_many_activations() -> Fault {
    validation("There are too many activations; delete some first.")
}

pub(super) fn no_activation(id: &str) -> Fault {
    fault::invalid_activation_id(format!("Activation ID {id} does not exist."))
}

pub(super) fn no_instance(id: &str) -> Fault {
    fault::invalid_instance_id(format!("Instance {id} is not a managed instance of this account."))
}

pub(super) fn bad_filter(key: &str) -> Fault {
    fault::invalid_filter_key(format!("The filter key {key} is not supported."))
}

pub(super) fn bad_token() -> Fault {
    fault::invalid_next_token("The specified token isn't valid.")
}

pub(super) fn internal(error: impl std::error::Error + Send + Sync + 'static) -> Fault {
    fault::internal_server_error("An error occurred on the server side.").caused_by(error)
}
