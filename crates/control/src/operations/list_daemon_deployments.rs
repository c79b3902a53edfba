//! `ListDaemonDeployments`: newest first.

use gantry_api::{
    Caller, Fault,
    ecs::{ListDaemonDeploymentsRequest, ListDaemonDeploymentsResponse},
};
use gantry_domain::limits::PAGE_SIZE_MAX;

use crate::{
    Control, control,
    daemons::{find as find_daemon, wire},
    fault,
    paging::Listing,
    records::ServiceDeploymentRecord,
    services::{find, history},
};

const PAGE_SIZE_DEFAULT: usize = 20;

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: ListDaemonDeploymentsRequest,
) -> Result<ListDaemonDeploymentsResponse, Fault> {
    let key = find_daemon::key(&control::scope(caller), input.daemon_arn.as_deref())?;
    let question = format!("ListDaemonDeployments {key:?} {:?} {:?}", input.status, input.created_at);
    let sizes = (PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX);
    let listing = Listing::new(question, input.next_token.as_deref(), input.max_results, sizes)?;
    let view = control.read();
    let (cluster, _) = control::active_cluster(&view, &key.scope, &key.cluster)?;
    // Also of one that was deleted, while that is remembered.
    find::row(&view, &key).ok_or_else(fault::daemon_not_found)?;
    let matches = |row: &ServiceDeploymentRecord| {
        let status = wire::deployment_status(row);
        let wanted = input.status.as_ref().is_none_or(|wanted| wanted.is_empty() || wanted.contains(&status));
        wanted && history::was_created(row, input.created_at.as_ref())
    };
    let (page, next_token) = history::newest_first(cluster, &key, matches, &listing);
    let summaries = page.iter().map(|(id, row)| wire::deployment_summary(&key, id, row)).collect();
    Ok(ListDaemonDeploymentsResponse { daemon_deployments: Some(summaries), next_token })
}
