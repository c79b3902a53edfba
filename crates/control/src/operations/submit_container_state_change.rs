//! `SubmitContainerStateChange`.

use gantry_api::{
    Caller, Fault,
    ecs::{
        ContainerStateChange, SubmitContainerStateChangeRequest, SubmitContainerStateChangeResponse,
        SubmitTaskStateChangeRequest,
    },
};

use crate::{
    Control,
    control::{cluster_name, scope},
    keys::TaskKey,
    records::TaskRecord,
    tasks::{
        find::task_id,
        submitted::{self, ACKNOWLEDGMENT, take_in},
    },
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: SubmitContainerStateChangeRequest,
) -> Result<SubmitContainerStateChangeResponse, Fault> {
    let scope = scope(caller);
    let cluster = cluster_name(&scope, input.cluster.as_deref())?;
    let id = task_id(&scope, &cluster, input.task.as_deref().unwrap_or_default())?;
    let container = ContainerStateChange {
        container_name: input.container_name,
        exit_code: input.exit_code,
        network_bindings: input.network_bindings,
        reason: input.reason,
        runtime_id: input.runtime_id,
        status: input.status,
        ..Default::default()
    };
    let of_task = |before: &TaskRecord| {
        let change = SubmitTaskStateChangeRequest {
            // Containers do not move their task: it has a report of its own.
            status: Some(before.life.last_status.as_str().to_owned()).filter(|status| status == "RUNNING"),
            containers: Some(vec![container.clone()]),
            ..Default::default()
        };
        submitted::task(&change, before)
    };
    let key = TaskKey { scope, cluster, id };
    take_in(control, caller, "ecs:SubmitContainerStateChange", &key, of_task).await?;
    Ok(SubmitContainerStateChangeResponse { acknowledgment: Some(ACKNOWLEDGMENT.to_owned()) })
}
