//! `DescribeCapacityProviders`. There are Fargate's two, which every account has.

use gantry_api::{
    Caller, Fault,
    ecs::{
        CapacityProvider, CapacityProviderStatus, CapacityProviderType, DescribeCapacityProvidersRequest,
        DescribeCapacityProvidersResponse,
    },
};
use gantry_domain::{
    arn::{Name, Scope},
    limits::{DESCRIBE_MAX, SMALL_PAGE_SIZE_MAX},
};

use crate::{
    Control,
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
    let visible = visible(control, &scope, input.cluster.as_deref())?;
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
    let rest = found.into_iter().filter(|name| listing.after().is_none_or(|after| name.as_str() > after));
    let (page, next_token) = listing.page(rest, Clone::clone);
    Ok(DescribeCapacityProvidersResponse {
        capacity_providers: Some(page.iter().map(|name| wire(&scope, name)).collect()),
        failures: Some(failures),
        next_token,
    })
}

/// The providers of a cluster when one is named, else all.
fn visible(control: &Control, scope: &Scope, cluster: Option<&str>) -> Result<Vec<String>, Fault> {
    let Some(cluster) = cluster else { return Ok(vec!["FARGATE".to_owned(), "FARGATE_SPOT".to_owned()]) };
    let name = cluster_name(scope, Some(cluster))?;
    let view = control.read();
    let (_, row) = active_cluster(&view, scope, &name)?;
    let mut providers = row.capacity_providers.clone();
    providers.sort_unstable();
    Ok(providers)
}

fn wire(scope: &Scope, name: &str) -> CapacityProvider {
    let spot = name == "FARGATE_SPOT";
    CapacityProvider {
        capacity_provider_arn: Some(scope.capacity_provider_arn(name)),
        name: Some(name.to_owned()),
        status: Some(CapacityProviderStatus::Active),
        r#type: Some(if spot { CapacityProviderType::FargateSpot } else { CapacityProviderType::Fargate }),
        tags: Some(Vec::new()),
        ..CapacityProvider::default()
    }
}
