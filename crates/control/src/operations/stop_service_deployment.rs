//! `StopServiceDeployment`: says that a deployment that is not done is to be given up. The reconciler does it.

use gantry_api::{
    Caller, Fault,
    ecs::{self, StopServiceDeploymentRequest, StopServiceDeploymentResponse},
};
use gantry_domain::{Timestamp, rollout::Stage};
use gantry_store::Txn;

use crate::{
    Control, control,
    control::Plan,
    fault,
    keys::ServiceKey,
    records::{ServiceRecord, encode},
    services::find,
    view::EcsView,
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: StopServiceDeploymentRequest,
) -> Result<StopServiceDeploymentResponse, Fault> {
    let text = input.service_deployment_arn.unwrap_or_default();
    let (key, id) = find::service_deployment(&control::scope(caller), &text)?;
    let kind = input.stop_type.unwrap_or(ecs::StopServiceDeploymentStopType::Rollback);
    let now = control.now();
    control.transact(|view| plan(view, &key, &id, &kind, now)).await?;
    Ok(StopServiceDeploymentResponse { service_deployment_arn: Some(text) })
}

fn plan(
    view: &EcsView,
    key: &ServiceKey,
    id: &str,
    kind: &ecs::StopServiceDeploymentStopType,
    now: Timestamp,
) -> Result<Plan<()>, Fault> {
    use ecs::ServiceDeploymentStatus as Status;
    let mut history = find::history(view, key, id)?.record.clone();
    match history.status {
        Status::Pending | Status::InProgress => {}
        // It is on its way back already.
        Status::StopRequested | Status::RollbackRequested | Status::RollbackInProgress => return Ok(Plan::Done(())),
        _ => return Err(fault::service_deployment_finished()),
    }
    let row = find::active(view, key)?;
    let mut record = row.record.clone();
    let rollback = *kind != ecs::StopServiceDeploymentStopType::Abort;
    check(&record, id, rollback)?;
    let primary = record.deployments.first_mut().ok_or_else(fault::service_deployment_finished)?;
    primary.stop = Some(kind.clone());
    primary.updated_at = now;
    history.status = if rollback { Status::RollbackRequested } else { Status::StopRequested };
    history.updated_at = now;
    let txn = Txn::new().require(key.path(), row.revision).put(key.path(), encode(&record));
    Ok(Plan::Commit(txn.put(key.deployment_path(id), encode(&history)), ()))
}

/// It must be the one under way, not be cleaning up after its success, and for a rollback have something to go back to.
fn check(record: &ServiceRecord, id: &str, rollback: bool) -> Result<(), Fault> {
    let primary = record.primary().filter(|primary| primary.service_deployment == id);
    let primary = primary.ok_or_else(fault::service_deployment_finished)?;
    let older = match &record.rollout {
        Some(rollout) if rollout.stage == Stage::CleanUp => return Err(fault::service_deployment_finished()),
        Some(_) => record.deployments.len() > 1,
        None => record.completed_revision.is_some_and(|revision| revision != primary.revision),
    };
    if rollback && !older {
        return Err(fault::nothing_to_roll_back_to());
    }
    Ok(())
}
