//! Refusals of the task and container instance operations.

use gantry_api::Fault;

use gantry_domain::reason::RoleNotAssumed;

use super::{client, invalid};

/// RunTask on EC2 in a cluster without any instance.
pub fn no_container_instances() -> Fault {
    invalid("No Container Instances were found in your cluster.")
}

/// No task of that id.
pub fn task_not_found() -> Fault {
    invalid("The referenced task was not found.")
}

/// No container instance of that id.
pub fn instance_not_found() -> Fault {
    invalid("The referenced container instance was not found.")
}

/// The instance has tasks that are not STOPPED.
pub fn running_tasks() -> Fault {
    invalid("Found running tasks on the instance.")
}

/// A role of the task is not there or does not trust ECS.
pub fn role_not_assumed(role_arn: &str) -> Fault {
    client(RoleNotAssumed { role_arn }.to_string())
}
