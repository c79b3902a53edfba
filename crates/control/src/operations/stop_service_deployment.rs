//! `StopServiceDeployment`: a deployment that is not done is given up, and the last one that was comes back.

use gantry_api::{
    Caller, Fault,
    ecs::{self, StopServiceDeploymentRequest, StopServiceDeploymentResponse},
};
use gantry_domain::{
    Timestamp,
    arn::{Arn, Resource},
    deployment::RolloutState,
    reason::{RolloutReason, ServiceEvent},
};
use gantry_store::Txn;

use crate::{
    Control, Random, control,
    control::Plan,
    fault,
    keys::ServiceKey,
    records::encode,
    services::{
        act,
        deploy::{self, NewIds},
        find,
    },
    view::EcsView,
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: StopServiceDeploymentRequest,
) -> Result<StopServiceDeploymentResponse, Fault> {
    let scope = control::scope(caller);
    let text = input.service_deployment_arn.unwrap_or_default();
    let arn: Arn = text.parse().map_err(|_| fault::invalid("The ARN provided is invalid."))?;
    scope.same_place(&arn.scope).map_err(|error| fault::elsewhere(&error))?;
    let Resource::ServiceDeployment { cluster, service, id } = arn.resource else {
        return Err(fault::invalid("The ARN provided is invalid."));
    };
    if input.stop_type == Some(ecs::StopServiceDeploymentStopType::Abort) {
        return Err(fault::unsupported("stopType 'ABORT'"));
    }
    let key = ServiceKey { scope, cluster, service };
    let (ids, now) = (deploy::new_ids(&control.random), control.now());
    control.transact(|view| plan(view, &key, &id, (&ids, &control.random), now)).await?;
    Ok(StopServiceDeploymentResponse { service_deployment_arn: Some(text) })
}

fn plan(
    view: &EcsView,
    key: &ServiceKey,
    id: &str,
    (ids, random): (&NewIds, &Random),
    now: Timestamp,
) -> Result<Plan<()>, Fault> {
    use ecs::ServiceDeploymentStatus as Status;
    let deployments = view.cluster(&key.scope, &key.cluster).map(|cluster| cluster.service_deployments());
    let history = deployments.and_then(|rows| rows.get(&(key.service.clone(), id.to_owned())));
    let history = history.ok_or_else(fault::service_deployment_not_found)?;
    match history.status {
        Status::Pending | Status::InProgress => {}
        // It is on its way back already.
        Status::StopRequested | Status::RollbackRequested | Status::RollbackInProgress => return Ok(Plan::Done(())),
        _ => return Err(fault::service_deployment_finished()),
    }
    let row = find::active(view, key)?;
    let mut record = row.record.clone();
    let primary = record.deployments.first_mut().filter(|primary| primary.service_deployment == id);
    let primary = primary.ok_or_else(fault::service_deployment_finished)?;
    let target = record.completed_revision.filter(|target| *target != primary.revision);
    let target = target.ok_or_else(fault::nothing_to_roll_back_to)?;
    primary.rollout = RolloutState::Failed;
    primary.rollout_reason = RolloutReason::StoppedByUser { to: ids.deployment.to_string() }.message("");
    primary.updated_at = now;
    let stopped = primary.clone();
    let how = deploy::End::Failed { reason: stopped.rollout_reason.clone(), rollback_to: Some(target) };
    let txn = Txn::new().require(key.path(), row.revision);
    let txn = deploy::end(txn, view, key, &stopped, how, now);
    let txn = deploy::begin_at(txn, view, key, &mut record, target, ids, now);
    let event = ServiceEvent::RollingBack { deployment: ids.deployment.to_string() };
    act::tell(&mut record, key.service.as_str(), &event, random, now);
    Ok(Plan::Commit(txn.put(key.path(), encode(&record)), ()))
}
