//! `ListDaemons`: those of one cluster, by name.

use gantry_api::{
    Caller, Fault,
    ecs::{ListDaemonsRequest, ListDaemonsResponse},
};
use gantry_domain::{arn::Name, limits::PAGE_SIZE_MAX};

use crate::{
    Control, control,
    daemons::wire,
    fault,
    keys::{ServiceKey, ServiceKind},
    paging::Listing,
    records::{ServiceRecord, ServiceStatus},
    services::wire as service_wire,
    view::EcsView,
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: ListDaemonsRequest,
) -> Result<ListDaemonsResponse, Fault> {
    let scope = control::scope(caller);
    let cluster = control::cluster_name(&scope, input.cluster_arn.as_deref())?;
    let mut providers = Vec::new();
    for text in input.capacity_provider_arns.as_deref().unwrap_or_default() {
        providers.push(scope.capacity_provider(text).map_err(|_| fault::capacity_provider_not_found())?);
    }
    let question = format!("ListDaemons {cluster} {providers:?}");
    let sizes = (PAGE_SIZE_MAX, PAGE_SIZE_MAX);
    let listing = Listing::new(question, input.next_token.as_deref(), input.max_results, sizes)?;
    let view = control.read();
    let (cluster_view, _) = control::active_cluster(&view, &scope, &cluster)?;
    let key = |name: &Name| ServiceKey::daemon(scope.clone(), cluster.clone(), name.clone());
    let rows = cluster_view.kept(ServiceKind::Daemon).rows().iter().filter(|(name, row)| {
        let rest = listing.after().is_none_or(|after| name.as_str() > after);
        let wanted = || providers.is_empty() || is_on(&view, &key(name), row, &providers);
        rest && row.status != ServiceStatus::Inactive && wanted()
    });
    let (page, next_token) = listing.page(rows, |(name, _)| name.to_string());
    let summaries = page.iter().map(|(name, row)| wire::summary(&key(name), row)).collect();
    Ok(ListDaemonsResponse { daemon_summaries_list: Some(summaries), next_token })
}

/// Whether it is for one of these providers.
fn is_on(view: &EcsView, key: &ServiceKey, record: &ServiceRecord, providers: &[Name]) -> bool {
    let revision = record.primary().and_then(|primary| service_wire::revision(view, key, primary.revision));
    let own = revision.and_then(|revision| revision.daemon.as_ref()).map(|daemon| daemon.capacity_providers.as_slice());
    own.unwrap_or_default().iter().any(|own| providers.iter().any(|provider| provider.as_str() == own))
}
