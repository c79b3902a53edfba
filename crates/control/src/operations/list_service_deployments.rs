//! `ListServiceDeployments`: newest first.

use gantry_api::{
    Caller, Fault,
    ecs::{ListServiceDeploymentsRequest, ListServiceDeploymentsResponse, ServiceDeploymentBrief},
};
use gantry_domain::{limits::PAGE_SIZE_MAX, paging::Pager};

use crate::{
    Control, control, fault,
    keys::ServiceKey,
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
    let max = match input.max_results {
        None => PAGE_SIZE_DEFAULT,
        Some(max) => usize::try_from(max)
            .ok()
            .filter(|max| (1..=PAGE_SIZE_MAX).contains(max))
            .ok_or_else(|| fault::invalid(format!("maxResults must be between 1 and {PAGE_SIZE_MAX}.")))?,
    };
    let pager = Pager::new(&question, max);
    let after = pager.after(input.next_token.as_deref()).map_err(fault::bad_token)?;

    let view = control.read();
    let (cluster_view, _) = control::active_cluster(&view, &scope, &cluster)?;
    find::row(&view, &key).ok_or_else(fault::service_not_found)?;
    let rows = history::of_service(cluster_view.service_deployments(), &key.service);
    let mut matching: Vec<_> = rows.filter(|(_, row)| matches(row, &input)).collect();
    matching.sort_by_key(|(id, row)| order(id, row));
    let rest = matching.into_iter().filter(|(id, row)| after.as_ref().is_none_or(|after| order(id, row) > *after));
    let page = pager.page(rest, |(id, row)| order(id, row));
    let briefs = page.items.iter().map(|(id, row)| brief(&key, id, row)).collect();
    Ok(ListServiceDeploymentsResponse { service_deployments: Some(briefs), next_token: page.next_token })
}

/// Sorts newest first.
fn order(id: &str, row: &ServiceDeploymentRecord) -> String {
    format!("{:019} {id}", i64::MAX - row.created_at.as_millis())
}

fn matches(row: &ServiceDeploymentRecord, input: &ListServiceDeploymentsRequest) -> bool {
    let created = row.created_at.as_epoch_seconds();
    let (after, before) = input.created_at.as_ref().map_or((None, None), |range| (range.after, range.before));
    let status = input.status.as_ref().is_none_or(|wanted| wanted.is_empty() || wanted.contains(&row.status));
    status && after.is_none_or(|after| created >= after.0) && before.is_none_or(|before| created <= before.0)
}

fn brief(key: &ServiceKey, id: &str, row: &ServiceDeploymentRecord) -> ServiceDeploymentBrief {
    ServiceDeploymentBrief {
        service_deployment_arn: Some(wire::deployment_arn(key, id)),
        service_arn: Some(key.arn()),
        cluster_arn: Some(key.scope.cluster_arn(key.cluster.as_str())),
        created_at: Some(wire::timestamp(row.created_at)),
        started_at: Some(wire::timestamp(row.created_at)),
        finished_at: row.finished_at.map(wire::timestamp),
        status: Some(row.status.clone()),
        status_reason: row.status_reason.clone(),
        target_service_revision_arn: Some(wire::revision_arn(key, row.target_revision)),
    }
}
