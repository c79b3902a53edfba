//! State changes that an agent submits one call at a time, as the Amazon ECS agent does, instead of through the door.
//! They are read as observations and taken in the same way.

use gantry_api::{
    Caller, Fault,
    agent::{ObservedContainer, ObservedStatus, ObservedTask, StopReason},
    ecs::{ContainerStateChange, SubmitTaskStateChangeRequest},
};
use gantry_domain::task::StopCode;
use gantry_store::Txn;

use super::observe::observe;
use crate::{
    Control,
    control::{Plan, active_cluster},
    fault,
    instances::owner,
    keys::TaskKey,
    records::{TaskRecord, encode},
};

/// Answered to every submission that was taken in.
pub(crate) const ACKNOWLEDGMENT: &str = "ACK";

/// The observation in a task's state change.
pub(crate) fn task(change: &SubmitTaskStateChangeRequest, before: &TaskRecord) -> ObservedTask {
    let status = match change.status.as_deref() {
        Some("RUNNING") => ObservedStatus::Running,
        Some("STOPPED") => ObservedStatus::Stopped,
        _ => ObservedStatus::Pending,
    };
    let reason = change.reason.clone().filter(|reason| !reason.is_empty());
    let stopped = reason.filter(|_| status == ObservedStatus::Stopped).map(|reason| {
        let started = before.life.times.started_at.is_some();
        let code = if started { StopCode::EssentialContainerExited } else { StopCode::TaskFailedToStart };
        StopReason { code: code.as_str().to_owned(), reason }
    });
    ObservedTask {
        task_arn: String::new(),
        last_status: status,
        stopped,
        pull_started_at_ms: change.pull_started_at.map(gantry_api::Timestamp::as_millis),
        pull_stopped_at_ms: change.pull_stopped_at.map(gantry_api::Timestamp::as_millis),
        started_at_ms: None,
        stopping_at_ms: None,
        execution_stopped_at_ms: change.execution_stopped_at.map(gantry_api::Timestamp::as_millis),
        stopped_at_ms: None,
        health: String::new(),
        containers: change.containers.iter().flatten().map(container).collect(),
        volume: None,
    }
}

/// The observation in a container's state change; the task stays in the status it is in.
pub(crate) fn container(change: &ContainerStateChange) -> ObservedContainer {
    ObservedContainer {
        name: change.container_name.clone().unwrap_or_default(),
        last_status: change.status.clone().unwrap_or_default(),
        runtime_id: change.runtime_id.clone(),
        image_digest: change.image_digest.clone(),
        exit_code: change.exit_code,
        reason: change.reason.clone().filter(|reason| !reason.is_empty()),
        health: String::new(),
        network_bindings: change.network_bindings.clone().unwrap_or_default(),
    }
}

/// Takes an observation in, durably.
pub(crate) async fn take_in(
    control: &Control,
    caller: &Caller,
    action: &str,
    key: &TaskKey,
    observed: impl Fn(&TaskRecord) -> ObservedTask,
) -> Result<(), Fault> {
    let now = control.now();
    control
        .transact(|view| {
            active_cluster(view, &key.scope, &key.cluster)?;
            owner::check_task(caller, action, view, key)?;
            let row = view.task(key).ok_or_else(fault::task_not_found)?;
            let after = observe(&row.record, &observed(&row.record), now).map_err(|error| {
                fault::invalid("The task is not in a state that can take this change.").caused_by(error)
            })?;
            let Some(after) = after else { return Ok(Plan::Done(())) };
            Ok(Plan::Commit(Txn::new().require(key.path(), row.revision).put(key.path(), encode(&after)), ()))
        })
        .await
}
