//! `DeleteDaemon`: everything is asked to stop; the reconciler of services does it.

use gantry_api::{
    Caller, Fault,
    ecs::{DeleteDaemonRequest, DeleteDaemonResponse},
};
use gantry_domain::Timestamp;
use gantry_store::Txn;

use crate::{
    Control, control,
    control::Plan,
    daemons::{find, wire},
    keys::ServiceKey,
    records::{ServiceStatus, encode},
    services::{
        deploy::{self, NewIds},
        history::{self, End},
    },
    view::EcsView,
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: DeleteDaemonRequest,
) -> Result<DeleteDaemonResponse, Fault> {
    let key = find::key(&control::scope(caller), input.daemon_arn.as_deref())?;
    let (ids, now) = (deploy::new_ids(&control.random), control.now());
    let record = control.transact(|view| plan(view, &key, &ids, now)).await?;
    Ok(DeleteDaemonResponse {
        daemon_arn: Some(key.arn()),
        status: Some(wire::status(&record)),
        created_at: wire::created_at(&record),
        updated_at: wire::updated_at(&record),
        deployment_arn: wire::newest_deployment(&key, &record),
    })
}

fn plan(
    view: &EcsView,
    key: &ServiceKey,
    ids: &NewIds,
    now: Timestamp,
) -> Result<Plan<crate::records::ServiceRecord>, Fault> {
    let row = find::active(view, key)?;
    let mut record = row.record.clone();
    let txn = history::end_all(Txn::new().require(key.path(), row.revision), view, key, row, &End::Deleted, now);
    let txn = history::begin_deletion(txn, key, row, &ids.service_deployment, now);
    record.status = ServiceStatus::Draining;
    record.desired_count = 0;
    record.tags.clear();
    record.steady_since = None;
    record.placement_failed = false;
    if let Some(daemon) = &mut record.daemon {
        daemon.updated_at = now;
        daemon.deletion = Some(ids.service_deployment.clone());
    }
    Ok(Plan::Commit(txn.put(key.path(), encode(&record)), record))
}
