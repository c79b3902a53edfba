//! `UpdateTaskSet`: changes its scale, and nothing else.

use gantry_api::{
    Caller, Fault,
    ecs::{UpdateTaskSetRequest, UpdateTaskSetResponse},
};

use crate::{
    Control, control, fault,
    records::TaskSetStatus,
    services::{find, task_sets},
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: UpdateTaskSetRequest,
) -> Result<UpdateTaskSetResponse, Fault> {
    let scope = control::scope(caller);
    let cluster = control::cluster_name(&scope, input.cluster.as_deref())?;
    let key = find::service_key(&scope, &cluster, input.service.as_deref())?;
    let id = task_sets::id(&key, input.task_set.as_deref())?;
    let scale = task_sets::scale(input.scale.as_ref())?;
    let now = control.now();
    task_sets::change(control, &key, id, |record| {
        let Some(set) = record.task_set_mut(id) else { return Err(fault::task_set_not_found()) };
        if set.status == TaskSetStatus::Draining {
            return Err(fault::invalid("The task set is draining and cannot be updated."));
        }
        if set.scale_hundredths != scale {
            (set.scale_hundredths, set.updated_at) = (scale, now);
            // Steady again only once the reconciler has looked at the new number.
            (set.steady_since, set.stability_at) = (None, now);
        }
        Ok(())
    })
    .await?;
    Ok(UpdateTaskSetResponse { task_set: Some(task_sets::answer(control, &key, id)?) })
}
