//! Protection of a service's tasks from being stopped by the service: when it scales in or deploys.

use gantry_api::{Fault, Timestamp as WireTimestamp, ecs::ProtectedTask};
use gantry_domain::{
    Timestamp,
    arn::{Name, Scope, TaskId},
    task::DesiredStatus,
};

use super::{find::task_id, wire};
use crate::{fault, records::TaskRecord, view::TaskRow};

/// The tasks a request names: at least one, at most `max`.
pub(crate) fn task_ids(
    scope: &Scope,
    cluster: &Name,
    references: Option<&[String]>,
    max: usize,
) -> Result<Vec<TaskId>, Fault> {
    let references = references.unwrap_or_default();
    match references.len() {
        0 => Err(fault::invalid("Tasks cannot be empty.")),
        count if count > max => Err(fault::invalid(format!("At most {max} tasks can be specified."))),
        _ => references.iter().map(|reference| task_id(scope, cluster, reference)).collect(),
    }
}

/// Whether protection means something for a task: it is a service's, and it is not on its way out.
pub(crate) fn can_be_protected(task: &TaskRow) -> bool {
    task.service.is_some() && !task.is_stopped() && task.life.desired_status == DesiredStatus::Running
}

/// The protection of a task as clients see it at `now`.
pub(crate) fn to_wire(arn: String, record: &TaskRecord, now: Timestamp) -> ProtectedTask {
    let until = record.protection_at(now);
    let expiration_date: Option<WireTimestamp> = until.map(wire::time);
    ProtectedTask { task_arn: Some(arn), protection_enabled: Some(until.is_some()), expiration_date }
}
