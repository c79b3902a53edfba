//! `ListClusters`: the ARNs of the ACTIVE ones.

use std::ops::Bound;

use gantry_api::{
    Caller, Fault,
    ecs::{ListClustersRequest, ListClustersResponse},
};
use gantry_domain::{arn::Name, limits::PAGE_SIZE_MAX};

use crate::{Control, control::scope, paging::Listing};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: ListClustersRequest,
) -> Result<ListClustersResponse, Fault> {
    let scope = scope(caller);
    let pages = (PAGE_SIZE_MAX, PAGE_SIZE_MAX);
    let listing = Listing::new("ListClusters".into(), input.next_token.as_deref(), input.max_results, pages)?;
    let start = listing.after().and_then(|after| after.parse::<Name>().ok()).map_or(Bound::Unbounded, Bound::Excluded);
    let view = control.read();
    let all =
        view.namespace(&scope).into_iter().flat_map(|space| space.clusters().range((start.clone(), Bound::Unbounded)));
    let active = all.filter(|(_, cluster)| cluster.active().is_some()).map(|(name, _)| name);
    let (names, next_token) = listing.page(active, |name| name.to_string());
    let cluster_arns = names.into_iter().map(|name| scope.cluster_arn(name.as_str())).collect();
    Ok(ListClustersResponse { cluster_arns: Some(cluster_arns), next_token })
}
