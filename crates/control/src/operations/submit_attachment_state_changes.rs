//! `SubmitAttachmentStateChanges`: a host says that it has a task's network interface.

use gantry_api::{
    Caller, Fault,
    ecs::{
        AttachmentStateChange, SubmitAttachmentStateChangesRequest, SubmitAttachmentStateChangesResponse,
        SubmitTaskStateChangeRequest,
    },
};
use gantry_domain::arn::{Arn, Name, Resource, Scope};

use crate::{
    Control,
    control::{active_cluster, cluster_name, scope},
    fault,
    keys::TaskKey,
    tasks::submitted::{self, ACKNOWLEDGMENT, take_in},
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: SubmitAttachmentStateChangesRequest,
) -> Result<SubmitAttachmentStateChangesResponse, Fault> {
    let scope = scope(caller);
    let cluster = cluster_name(&scope, input.cluster.as_deref())?;
    active_cluster(&control.read(), &scope, &cluster)?;
    for change in input.attachments.iter().flatten() {
        let key = task_of(control, &scope, &cluster, change)?;
        if change.status.as_deref() == Some("ATTACHED") {
            // The same as a task that is accepted: its interface is there, and it may go on.
            let attached = |before: &_| submitted::task(&SubmitTaskStateChangeRequest::default(), before);
            take_in(control, caller, "ecs:SubmitAttachmentStateChanges", &key, attached).await?;
        }
    }
    Ok(SubmitAttachmentStateChangesResponse { acknowledgment: Some(ACKNOWLEDGMENT.to_owned()) })
}

fn task_of(control: &Control, scope: &Scope, cluster: &Name, change: &AttachmentStateChange) -> Result<TaskKey, Fault> {
    let unknown = || fault::invalid("The referenced attachment was not found.");
    let arn: Arn = change.attachment_arn.as_deref().unwrap_or_default().parse().map_err(|_| unknown())?;
    let Resource::Attachment(attachment) = arn.resource else { return Err(unknown()) };
    let view = control.read();
    let task = view.namespace(scope).and_then(|space| space.attachment(&attachment)).ok_or_else(unknown)?;
    if task.cluster == *cluster { Ok(task.clone()) } else { Err(unknown()) }
}
