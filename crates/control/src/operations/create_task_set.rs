//! `CreateTaskSet`: adds tasks of another revision to a service that its owner drives.

use gantry_api::{
    Caller, Fault,
    ecs::{CreateTaskSetRequest, CreateTaskSetResponse},
};
use gantry_domain::{
    Timestamp,
    deployment::{DeploymentId, Failures},
};
use gantry_store::Txn;

use crate::{
    Control, control,
    control::Plan,
    fault,
    keys::{self, ServiceKey},
    records::{TaskSetRecord, TaskSetStatus, encode},
    services::{deploy, find, spec, task_sets},
    tags,
    view::EcsView,
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: CreateTaskSetRequest,
) -> Result<CreateTaskSetResponse, Fault> {
    let scope = control::scope(caller);
    let cluster = control::cluster_name(&scope, input.cluster.as_deref())?;
    let key = find::service_key(&scope, &cluster, input.service.as_deref())?;
    check_supported(&input)?;
    let id = deploy::new_ids(&control.random).deployment;
    let now = control.now();
    let id = control.transact(|view| plan(view, &key, &input, id, now)).await?;
    Ok(CreateTaskSetResponse { task_set: Some(task_sets::answer(control, &key, id)?) })
}

fn plan(
    view: &EcsView,
    key: &ServiceKey,
    input: &CreateTaskSetRequest,
    id: DeploymentId,
    now: Timestamp,
) -> Result<Plan<DeploymentId>, Fault> {
    let (_, cluster) = control::active_cluster(view, &key.scope, &key.cluster)?;
    let row = find::active(view, key)?;
    task_sets::check_controller(row)?;
    let token = token(input)?;
    if let Some((token, request)) = &token {
        let made = row.task_sets.iter().find_map(|set| {
            set.client_token.as_ref().filter(|(known, _)| known == token).map(|(_, digest)| (set.id, digest))
        });
        match made {
            Some((id, digest)) if digest == request => return Ok(Plan::Done(id)),
            Some(_) => return Err(fault::invalid("Creation of task set was not idempotent.")),
            None => {}
        }
    }
    if row.task_sets.len() >= task_sets::TASK_SETS_MAX {
        return Err(fault::invalid(
            "5 deployments exist on the service. Unable to create new TaskSet since this exceeds the maximum limit.",
        ));
    }
    let asked = spec::Asked {
        task_definition: input.task_definition.clone(),
        launch_type: input.launch_type.clone(),
        capacity_provider_strategy: input.capacity_provider_strategy.clone().unwrap_or_default(),
        platform_version: input.platform_version.clone(),
        network_configuration: input.network_configuration.clone(),
        ..spec::Asked::default()
    };
    let revision = spec::revision(view, &key.scope, cluster, &asked, now)?;
    spec::check_placement(revision.launch_type, &row.placement_constraints, &row.placement_strategy)?;
    let tags = tags::parse(input.tags.as_deref())?;
    let definition = keys::task_definition(&key.scope, key.kind, &revision.task_definition);
    let mut record = row.record.clone();
    record.task_sets.push(TaskSetRecord {
        id,
        status: TaskSetStatus::Active,
        revision,
        external_id: input.external_id.clone(),
        scale_hundredths: task_sets::scale(input.scale.as_ref())?,
        created_at: now,
        updated_at: now,
        steady_since: None,
        stability_at: now,
        placement_failed: false,
        complaint: None,
        failures: Failures::default(),
        client_token: token,
        tags: tags.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
    });
    let txn = Txn::new()
        .require(key.path(), row.revision)
        .require(keys::cluster(&key.scope, key.cluster.as_str()), cluster.revision)
        .require_exists(definition)
        .put(key.path(), encode(&record));
    Ok(Plan::Commit(txn, id))
}

/// The client's token with a digest of everything else.
fn token(input: &CreateTaskSetRequest) -> Result<Option<(String, String)>, Fault> {
    let token = spec::client_token(input.client_token.as_deref())?;
    let digest = || spec::digest(&CreateTaskSetRequest { client_token: None, ..input.clone() });
    Ok(token.map(|token| (token, digest())))
}

fn check_supported(input: &CreateTaskSetRequest) -> Result<(), Fault> {
    fn any<T>(list: Option<&Vec<T>>) -> bool {
        list.is_some_and(|list| !list.is_empty())
    }
    spec::refuse_first(&[
        (any(input.load_balancers.as_ref()), "loadBalancers"),
        (any(input.service_registries.as_ref()), "serviceRegistries"),
    ])
}
