//! Finding the task a request names.

use gantry_api::Fault;
use gantry_domain::arn::{Name, ReferenceError, Scope, TaskId};

use crate::fault;

/// The id in a task's id or ARN.
pub(crate) fn task_id(scope: &Scope, cluster: &Name, reference: &str) -> Result<TaskId, Fault> {
    scope.task(cluster.as_str(), reference).map_err(|error| match error {
        ReferenceError::Malformed | ReferenceError::Revision(_) => fault::invalid("Task Identifier is invalid"),
        other => fault::elsewhere(&other),
    })
}
