//! `RunTask`.

use gantry_api::{
    Caller, Fault,
    ecs::{self, RunTaskRequest, RunTaskResponse},
};
use gantry_domain::limits::{RUN_TASK_CLIENT_TOKEN_LENGTH_MAX, RUN_TASK_COUNT_MAX};
use gantry_store::Txn;
use sha2::{Digest, Sha256};

use crate::{
    Control,
    control::{active_cluster, cluster_name, scope},
    failures, fault,
    keys::ClusterKey,
    launch::{self, ClientToken, Launch, Launched, Target},
    services::spec,
    tasks::{request, wire::Seen},
    volumes::{self, Inherited},
};

pub(crate) async fn run(control: &Control, caller: &Caller, input: RunTaskRequest) -> Result<RunTaskResponse, Fault> {
    let launch = plan(control, caller, input)?;
    let (scope, cluster) = (launch.cluster.scope.clone(), launch.cluster.cluster.clone());
    let (target, tags) = (launch.target.clone(), true);
    let launched = control.launch(launch).await?;
    if launched.no_instances && launched.tasks.is_empty() && target != Target::Fleet {
        return Err(fault::no_container_instances());
    }
    let seen: Vec<Seen> = {
        let view = control.read();
        let tasks = view.cluster(&scope, &cluster).map(crate::view::ClusterView::tasks);
        let rows = launched.tasks.iter().filter_map(|id| tasks?.get(*id));
        rows.map(|row| Seen::new(&view, row)).collect()
    };
    Ok(RunTaskResponse {
        tasks: Some(seen.iter().map(|seen| seen.wire(&scope, &cluster, tags)).collect()),
        failures: Some(refusals(&launched, &target)),
    })
}

fn plan(control: &Control, caller: &Caller, input: RunTaskRequest) -> Result<Launch, Fault> {
    let scope = scope(caller);
    let cluster = cluster_name(&scope, input.cluster.as_deref())?;
    let token = token(&input)?;
    let (volume_configurations, deletes_volume) = volumes::of_task(input.volume_configurations)?;
    let count = count(input.count)?;
    let asked = spec::Asked {
        task_definition: input.task_definition,
        launch_type: input.launch_type,
        capacity_provider_strategy: input.capacity_provider_strategy.unwrap_or_default(),
        platform_version: input.platform_version,
        network_configuration: input.network_configuration,
        volume_configurations,
    };
    let view = control.read();
    let (_, cluster_row) = active_cluster(&view, &scope, &cluster)?;
    let revision = spec::revision(&view, &scope, cluster_row, &asked, control.now())?;
    let space = view.namespace(&scope).ok_or_else(fault::cluster_not_found)?;
    let definition = space.task_definition(&revision.task_definition);
    let definition = definition.ok_or_else(|| fault::client("TaskDefinition not found."))?;

    let constraints = input.placement_constraints.unwrap_or_default();
    let strategies = input.placement_strategy.unwrap_or_default();
    spec::check_placement(revision.launch_type, &constraints, &strategies)?;
    spec::check_constraint_count(&view, &scope, &revision.task_definition, &constraints)?;
    let mut task = request::template(&revision, definition, input.overrides)?;
    task.group = request::group(input.group, revision.task_definition.family.as_str())?;
    task.started_by = request::started_by(input.started_by)?;
    task.enable_execute_command = input.enable_execute_command == Some(true);
    task.capacity_providers = launch::share(&revision.capacity_provider_strategy, &[], count);
    task.waiting.placement_constraints.clone_from(&constraints);
    task.waiting.placement_strategy.clone_from(&strategies);
    let target = launch::target(&view, &scope, revision.launch_type, &task.capacity_providers);
    let managed = [("aws:ecs:clusterName", cluster.as_str())];
    let managed = if input.enable_ecs_managed_tags == Some(true) { &managed[..] } else { &[] };
    let inherited = Inherited { task_definition: &definition.tags, service: None, managed };
    task.volume = volumes::template(&revision.volume_configurations, revision.launch_type, deletes_volume, inherited);
    task.tags = request::task_tags(definition, input.propagate_tags.as_ref(), input.tags.as_deref(), managed)?;
    Ok(Launch {
        definition: revision.task_definition.clone(),
        target,
        count,
        constraints: request::constraints(&task.requirements, &constraints)?,
        strategies: request::strategies(&strategies),
        cluster: ClusterKey { scope, cluster },
        task,
        token,
        with: Txn::new(),
    })
}

fn count(asked: Option<i32>) -> Result<usize, Fault> {
    let count = u32::try_from(asked.unwrap_or(1)).ok().filter(|count| (1..=RUN_TASK_COUNT_MAX).contains(count));
    let count = count.and_then(|count| usize::try_from(count).ok());
    count.ok_or_else(|| fault::invalid(format!("count must be between 1 and {RUN_TASK_COUNT_MAX}.")))
}

/// The token with a digest of everything else that was asked.
fn token(input: &RunTaskRequest) -> Result<Option<ClientToken>, Fault> {
    let Some(token) = input.client_token.clone().filter(|token| !token.is_empty()) else { return Ok(None) };
    let allowed = token.bytes().all(|byte| (33..=126).contains(&byte));
    if token.len() > RUN_TASK_CLIENT_TOKEN_LENGTH_MAX || !allowed {
        return Err(fault::invalid(format!(
            "clientToken must have at most {RUN_TASK_CLIENT_TOKEN_LENGTH_MAX} characters in the range 33 to 126."
        )));
    }
    let rest = RunTaskRequest { client_token: None, ..input.clone() };
    // Wire documents have string keys only; writing them cannot fail.
    let text = serde_json::to_vec(&rest).unwrap_or_default();
    Ok(Some(ClientToken { token, request: hex::encode(Sha256::digest(text)) }))
}

/// Why not all tasks were placed.
fn refusals(launched: &Launched, target: &Target) -> Vec<ecs::Failure> {
    match target {
        _ if launched.unplaced == 0 => Vec::new(),
        Target::Fleet => vec![failures::fleet_capacity()],
        _ => launched.refused.iter().map(failures::refused).collect(),
    }
}
