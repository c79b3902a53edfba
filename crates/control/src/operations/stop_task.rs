//! `StopTask`: asks; the agent does, and the task reads STOPPED when it has.

use gantry_api::{
    Caller, Fault,
    ecs::{StopTaskRequest, StopTaskResponse},
};
use gantry_domain::{
    reason::{StoppedReason, trimmed},
    task::{Stop, StopCode},
};
use gantry_store::Txn;

use crate::{
    Control,
    control::{Plan, active_cluster, cluster_name, scope},
    fault,
    keys::TaskKey,
    records::encode,
    tasks::{find::task_id, wire::Seen},
};

pub(crate) async fn run(control: &Control, caller: &Caller, input: StopTaskRequest) -> Result<StopTaskResponse, Fault> {
    let scope = scope(caller);
    let cluster = cluster_name(&scope, input.cluster.as_deref())?;
    let id = task_id(&scope, &cluster, input.task.as_deref().unwrap_or_default())?;
    let key = TaskKey { scope, cluster, id };
    let reason = match input.reason.as_deref().filter(|reason| !reason.is_empty()) {
        Some(reason) => StoppedReason::GivenByUser(trimmed(reason).into_owned()),
        None => StoppedReason::StoppedByUser,
    };
    let stop = Stop { code: StopCode::UserInitiated, reason };
    let now = control.now();
    control
        .transact(|view| {
            active_cluster(view, &key.scope, &key.cluster)?;
            let row = view.task(&key).ok_or_else(fault::task_not_found)?;
            let mut record = row.record.clone();
            if !record.ask_to_stop(stop.clone(), now) {
                return Ok(Plan::Done(()));
            }
            Ok(Plan::Commit(Txn::new().require(key.path(), row.revision).put(key.path(), encode(&record)), ()))
        })
        .await?;
    let view = control.read();
    let row = view.task(&key).ok_or_else(fault::task_not_found)?;
    let task = Seen::new(&view, row).wire(&key.scope, &key.cluster, true);
    Ok(StopTaskResponse { task: Some(task) })
}
