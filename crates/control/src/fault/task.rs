//! Refusals of the task and container instance operations.

use gantry_api::Fault;

use super::invalid;

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
