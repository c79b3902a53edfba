//! `UpdateDaemon`: always begins a deployment.

use gantry_api::{
    Caller, Fault,
    ecs::{UpdateDaemonRequest, UpdateDaemonResponse},
};
use gantry_domain::Timestamp;
use gantry_store::Txn;

use crate::{
    Control, control,
    control::Plan,
    daemons::{find, spec, wire},
    keys::{self, ServiceKey},
    records::{DaemonRecord, encode},
    services::{
        deploy::{self, NewIds},
        wire as service_wire,
    },
    view::EcsView,
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: UpdateDaemonRequest,
) -> Result<UpdateDaemonResponse, Fault> {
    let key = find::key(&control::scope(caller), input.daemon_arn.as_deref())?;
    let (ids, now) = (deploy::new_ids(&control.random), control.now());
    control.transact(|view| plan(view, &key, &input, &ids, now)).await?;
    let view = control.read();
    let row = find::present(&view, &key)?;
    Ok(UpdateDaemonResponse {
        daemon_arn: Some(key.arn()),
        status: Some(wire::status(row)),
        created_at: wire::created_at(row),
        updated_at: wire::updated_at(row),
        deployment_arn: wire::newest_deployment(&key, row),
    })
}

fn plan(
    view: &EcsView,
    key: &ServiceKey,
    input: &UpdateDaemonRequest,
    ids: &NewIds,
    now: Timestamp,
) -> Result<Plan<()>, Fault> {
    let (_, cluster) = control::active_cluster(view, &key.scope, &key.cluster)?;
    let row = find::active(view, key)?;
    let mut record = row.record.clone();
    let current = record.primary().and_then(|primary| service_wire::revision(view, key, primary.revision));
    let asked = spec::Asked {
        task_definition: input.daemon_task_definition_arn.clone(),
        capacity_providers: input.capacity_provider_arns.clone().unwrap_or_default(),
        propagate_tags: input.propagate_tags.clone(),
        enable_ecs_managed_tags: input.enable_ecs_managed_tags,
        enable_execute_command: input.enable_execute_command,
        critical: input.critical,
    };
    let before = current.and_then(|current| current.daemon.as_ref());
    let revision = spec::revision(view, &key.scope, cluster, &asked, before, now)?;
    let drain = record.daemon.as_ref().map_or(spec::DRAIN_PERCENT_DEFAULT, |daemon| daemon.drain_percent);
    let before = Some((&record.deployment_configuration, drain));
    let (configuration, drain_percent) = spec::deployment(input.deployment_configuration.as_ref(), before)?;
    record.deployment_configuration = configuration;
    record.daemon = Some(DaemonRecord { drain_percent, updated_at: now, deletion: None });
    let txn = Txn::new()
        .require(key.path(), row.revision)
        // Its capacity providers must still be attached.
        .require(keys::cluster(&key.scope, key.cluster.as_str()), cluster.revision)
        .require_exists(keys::task_definition(&key.scope, key.kind, &revision.task_definition));
    let txn = deploy::begin(txn, view, key, &mut record, &revision, ids, now);
    Ok(Plan::Commit(txn.put(key.path(), encode(&record)), ()))
}
