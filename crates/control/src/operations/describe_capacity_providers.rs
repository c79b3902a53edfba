//! `DescribeCapacityProviders`: Fargate's two, which every account has, and those that the account made.

use gantry_api::{
    Caller, Fault,
    ecs::{
        CapacityProvider, CapacityProviderField, DescribeCapacityProvidersRequest, DescribeCapacityProvidersResponse,
    },
};
use gantry_domain::{
    arn::{Name, Scope},
    limits::{DESCRIBE_MAX, SMALL_PAGE_SIZE_MAX},
};

use crate::{
    Control, EcsView,
    capacity_providers::{self, BUILT_IN},
    control::{active_cluster, cluster_name, scope},
    failures, fault,
    paging::Listing,
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: DescribeCapacityProvidersRequest,
) -> Result<DescribeCapacityProvidersResponse, Fault> {
    let scope = scope(caller);
    let references = input.capacity_providers.unwrap_or_default();
    if references.len() > DESCRIBE_MAX {
        return Err(fault::describe_too_many("Capacity providers"));
    }
    let question = format!("DescribeCapacityProviders {:?} {references:?}", input.cluster);
    let pages = (SMALL_PAGE_SIZE_MAX, SMALL_PAGE_SIZE_MAX);
    let listing = Listing::new(question, input.next_token.as_deref(), input.max_results, pages)?;
    let view = control.read();
    let visible = visible(&view, &scope, input.cluster.as_deref(), !references.is_empty())?;
    let (mut found, mut failures) = (visible.clone(), Vec::new());
    if !references.is_empty() {
        found.clear();
        for reference in &references {
            let name = scope.capacity_provider(reference).map(Name::into).unwrap_or_else(|_| reference.clone());
            match visible.iter().find(|visible| **visible == name) {
                Some(known) => found.push(known.clone()),
                None if reference.starts_with("arn:") => failures.push(failures::missing(reference.clone())),
                None => failures.push(failures::missing(scope.capacity_provider_arn(&name))),
            }
        }
        found.sort_unstable();
        found.dedup();
    }
    let with_tags = input.include.unwrap_or_default().contains(&CapacityProviderField::Tags);
    let rest = found.into_iter().filter(|name| listing.after().is_none_or(|after| name.as_str() > after));
    let (page, next_token) = listing.page(rest, Clone::clone);
    Ok(DescribeCapacityProvidersResponse {
        capacity_providers: Some(page.iter().map(|name| wire(&view, &scope, name, with_tags)).collect()),
        failures: Some(failures),
        next_token,
    })
}

/// The providers of a cluster when one is named, else all; deleted ones are shown to whoever names them.
fn visible(view: &EcsView, scope: &Scope, cluster: Option<&str>, deleted: bool) -> Result<Vec<String>, Fault> {
    let mut providers = match cluster {
        Some(cluster) => {
            let name = cluster_name(scope, Some(cluster))?;
            active_cluster(view, scope, &name)?.1.capacity_providers.clone()
        }
        None => {
            let own = view.namespace(scope).into_iter().flat_map(|space| space.capacity_providers());
            let own = own.filter(|(_, row)| deleted || row.is_active()).map(|(name, _)| name.to_string());
            BUILT_IN.map(str::to_owned).into_iter().chain(own).collect()
        }
    };
    providers.sort_unstable();
    Ok(providers)
}

fn wire(view: &EcsView, scope: &Scope, name: &str, with_tags: bool) -> CapacityProvider {
    let row = view.namespace(scope).and_then(|space| space.capacity_providers().get(&name.parse().ok()?));
    match row {
        Some(row) => capacity_providers::wire(scope, name, row, with_tags),
        None => capacity_providers::built_in(scope, name),
    }
}
