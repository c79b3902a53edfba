//! Refusals of the operations on managed daemons.

use gantry_api::{Fault, ecs::fault as wire};

use super::{client, invalid};

/// No daemon of that ARN.
pub fn daemon_not_found() -> Fault {
    wire::daemon_not_found_exception("Daemon not found.")
}

/// The daemon is being deleted.
pub fn daemon_not_active() -> Fault {
    wire::daemon_not_active_exception("Daemon was not ACTIVE.")
}

/// The name that a daemon cannot have.
pub fn daemon_name() -> Fault {
    invalid("Daemon names can have up to 255 letters (uppercase and lowercase), numbers, underscores, and hyphens.")
}

/// A daemon is for the instances of one provider at least.
pub fn daemon_without_providers() -> Fault {
    invalid("capacityProviderArns can not be empty.")
}

/// A daemon is for providers that its cluster has.
pub fn daemon_provider_elsewhere(provider: &str) -> Fault {
    invalid(format!("The capacity provider '{provider}' is not associated with the cluster."))
}

/// The fleet shows no instances, so there is nothing a daemon could be on.
pub fn daemon_on_fargate() -> Fault {
    wire::unsupported_feature_exception("Daemons are not supported on FARGATE and FARGATE_SPOT capacity providers.")
}

/// No daemon task definition of that name, or none that is ACTIVE.
pub fn daemon_task_definition_unknown() -> Fault {
    client("Unable to describe daemon task definition.")
}

/// The daemon task definition is being deleted.
pub fn daemon_task_definition_inactive() -> Fault {
    client("The daemon task definition is not ACTIVE.")
}
