//! `UpdateServicePrimaryTaskSet`: another task set serves production traffic.

use gantry_api::{
    Caller, Fault,
    ecs::{UpdateServicePrimaryTaskSetRequest, UpdateServicePrimaryTaskSetResponse},
};

use crate::{
    Control, control, fault,
    records::TaskSetStatus,
    services::{find, task_sets},
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: UpdateServicePrimaryTaskSetRequest,
) -> Result<UpdateServicePrimaryTaskSetResponse, Fault> {
    let scope = control::scope(caller);
    let cluster = control::cluster_name(&scope, input.cluster.as_deref())?;
    let key = find::service_key(&scope, &cluster, input.service.as_deref())?;
    let id = task_sets::id(&key, input.primary_task_set.as_deref())?;
    let now = control.now();
    task_sets::change(control, &key, id, |record| {
        for set in &mut record.task_sets {
            let status = match (set.id == id, set.status) {
                (true, TaskSetStatus::Draining) => {
                    return Err(fault::invalid("The task set is draining and cannot become the primary task set."));
                }
                (true, _) => TaskSetStatus::Primary,
                (false, TaskSetStatus::Primary) => TaskSetStatus::Active,
                (false, other) => other,
            };
            if set.status != status {
                (set.status, set.updated_at) = (status, now);
            }
        }
        if let Some(primary) = record.primary_task_set() {
            record.launch_type = primary.revision.launch_type;
        }
        Ok(())
    })
    .await?;
    Ok(UpdateServicePrimaryTaskSetResponse { task_set: Some(task_sets::answer(control, &key, id)?) })
}
