//! `UpdateContainerAgent`: our agents are part of the program and are updated with it, so there never is an update.

use gantry_api::{
    Caller, Fault,
    ecs::{UpdateContainerAgentRequest, UpdateContainerAgentResponse, fault as wire},
};

use crate::{
    Control,
    control::{active_cluster, cluster_name, scope},
    fault,
    instances::find::{instance_key, known},
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: UpdateContainerAgentRequest,
) -> Result<UpdateContainerAgentResponse, Fault> {
    let scope = scope(caller);
    let cluster = cluster_name(&scope, input.cluster.as_deref())?;
    let key = instance_key(&scope, &cluster, input.container_instance.as_deref())?;
    let view = control.read();
    active_cluster(&view, &scope, &cluster)?;
    known(&view, &key).ok_or_else(fault::instance_not_found)?;
    Err(wire::no_update_available_exception("There is no update available for your container agent."))
}
