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

/// The task definition wants a volume that the request does not configure.
pub fn volume_not_configured() -> Fault {
    invalid("Task definition has configuredAtLaunch volume but no volume configuration provided at runtime.")
}

/// The request configures a volume that the task definition does not want.
pub fn volume_not_in_task_definition() -> Fault {
    invalid("Volume configuration provided but no matching configuredAtLaunch volume found in task definition.")
}

/// A role of the task is not there or does not trust ECS.
pub fn role_not_assumed(role: &RoleNotAssumed) -> Fault {
    match role {
        RoleNotAssumed::Task(_) => client(role.to_string()),
        RoleNotAssumed::Infrastructure(_) => invalid(role.to_string()),
    }
}
