//! `DeleteTaskSet`: its tasks are asked to stop; when they have, it is gone.

use gantry_api::{
    Caller, Fault,
    ecs::{DeleteTaskSetRequest, DeleteTaskSetResponse},
};

use crate::{
    Control, control, fault,
    records::TaskSetStatus,
    services::{find, task_sets},
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: DeleteTaskSetRequest,
) -> Result<DeleteTaskSetResponse, Fault> {
    let scope = control::scope(caller);
    let cluster = control::cluster_name(&scope, input.cluster.as_deref())?;
    let key = find::service_key(&scope, &cluster, input.service.as_deref())?;
    let id = task_sets::id(&key, input.task_set.as_deref())?;
    let force = input.force == Some(true);
    let now = control.now();
    let before = task_sets::answer(control, &key, id)?;
    task_sets::change(control, &key, id, |record| {
        let Some(set) = record.task_set_mut(id) else { return Err(fault::task_set_not_found()) };
        if set.status == TaskSetStatus::Primary && !force {
            return Err(fault::invalid("The primary task set cannot be deleted. Specify force to delete it."));
        }
        if set.scale_hundredths > 0 && !force && set.status != TaskSetStatus::Draining {
            return Err(fault::invalid("The task set cannot be deleted while it is scaled above 0."));
        }
        if set.status != TaskSetStatus::Draining {
            (set.status, set.updated_at) = (TaskSetStatus::Draining, now);
            (set.steady_since, set.stability_at) = (None, now);
        }
        Ok(())
    })
    .await?;
    // One that had no tasks may be gone already.
    let after = task_sets::answer(control, &key, id).unwrap_or_else(|_| gantry_api::ecs::TaskSet {
        status: Some(TaskSetStatus::Draining.as_str().to_owned()),
        ..before
    });
    Ok(DeleteTaskSetResponse { task_set: Some(after) })
}
