//! `DescribeTasks`.

use gantry_api::{
    Caller, Fault,
    ecs::{DescribeTasksRequest, DescribeTasksResponse, TaskField},
};
use gantry_domain::limits::DESCRIBE_MAX;

use crate::{
    Control,
    control::{active_cluster, cluster_name, scope},
    failures, fault,
    tasks::{find::task_id, wire::Seen},
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: DescribeTasksRequest,
) -> Result<DescribeTasksResponse, Fault> {
    let scope = scope(caller);
    let cluster = cluster_name(&scope, input.cluster.as_deref())?;
    let references = input.tasks.unwrap_or_default();
    match references.len() {
        0 => return Err(fault::invalid("Tasks cannot be empty.")),
        1..=DESCRIBE_MAX => {}
        _ => return Err(fault::invalid(format!("At most {DESCRIBE_MAX} tasks can be specified."))),
    }
    let tags = input.include.unwrap_or_default().contains(&TaskField::Tags);
    let ids = references.iter().map(|reference| task_id(&scope, &cluster, reference)).collect::<Result<Vec<_>, _>>()?;
    let (mut seen, mut missing) = (Vec::with_capacity(ids.len()), Vec::new());
    {
        let view = control.read();
        let (entry, _) = active_cluster(&view, &scope, &cluster)?;
        for id in ids {
            match entry.tasks().get(id) {
                Some(row) => seen.push(Seen::new(&view, row)),
                None => missing.push(failures::missing(scope.task_arn(cluster.as_str(), id))),
            }
        }
    }
    Ok(DescribeTasksResponse {
        tasks: Some(seen.iter().map(|seen| seen.wire(&scope, &cluster, tags)).collect()),
        failures: Some(missing),
    })
}
