//! `GetTaskProtection`: whether, and until when, a service's tasks are protected from scale-in.

use gantry_api::{
    Caller, Fault,
    ecs::{GetTaskProtectionRequest, GetTaskProtectionResponse},
};
use gantry_domain::limits::DESCRIBE_MAX;

use crate::{
    Control,
    control::{active_cluster, cluster_name, scope},
    failures,
    tasks::protection::{can_be_protected, task_ids, to_wire},
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: GetTaskProtectionRequest,
) -> Result<GetTaskProtectionResponse, Fault> {
    let scope = scope(caller);
    let cluster = cluster_name(&scope, input.cluster.as_deref())?;
    let ids = task_ids(&scope, &cluster, input.tasks.as_deref(), DESCRIBE_MAX)?;
    let now = control.now();
    let view = control.read();
    let (entry, _) = active_cluster(&view, &scope, &cluster)?;
    let (mut protected, mut failed) = (Vec::new(), Vec::new());
    for id in ids {
        let arn = scope.task_arn(cluster.as_str(), id);
        match entry.tasks().get(id) {
            None => failed.push(failures::missing(arn)),
            Some(row) if can_be_protected(row) => protected.push(to_wire(arn, row, now)),
            Some(_) => failed.push(failures::task_not_valid(arn)),
        }
    }
    Ok(GetTaskProtectionResponse { protected_tasks: Some(protected), failures: Some(failed) })
}
