//! `PutClusterCapacityProviders`: replaces providers and default strategy together.

use gantry_api::{
    Caller, Fault,
    ecs::{PutClusterCapacityProvidersRequest, PutClusterCapacityProvidersResponse},
};
use gantry_store::Txn;

use crate::{
    Control, Plan,
    clusters::{Include, check_providers, check_strategy, wire},
    control::{active_cluster, cluster_name, scope},
    fault, keys,
    records::{ServiceStatus, encode},
    view::ClusterView,
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: PutClusterCapacityProvidersRequest,
) -> Result<PutClusterCapacityProvidersResponse, Fault> {
    let scope = scope(caller);
    let name = cluster_name(&scope, input.cluster.as_deref())?;
    let providers = check_providers(&scope, input.capacity_providers.as_deref().unwrap_or_default())?;
    let strategy = input.default_capacity_provider_strategy.as_deref().unwrap_or_default();
    let strategy = check_strategy(&scope, strategy, &providers)?;
    let cluster = control
        .transact(|view| {
            let (known, row) = active_cluster(view, &scope, &name)?;
            let mut removed = row.capacity_providers.iter().filter(|provider| !providers.contains(provider));
            if removed.any(|provider| in_use(known, provider)) {
                return Err(fault::capacity_provider_in_use());
            }
            let mut record = row.record.clone();
            record.capacity_providers = providers.clone();
            record.default_capacity_provider_strategy = strategy.clone();
            let path = keys::cluster(&scope, name.as_str());
            let answer = wire(&scope, &name, &record, Some(known), Include::CHANGED);
            Ok(Plan::Commit(Txn::new().require(&path, row.revision).put(path, encode(&record)), answer))
        })
        .await?;
    Ok(PutClusterCapacityProvidersResponse { cluster: Some(cluster) })
}

/// Whether a task that is not STOPPED or a service that is not gone goes by this provider.
fn in_use(cluster: &ClusterView, provider: &str) -> bool {
    let tasks = cluster.tasks();
    let mut alive = tasks.all().alive().filter_map(|id| tasks.get(id));
    if alive.any(|task| task.capacity_provider.as_deref() == Some(provider)) {
        return true;
    }
    cluster.service_revisions().iter().any(|((service, number), revision)| {
        let current = cluster.services().get(service).is_some_and(|record| {
            let number = number.parse().ok();
            record.status != ServiceStatus::Inactive
                && record.deployments.iter().any(|deployment| Some(deployment.revision) == number)
        });
        let named =
            |item: &gantry_api::ecs::CapacityProviderStrategyItem| item.capacity_provider.as_deref() == Some(provider);
        current && revision.capacity_provider_strategy.iter().any(named)
    })
}
