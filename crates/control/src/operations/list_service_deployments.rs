//! `ListServiceDeployments`: newest first.

use gantry_api::{
    Caller, Fault,
    ecs::{ListServiceDeploymentsRequest, ListServiceDeploymentsResponse, ServiceDeploymentBrief},
};
use gantry_domain::limits::PAGE_SIZE_MAX;

use crate::{
    Control, control, fault,
    keys::ServiceKey,
    paging::Listing,
    records::ServiceDeploymentRecord,
    services::{find, history, wire},
};

const PAGE_SIZE_DEFAULT: usize = 20;

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: ListServiceDeploymentsRequest,
) -> Result<ListServiceDeploymentsResponse, Fault> {
    let scope = control::scope(caller);
    let cluster = control::cluster_name(&scope, input.cluster.as_deref())?;
    let key = find::service_key(&scope, &cluster, input.service.as_deref())?;
    let question = format!("ListServiceDeployments {key:?} {:?} {:?}", input.status, input.created_at);
    let sizes = (PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX);
    let listing = Listing::new(question, input.next_token.as_deref(), input.max_results, sizes)?;
    let view = control.read();
    let (cluster_view, _) = control::active_cluster(&view, &scope, &cluster)?;
    find::row(&view, &key).ok_or_else(fault::service_not_found)?;
    let matches = |row: &ServiceDeploymentRecord| {
        let status = input.status.as_ref().is_none_or(|wanted| wanted.is_empty() || wanted.contains(&row.status));
        status && history::was_created(row, input.created_at.as_ref())
    };
    let (page, next_token) = history::newest_first(cluster_view, &key, matches, &listing);
    let briefs = page.iter().map(|(id, row)| brief(&key, id, row)).collect();
    Ok(ListServiceDeploymentsResponse { service_deployments: Some(briefs), next_token })
}

fn brief(key: &ServiceKey, id: &str, row: &ServiceDeploymentRecord) -> ServiceDeploymentBrief {
    ServiceDeploymentBrief {
        service_deployment_arn: Some(key.deployment_arn(id)),
        service_arn: Some(key.arn()),
        cluster_arn: Some(key.scope.cluster_arn(key.cluster.as_str())),
        created_at: Some(wire::timestamp(row.created_at)),
        started_at: Some(wire::timestamp(row.created_at)),
        finished_at: row.finished_at.map(wire::timestamp),
        status: Some(row.status.clone()),
        status_reason: row.status_reason.clone(),
        target_service_revision_arn: row.target_revision.map(|number| wire::revision_arn(key, number)),
    }
}
