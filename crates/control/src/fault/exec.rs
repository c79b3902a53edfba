//! Refusals of ECS Exec.

use gantry_api::{Fault, ecs::fault as wire};

use super::{client, invalid};

/// The task was not started for it, or its container does not run.
pub fn exec_not_enabled() -> Fault {
    invalid(
        "The execute command failed because execute command was not enabled when the task was run or the execute \
         command agent isn\u{2019}t running. Wait and try again or run a new task with execute command enabled and try \
         again.",
    )
}

/// The agent of the task's host is not connected.
pub fn exec_not_connected() -> Fault {
    wire::target_not_connected_exception("The execute command failed due to an internal error. Try again later.")
}

/// `interactive` was not true.
pub fn exec_not_interactive() -> Fault {
    invalid("Interactive is the only mode supported currently.")
}

/// The task has several containers and none was named.
pub fn exec_container_missing() -> Fault {
    invalid("The container name is required when the task has more than one container.")
}

/// The task has no container of that name.
pub fn exec_container_unknown(name: &str) -> Fault {
    invalid(format!("The container {name} was not found in the task."))
}

/// `command` cannot be split into words, has none, or is too long.
pub fn exec_command_invalid() -> Fault {
    invalid("The command is empty, too long, or has a quote that is not closed.")
}

/// The container or the account has as many sessions as it may have.
pub fn exec_too_many_sessions() -> Fault {
    client("The execute command failed because there are too many open sessions. End some and try again.")
}

/// The cluster wants sessions logged, and the place does not take them.
pub fn exec_not_logged(why: &str) -> Fault {
    invalid(format!("The execute command failed because the session could not be logged: {why}"))
}
