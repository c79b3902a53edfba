//! `CreateCluster`: makes a cluster, or answers with the one of that name.

use gantry_api::{
    Caller, Fault,
    ecs::{CreateClusterRequest, CreateClusterResponse},
};
use gantry_domain::{
    Timestamp,
    arn::{Name, Scope},
    limits::CLUSTERS_MAX,
};
use gantry_store::Txn;

use crate::{
    Control, EcsView, Plan, account_settings,
    capacity_providers::attach,
    clusters::{
        CONTAINER_INSIGHTS, Include, check_configuration, check_namespace, check_providers, check_settings,
        check_strategy, wire,
    },
    control::scope,
    fault, keys,
    records::{ClusterRecord, encode},
    tags,
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: CreateClusterRequest,
) -> Result<CreateClusterResponse, Fault> {
    let scope = scope(caller);
    let name = input.cluster_name.as_deref().filter(|name| !name.is_empty()).unwrap_or("default");
    let name: Name = name.parse().map_err(|_| fault::cluster_name_invalid(name))?;
    let now = control.now();
    let cluster = control
        .transact(|view| {
            let wanted = wanted(view, &scope, &input, now)?;
            let known = view.cluster(&scope, &name);
            let row = known.and_then(|known| known.row());
            if let Some(row) = row.filter(|row| row.is_active()) {
                check_same(&input, &wanted, row)?;
                return Ok(Plan::Done(wire(&scope, &name, row, known, Include::CHANGED)));
            }
            check_quota(view, &scope)?;
            let mut record = wanted;
            if !record.settings.contains_key(CONTAINER_INSIGHTS) {
                let value = account_settings::effective(view, &scope, &caller.principal_arn, CONTAINER_INSIGHTS);
                record.settings.insert(CONTAINER_INSIGHTS.to_owned(), value);
            }
            let path = keys::cluster(&scope, name.as_str());
            let txn = Txn::new().require(&path, row.map_or(0, |row| row.revision));
            let txn = attach(view, (&scope, &name), &mut record, &[], &control.random, txn)?.put(path, encode(&record));
            Ok(Plan::Commit(txn, wire(&scope, &name, &record, known, Include::CHANGED)))
        })
        .await?;
    Ok(CreateClusterResponse { cluster: Some(cluster) })
}

/// The cluster as the request alone describes it.
fn wanted(view: &EcsView, scope: &Scope, input: &CreateClusterRequest, now: Timestamp) -> Result<ClusterRecord, Fault> {
    check_configuration(input.configuration.as_ref())?;
    let capacity_providers = check_providers(view, scope, input.capacity_providers.as_deref().unwrap_or_default())?;
    let strategy = input.default_capacity_provider_strategy.as_deref().unwrap_or_default();
    Ok(ClusterRecord {
        settings: check_settings(input.settings.as_deref())?,
        configuration: input.configuration.clone(),
        default_capacity_provider_strategy: check_strategy(view, scope, strategy, &capacity_providers)?,
        capacity_providers,
        service_connect_namespace: check_namespace(input.service_connect_defaults.as_ref())?.flatten(),
        tags: tags::parse(input.tags.as_deref())?.into(),
        ..ClusterRecord::new(now)
    })
}

/// Asked again for what is there: every member that is given must be as it is.
fn check_same(input: &CreateClusterRequest, wanted: &ClusterRecord, is: &ClusterRecord) -> Result<(), Fault> {
    let same = wanted.settings.iter().all(|(name, value)| is.settings.get(name) == Some(value))
        && (input.configuration.is_none() || wanted.configuration == is.configuration)
        && (input.capacity_providers.is_none() || wanted.capacity_providers == is.capacity_providers)
        && (input.default_capacity_provider_strategy.is_none()
            || wanted.default_capacity_provider_strategy == is.default_capacity_provider_strategy)
        && (input.service_connect_defaults.is_none()
            || wanted.service_connect_namespace == is.service_connect_namespace);
    if same { Ok(()) } else { Err(fault::cluster_inconsistent()) }
}

fn check_quota(view: &EcsView, scope: &Scope) -> Result<(), Fault> {
    let Some(space) = view.namespace(scope) else { return Ok(()) };
    // Deleted ones do not count, but are only told apart when it is a near thing.
    if space.clusters().len() < CLUSTERS_MAX {
        return Ok(());
    }
    let active = space.clusters().values().filter(|cluster| cluster.active().is_some()).count();
    if active < CLUSTERS_MAX { Ok(()) } else { Err(fault::too_many_clusters()) }
}
