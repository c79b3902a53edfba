//! `DeleteService`: everything is asked to stop; the reconciler does it and then makes the service INACTIVE.

use gantry_api::{
    Caller, Fault,
    ecs::{DeleteServiceRequest, DeleteServiceResponse},
};
use gantry_domain::Timestamp;
use gantry_store::Txn;

use crate::{
    Control, control,
    control::Plan,
    fault,
    keys::ServiceKey,
    records::{ServiceStatus, encode},
    services::{
        find,
        history::{self, End},
        wire,
    },
    view::EcsView,
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: DeleteServiceRequest,
) -> Result<DeleteServiceResponse, Fault> {
    let scope = control::scope(caller);
    let cluster = control::cluster_name(&scope, input.cluster.as_deref())?;
    let key = find::service_key(&scope, &cluster, input.service.as_deref())?;
    let force = input.force == Some(true);
    let now = control.now();
    control.transact(|view| plan(view, &key, force, now)).await?;
    let view = control.read();
    let row = find::row(&view, &key).ok_or_else(fault::service_not_found)?;
    Ok(DeleteServiceResponse { service: Some(wire::service(&view, &key, row, true)) })
}

fn plan(view: &EcsView, key: &ServiceKey, force: bool, now: Timestamp) -> Result<Plan<()>, Fault> {
    control::active_cluster(view, &key.scope, &key.cluster)?;
    let row = find::row(view, key).ok_or_else(fault::service_not_found)?;
    match row.status {
        ServiceStatus::Active => {}
        // Asked again while the tasks are still stopping.
        ServiceStatus::Draining => return Ok(Plan::Done(())),
        ServiceStatus::Inactive => return Err(fault::service_not_active()),
    }
    if row.desired_count > 0 && !force {
        return Err(fault::invalid("The service cannot be stopped while it is scaled above 0."));
    }
    let mut record = row.record.clone();
    record.status = ServiceStatus::Draining;
    record.desired_count = 0;
    record.tags.clear();
    record.steady_since = None;
    record.placement_failed = false;
    record.rollout = None;
    let mut txn = Txn::new().require(key.path(), row.revision);
    txn = history::end_all(txn, view, key, row, &End::Deleted, now);
    Ok(Plan::Commit(txn.put(key.path(), encode(&record)), ()))
}
