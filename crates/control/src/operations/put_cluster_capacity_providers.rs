//! `PutClusterCapacityProviders`: replaces providers and default strategy together.

use gantry_api::{
    Caller, Fault,
    ecs::{PutClusterCapacityProvidersRequest, PutClusterCapacityProvidersResponse},
};
use gantry_store::Txn;

use crate::{
    Control, Plan,
    capacity_providers::{attach, in_use},
    clusters::{Include, check_providers, check_strategy, wire},
    control::{active_cluster, cluster_name, scope},
    fault, keys,
    records::encode,
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: PutClusterCapacityProvidersRequest,
) -> Result<PutClusterCapacityProvidersResponse, Fault> {
    let scope = scope(caller);
    let name = cluster_name(&scope, input.cluster.as_deref())?;
    let asked = input.capacity_providers.as_deref().unwrap_or_default();
    let strategy = input.default_capacity_provider_strategy.as_deref().unwrap_or_default();
    let cluster = control
        .transact(|view| {
            let (known, row) = active_cluster(view, &scope, &name)?;
            if row.attachments_updating == Some(true) {
                return Err(fault::cluster_busy());
            }
            let providers = check_providers(view, &scope, asked)?;
            let strategy = check_strategy(view, &scope, strategy, &providers)?;
            let mut removed = row.capacity_providers.iter().filter(|provider| !providers.contains(provider));
            if removed.any(|provider| in_use(known, provider)) {
                return Err(fault::capacity_provider_in_use());
            }
            let mut record = row.record.clone();
            record.capacity_providers = providers;
            record.default_capacity_provider_strategy = strategy;
            let path = keys::cluster(&scope, name.as_str());
            let txn = Txn::new().require(&path, row.revision);
            let cluster = (&scope, &name);
            let txn = attach(view, cluster, &mut record, &row.capacity_providers, &control.random, txn)?;
            let include = Include { attachments: true, ..Include::CHANGED };
            let answer = wire(&scope, &name, &record, Some(known), include);
            Ok(Plan::Commit(txn.put(path, encode(&record)), answer))
        })
        .await?;
    Ok(PutClusterCapacityProvidersResponse { cluster: Some(cluster) })
}
