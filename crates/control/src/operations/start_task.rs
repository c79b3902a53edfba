//! `StartTask`: the caller chooses the instances; resources, attributes and the agent's connection still count.

use gantry_api::{
    Caller, Fault,
    ecs::{Failure, LaunchType, StartTaskRequest, StartTaskResponse},
};
use gantry_domain::{
    arn::{ContainerInstanceId, Name, Scope},
    limits::START_TASK_INSTANCES_MAX,
};
use gantry_store::Txn;

use crate::{
    Control,
    control::{active_cluster, cluster_name, scope},
    failures, fault,
    keys::ClusterKey,
    launch::{Launch, Target},
    services::spec,
    tasks::{request, wire::Seen},
    volumes::{self, Inherited},
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: StartTaskRequest,
) -> Result<StartTaskResponse, Fault> {
    let scope = scope(caller);
    let cluster = cluster_name(&scope, input.cluster.as_deref())?;
    let (ids, mut missing) = instances(&scope, &cluster, input.container_instances.as_deref().unwrap_or_default())?;
    let launch = plan(control, &scope, &cluster, input, ids)?;
    let launched = control.launch(launch).await?;
    let view = control.read();
    let tasks = view.cluster(&scope, &cluster).map(crate::view::ClusterView::tasks);
    let rows = launched.tasks.iter().filter_map(|id| tasks?.get(*id));
    missing.extend(launched.refused.iter().map(failures::refused));
    Ok(StartTaskResponse {
        tasks: Some(rows.map(|row| Seen::new(&view, row).wire(&scope, &cluster, true)).collect()),
        failures: Some(missing),
    })
}

fn instances(
    scope: &Scope,
    cluster: &Name,
    references: &[String],
) -> Result<(Vec<ContainerInstanceId>, Vec<Failure>), Fault> {
    match references.len() {
        0 => return Err(fault::client("Container Instances cannot be empty.")),
        1..=START_TASK_INSTANCES_MAX => {}
        _ => return Err(fault::invalid(format!("At most {START_TASK_INSTANCES_MAX} instances can be specified."))),
    }
    let (mut ids, mut missing) = (Vec::new(), Vec::new());
    for reference in references {
        match scope.container_instance(cluster.as_str(), reference) {
            Ok(id) => ids.push(id),
            Err(_) => missing.push(failures::missing(failures::instance_arn(scope, cluster, reference))),
        }
    }
    Ok((ids, missing))
}

fn plan(
    control: &Control,
    scope: &Scope,
    cluster: &Name,
    input: StartTaskRequest,
    ids: Vec<ContainerInstanceId>,
) -> Result<Launch, Fault> {
    let (volume_configurations, deletes_volume) = volumes::of_task(input.volume_configurations)?;
    let view = control.read();
    let (_, cluster_row) = active_cluster(&view, scope, cluster)?;
    let asked = spec::Asked {
        task_definition: input.task_definition,
        launch_type: Some(launch_type(&view, scope, cluster, &ids)),
        network_configuration: input.network_configuration,
        volume_configurations,
        ..spec::Asked::default()
    };
    let revision = spec::revision(&view, scope, cluster_row, &asked, control.now())?;
    let space = view.namespace(scope).ok_or_else(fault::cluster_not_found)?;
    let definition = space.task_definition(&revision.task_definition);
    let definition = definition.ok_or_else(|| fault::client("TaskDefinition not found."))?;
    let mut task = request::template(&revision, definition, input.overrides)?;
    task.group = request::group(input.group, revision.task_definition.family.as_str())?;
    task.started_by = request::started_by(input.started_by)?;
    task.enable_execute_command = input.enable_execute_command == Some(true);
    let managed = [("aws:ecs:clusterName", cluster.as_str())];
    let managed = if input.enable_ecs_managed_tags == Some(true) { &managed[..] } else { &[] };
    let inherited = Inherited { task_definition: &definition.tags, service: None, managed };
    task.volume = volumes::template(&revision.volume_configurations, revision.launch_type, deletes_volume, inherited);
    task.tags = request::task_tags(definition, input.propagate_tags.as_ref(), input.tags.as_deref(), managed)?;
    Ok(Launch {
        definition: revision.task_definition.clone(),
        count: ids.len(),
        target: Target::Named(ids),
        constraints: Vec::new(),
        strategies: Vec::new(),
        cluster: ClusterKey { scope: scope.clone(), cluster: cluster.clone() },
        task,
        token: None,
        with: Txn::new(),
    })
}

/// EXTERNAL when the first instance is an external one.
fn launch_type(view: &crate::EcsView, scope: &Scope, cluster: &Name, ids: &[ContainerInstanceId]) -> LaunchType {
    let key =
        |id: &ContainerInstanceId| crate::keys::InstanceKey { scope: scope.clone(), cluster: cluster.clone(), id: *id };
    let row = ids.first().and_then(|id| view.host(&key(id))).and_then(|host| host.row.as_ref());
    if row.is_some_and(|row| row.external) { LaunchType::External } else { LaunchType::Ec2 }
}
