//! `DeleteCluster`: an empty cluster becomes INACTIVE and is remembered for a while.

use gantry_api::{
    Caller, Fault,
    ecs::{DeleteClusterRequest, DeleteClusterResponse},
};
use gantry_domain::arn::{Name, Scope};
use gantry_store::Txn;

use crate::{
    Control, Plan,
    clusters::{Include, wire},
    control::{active_cluster, cluster_name, scope},
    fault,
    keys::{self, ServiceKind},
    records::{ClusterRecord, ClusterStatus, encode},
    view::ClusterView,
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: DeleteClusterRequest,
) -> Result<DeleteClusterResponse, Fault> {
    let scope = scope(caller);
    let name = cluster_name(&scope, input.cluster.as_deref())?;
    let now = control.now();
    let (before, cluster) = control
        .transact(|view| {
            let (known, row) = active_cluster(view, &scope, &name)?;
            check_empty(known)?;
            if row.attachments_updating == Some(true) {
                return Err(fault::cluster_busy());
            }
            let mut record = row.record.clone();
            record.status = ClusterStatus::Inactive;
            record.deleted_at = Some(now);
            record.capacity_providers.clear();
            record.attachments.clear();
            record.default_capacity_provider_strategy.clear();
            let path = keys::cluster(&scope, name.as_str());
            let answer = wire(&scope, &name, &record, Some(known), Include::CHANGED);
            let txn = Txn::new().require(&path, row.revision).put(path, encode(&record));
            Ok(Plan::Commit(txn, (row.record.clone(), answer)))
        })
        .await?;
    give_back_unless_empty(control, &scope, &name, &before).await?;
    Ok(DeleteClusterResponse { cluster: Some(cluster) })
}

/// What was committed just before the cluster became INACTIVE was not in the picture that found it empty. Now it is, and
/// nothing more can come: whoever puts something into a cluster compares the cluster's row.
async fn give_back_unless_empty(
    control: &Control,
    scope: &Scope,
    name: &Name,
    before: &ClusterRecord,
) -> Result<(), Fault> {
    control
        .transact(|view| {
            let Some(cluster) = view.cluster(scope, name) else { return Ok(Plan::Done(Ok(()))) };
            let inactive = cluster.row().filter(|row| !row.is_active());
            match (check_empty(cluster), inactive) {
                (Err(fault), Some(row)) => {
                    let path = keys::cluster(scope, name.as_str());
                    Ok(Plan::Commit(Txn::new().require(&path, row.revision).put(path, encode(before)), Err(fault)))
                }
                _ => Ok(Plan::Done(Ok(()))),
            }
        })
        .await?
}

fn check_empty(cluster: &ClusterView) -> Result<(), Fault> {
    if cluster.registered_instances() > 0 {
        return Err(fault::cluster_has_instances());
    }
    if ServiceKind::ALL.into_iter().any(|kind| cluster.kept(kind).active().next().is_some()) {
        return Err(fault::cluster_has_services());
    }
    if cluster.tasks().all().alive().next().is_some() {
        return Err(fault::cluster_has_tasks());
    }
    Ok(())
}
