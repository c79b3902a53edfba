//! `ListServices`.

use std::ops::Bound;

use gantry_api::{
    Caller, Fault,
    ecs::{LaunchType, ListServicesRequest, ListServicesResponse, ResourceManagementType},
};
use gantry_domain::{
    arn::Name,
    limits::{PAGE_SIZE_MAX, SERVICES_PAGE_SIZE_DEFAULT},
    paging::Pager,
};

use crate::{
    Control, control, fault,
    records::{ServiceRecord, ServiceStatus},
    services::wire,
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: ListServicesRequest,
) -> Result<ListServicesResponse, Fault> {
    let scope = control::scope(caller);
    let cluster = control::cluster_name(&scope, input.cluster.as_deref())?;
    let max = page_size(input.max_results)?;
    let question = format!(
        "ListServices {scope:?} {cluster} {:?} {:?} {:?}",
        input.launch_type, input.scheduling_strategy, input.resource_management_type
    );
    let pager = Pager::new(&question, max);
    let after = pager.after(input.next_token.as_deref()).map_err(fault::bad_token)?;
    // A key of ours that no longer parses cannot come back in a token of ours.
    let after = after.map(|name| name.parse::<Name>()).transpose().map_err(|_| fault::invalid("Invalid token."))?;

    let view = control.read();
    let (cluster_view, _) = control::active_cluster(&view, &scope, &cluster)?;
    let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
    let services = cluster_view.services().range::<Name, _>((from, Bound::Unbounded));
    let matching = services.filter(|(_, row)| matches(row, &input)).map(|(name, _)| name);
    let page = pager.page(matching, |name| name.to_string());
    let arns = page.items.iter().map(|name| scope.service_arn(cluster.as_str(), name.as_str())).collect();
    Ok(ListServicesResponse { service_arns: Some(arns), next_token: page.next_token })
}

fn page_size(max_results: Option<i32>) -> Result<usize, Fault> {
    match max_results {
        None => Ok(SERVICES_PAGE_SIZE_DEFAULT),
        Some(max) => usize::try_from(max)
            .ok()
            .filter(|max| (1..=PAGE_SIZE_MAX).contains(max))
            .ok_or_else(|| fault::invalid(format!("maxResults must be between 1 and {PAGE_SIZE_MAX}."))),
    }
}

/// DRAINING and INACTIVE services can be described but are not listed.
fn matches(row: &ServiceRecord, input: &ListServicesRequest) -> bool {
    let launch = |wanted: &LaunchType| *wanted == row.launch_type.to_wire();
    row.status == ServiceStatus::Active
        && input.launch_type.as_ref().is_none_or(launch)
        && input.scheduling_strategy.as_ref().is_none_or(|wanted| *wanted == wire::scheduling(row.scheduling))
        && input.resource_management_type.as_ref().is_none_or(|wanted| *wanted == ResourceManagementType::Customer)
}
