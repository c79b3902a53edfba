//! `UpdateCluster`: what is given replaces what was; what is not given stays.

use gantry_api::{
    Caller, Fault,
    ecs::{Cluster, UpdateClusterRequest, UpdateClusterResponse},
};
use gantry_domain::arn::{Name, Scope};
use gantry_store::Txn;

use crate::{
    Control, Plan,
    clusters::{Include, check_configuration, check_namespace, check_settings, wire},
    control::{active_cluster, cluster_name, scope},
    keys,
    records::{ClusterRecord, encode},
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: UpdateClusterRequest,
) -> Result<UpdateClusterResponse, Fault> {
    let scope = scope(caller);
    let name = cluster_name(&scope, input.cluster.as_deref())?;
    let settings = check_settings(input.settings.as_deref())?;
    check_configuration(input.configuration.as_ref())?;
    let namespace = check_namespace(input.service_connect_defaults.as_ref())?;
    let cluster = change(control, &scope, &name, |record| {
        record.settings.extend(settings.clone());
        if let Some(configuration) = &input.configuration {
            record.configuration = Some(configuration.clone());
        }
        if let Some(namespace) = &namespace {
            record.service_connect_namespace = namespace.clone();
        }
    })
    .await?;
    Ok(UpdateClusterResponse { cluster: Some(cluster) })
}

/// Changes an ACTIVE cluster and answers with it.
pub(super) async fn change(
    control: &Control,
    scope: &Scope,
    name: &Name,
    act: impl Fn(&mut ClusterRecord),
) -> Result<Cluster, Fault> {
    control
        .transact(|view| {
            let (known, row) = active_cluster(view, scope, name)?;
            let mut record = row.record.clone();
            act(&mut record);
            let answer = wire(scope, name, &record, Some(known), Include::CHANGED);
            if record == row.record {
                return Ok(Plan::Done(answer));
            }
            let path = keys::cluster(scope, name.as_str());
            Ok(Plan::Commit(Txn::new().require(&path, row.revision).put(path, encode(&record)), answer))
        })
        .await
}
