//! `ExecuteCommand`: opens a session in a container; the client takes it up over the data channel.

use gantry_api::{
    Caller, Fault,
    ecs::{ExecuteCommandRequest, ExecuteCommandResponse, Session},
};

use crate::{
    Control,
    control::{cluster_name, scope},
    exec::open::{self, Asked, Opened},
    fault,
    keys::TaskKey,
    tasks::find::task_id,
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: ExecuteCommandRequest,
) -> Result<ExecuteCommandResponse, Fault> {
    let scope = scope(caller);
    let cluster = cluster_name(&scope, input.cluster.as_deref())?;
    if input.interactive != Some(true) {
        return Err(fault::exec_not_interactive());
    }
    let id = task_id(&scope, &cluster, input.task.as_deref().unwrap_or_default())?;
    let key = TaskKey { scope: scope.clone(), cluster: cluster.clone(), id };
    let asked = Asked {
        container: input.container.filter(|name| !name.is_empty()),
        command: input.command.unwrap_or_default(),
        reason: None,
    };
    let Opened { session_id, stream_url, token, container, container_id } =
        open::open(control, caller, &key, asked).await?;
    Ok(ExecuteCommandResponse {
        cluster_arn: Some(scope.cluster_arn(cluster.as_str())),
        container_arn: Some(scope.container_arn(cluster.as_str(), id, &container_id)),
        container_name: Some(container),
        interactive: Some(true),
        session: Some(Session { session_id: Some(session_id), stream_url: Some(stream_url), token_value: Some(token) }),
        task_arn: Some(key.arn()),
    })
}
