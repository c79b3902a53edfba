//! Begins deployments: what changes in the service's row, in its revisions and in its service deployments.

use base64::Engine;
use gantry_domain::{Timestamp, deployment::DeploymentId};
use gantry_store::Txn;

use super::{
    alarms,
    history::{self, End},
    rollout, wire,
};
use crate::{
    Random, keys,
    keys::{ServiceKey, ServiceKind},
    records::{DeploymentRecord, ServiceRecord, ServiceRevisionRecord, encode},
    view::EcsView,
};

/// Random numbers for one new deployment. Drawn before planning, so that planning again gives the same names.
#[derive(Debug, Clone)]
pub(crate) struct NewIds {
    /// Names the deployment and, unless it goes back to an older one, its service revision.
    pub(crate) deployment: DeploymentId,
    /// Names the service deployment: 21 characters.
    pub(crate) service_deployment: String,
}

/// Draws the names of a new deployment.
pub(crate) fn new_ids(random: &Random) -> NewIds {
    let mut service_deployment = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random.id());
    service_deployment.truncate(21);
    NewIds { deployment: DeploymentId::from_random(random.bits()), service_deployment }
}

/// Makes a deployment of `revision` the primary one. The one before goes on only until its tasks are replaced.
pub(crate) fn begin(
    txn: Txn,
    view: &EcsView,
    key: &ServiceKey,
    record: &mut ServiceRecord,
    revision: &ServiceRevisionRecord,
    ids: &NewIds,
    now: Timestamp,
) -> Txn {
    let number = ids.deployment.number();
    record.launch_type = revision.launch_type;
    let path = key.revision_path(&wire::revision_id(number));
    let txn = txn.put(path, encode(revision));
    let txn = history::end_all(txn, view, key, record, &End::Superseded, now);
    let txn = history::begin(txn, view, key, record, (number, ids), now);
    let mut deployment = DeploymentRecord::new(ids.deployment, number, ids.service_deployment.clone(), now);
    // What fires before anything has happened says nothing about this deployment.
    deployment.alarms_ignored = !alarms::firing(view, &key.scope, &record.deployment_configuration).is_empty();
    record.rollout = rollout::begin(record, &deployment, now);
    insert(record, deployment);
    replan_placements(txn, view, key)
}

/// What is being placed in the cluster at this moment is planned again, if it may have to wait for this daemon: every
/// placement rests on its cluster's row.
pub(crate) fn replan_placements(txn: Txn, view: &EcsView, key: &ServiceKey) -> Txn {
    let cluster = view.cluster(&key.scope, &key.cluster).and_then(|cluster| cluster.row());
    match cluster.filter(|_| key.kind == ServiceKind::Daemon) {
        Some(row) => {
            let path = keys::cluster(&key.scope, key.cluster.as_str());
            txn.require(path.clone(), row.revision).put(path, encode(&row.record))
        }
        None => txn,
    }
}

/// Brings an older revision back, as a part of the deployment that failed. `id` names the deployment of the revision
/// that is still there, or a new one.
pub(crate) fn begin_rollback(
    view: &EcsView,
    key: &ServiceKey,
    record: &mut ServiceRecord,
    failed: &DeploymentRecord,
    (revision, id): (u64, DeploymentId),
    now: Timestamp,
) {
    if let Some(revision) = wire::revision(view, key, revision) {
        record.launch_type = revision.launch_type;
    }
    let known = record.deployments.iter().position(|deployment| deployment.id == id);
    let known = known.map(|index| record.deployments.remove(index));
    let service_deployment = failed.service_deployment.clone();
    let deployment = known.unwrap_or_else(|| DeploymentRecord::new(id, revision, String::new(), now)).back(now);
    insert(record, DeploymentRecord { service_deployment, ..deployment });
}

fn insert(record: &mut ServiceRecord, deployment: DeploymentRecord) {
    record.deployments.insert(0, deployment);
    record.steady_since = None;
    record.placement_failed = false;
    record.complaint = None;
}
