//! `DescribeTaskSets`.

use gantry_api::{
    Caller, Fault,
    ecs::{DescribeTaskSetsRequest, DescribeTaskSetsResponse, TaskSetField},
};

use crate::{
    Control, control, fault,
    services::{find, task_sets},
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: DescribeTaskSetsRequest,
) -> Result<DescribeTaskSetsResponse, Fault> {
    let scope = control::scope(caller);
    let cluster = control::cluster_name(&scope, input.cluster.as_deref())?;
    let key = find::service_key(&scope, &cluster, input.service.as_deref())?;
    let with_tags = input.include.unwrap_or_default().contains(&TaskSetField::Tags);
    let view = control.read();
    let row = find::active(&view, &key)?;
    task_sets::check_controller(row)?;
    let show = |set| task_sets::wire(&view, &key, row, set, with_tags);
    let references = input.task_sets.unwrap_or_default();
    if references.is_empty() {
        let all = row.task_sets.iter().map(show).collect();
        return Ok(DescribeTaskSetsResponse { task_sets: Some(all), failures: Some(Vec::new()) });
    }
    if references.len() > gantry_domain::limits::DESCRIBE_SERVICES_MAX {
        return Err(fault::invalid("TaskSets list cannot exceed 10 elements."));
    }
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for reference in &references {
        let id = task_sets::id(&key, Some(reference))?;
        match row.task_set(id) {
            Some(set) => found.push(show(set)),
            None => missing.push(task_sets::missing(&key, id)),
        }
    }
    Ok(DescribeTaskSetsResponse { task_sets: Some(found), failures: Some(missing) })
}
