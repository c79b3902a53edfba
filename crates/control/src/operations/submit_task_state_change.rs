//! `SubmitTaskStateChange`.

use gantry_api::{
    Caller, Fault,
    ecs::{SubmitTaskStateChangeRequest, SubmitTaskStateChangeResponse},
};

use crate::{
    Control,
    control::{cluster_name, scope},
    keys::TaskKey,
    tasks::{
        find::task_id,
        submitted::{self, ACKNOWLEDGMENT, take_in},
    },
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: SubmitTaskStateChangeRequest,
) -> Result<SubmitTaskStateChangeResponse, Fault> {
    let scope = scope(caller);
    let cluster = cluster_name(&scope, input.cluster.as_deref())?;
    let id = task_id(&scope, &cluster, input.task.as_deref().unwrap_or_default())?;
    let action = "ecs:SubmitTaskStateChange";
    let key = TaskKey { scope, cluster, id };
    take_in(control, caller, action, &key, |before| submitted::task(&input, before)).await?;
    Ok(SubmitTaskStateChangeResponse { acknowledgment: Some(ACKNOWLEDGMENT.to_owned()) })
}
