//! `DescribeDaemonDeployments`.

use gantry_api::{
    Caller, Fault,
    ecs::{DescribeDaemonDeploymentsRequest, DescribeDaemonDeploymentsResponse},
};

use crate::{
    Control, control,
    daemons::{find as find_daemon, wire},
    failures, fault,
    services::find,
};

/// A request may ask for so many.
const DESCRIBE_MAX: usize = 20;

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: DescribeDaemonDeploymentsRequest,
) -> Result<DescribeDaemonDeploymentsResponse, Fault> {
    let scope = control::scope(caller);
    let arns = input.daemon_deployment_arns.unwrap_or_default();
    if arns.is_empty() || arns.len() > DESCRIBE_MAX {
        return Err(fault::invalid(format!("daemonDeploymentArns must have 1 to {DESCRIBE_MAX} elements.")));
    }
    let view = control.read();
    let (mut deployments, mut missing) = (Vec::new(), Vec::new());
    for text in arns {
        let (key, id) = find_daemon::deployment(&scope, &text)?;
        match find::history(&view, &key, &id) {
            Ok(row) => deployments.push(wire::deployment(&view, &key, &id, row)),
            Err(_) => missing.push(failures::missing(text)),
        }
    }
    Ok(DescribeDaemonDeploymentsResponse { daemon_deployments: Some(deployments), failures: Some(missing) })
}
