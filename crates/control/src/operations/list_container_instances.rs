//! `ListContainerInstances`.

use std::collections::BTreeMap;

use gantry_api::{
    Caller, Fault,
    ecs::{ContainerInstanceStatus, ListContainerInstancesRequest, ListContainerInstancesResponse},
};
use gantry_domain::{limits::PAGE_SIZE_MAX, query::Expression};

use crate::{
    Control,
    control::{active_cluster, cluster_name, scope},
    fault,
    launch::instance,
    paging::Listing,
    records::InstanceStatus,
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: ListContainerInstancesRequest,
) -> Result<ListContainerInstancesResponse, Fault> {
    let scope = scope(caller);
    let cluster = cluster_name(&scope, input.cluster.as_deref())?;
    let filter = input.filter.as_deref().filter(|text| !text.is_empty()).map(parse).transpose()?;
    let statuses = statuses(input.status.as_ref())?;
    let status = input.status.as_ref().map_or("", ContainerInstanceStatus::as_str);
    let question = format!("ListContainerInstances {cluster} {status} {}", input.filter.as_deref().unwrap_or_default());
    let sizes = (PAGE_SIZE_MAX, PAGE_SIZE_MAX);
    let listing = Listing::new(question, input.next_token.as_deref(), input.max_results, sizes)?;

    let view = control.read();
    active_cluster(&view, &scope, &cluster)?;
    let nothing_taken = BTreeMap::new();
    let hosts = view.hosts_of_cluster(&scope, &cluster).filter(|(key, host)| {
        let Some(row) = host.row.as_deref().filter(|row| statuses.contains(&row.status)) else { return false };
        filter.as_ref().is_none_or(|filter| filter.matches(&instance((key, host, row), &nothing_taken)))
    });
    let rest = hosts.map(|(key, _)| key).filter(|key| listing.after().is_none_or(|after| *key.id.to_string() > *after));
    let (page, next_token) = listing.page(rest, |key| key.id.to_string());
    Ok(ListContainerInstancesResponse {
        container_instance_arns: Some(page.iter().map(|key| key.arn()).collect()),
        next_token,
    })
}

fn parse(filter: &str) -> Result<Expression, Fault> {
    filter.parse().map_err(|error| fault::expression(filter, &error))
}

/// Without a status everything that is registered; the states of instances that are still being made list nothing.
fn statuses(asked: Option<&ContainerInstanceStatus>) -> Result<&'static [InstanceStatus], Fault> {
    match asked {
        None => Ok(&[InstanceStatus::Active, InstanceStatus::Draining]),
        Some(ContainerInstanceStatus::Active) => Ok(&[InstanceStatus::Active]),
        Some(ContainerInstanceStatus::Draining) => Ok(&[InstanceStatus::Draining]),
        Some(
            ContainerInstanceStatus::Registering
            | ContainerInstanceStatus::Deregistering
            | ContainerInstanceStatus::RegistrationFailed,
        ) => Ok(&[]),
        Some(ContainerInstanceStatus::Unknown(_)) => Err(fault::invalid(
            "Container instance status should be one of [ACTIVE, DRAINING, REGISTERING, DEREGISTERING, \
             REGISTRATION_FAILED]",
        )),
    }
}
