//! `DescribeServiceDeployments`.

use gantry_api::{
    Caller, Fault,
    ecs::{DescribeServiceDeploymentsRequest, DescribeServiceDeploymentsResponse},
};

use crate::{
    Control, control, failures, fault,
    services::{deployment_wire, find},
};

/// A request may ask for so many.
const DESCRIBE_MAX: usize = 20;

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: DescribeServiceDeploymentsRequest,
) -> Result<DescribeServiceDeploymentsResponse, Fault> {
    let scope = control::scope(caller);
    let arns = input.service_deployment_arns.unwrap_or_default();
    if arns.is_empty() {
        return Err(fault::invalid("Service deployments cannot be empty."));
    }
    if arns.len() > DESCRIBE_MAX {
        return Err(fault::invalid(format!("Service deployments list cannot exceed {DESCRIBE_MAX} elements.")));
    }
    let view = control.read();
    let (mut deployments, mut missing) = (Vec::new(), Vec::new());
    for text in arns {
        let (key, id) = find::service_deployment(&scope, &text)?;
        match find::history(&view, &key, &id) {
            Ok(row) => deployments.push(deployment_wire::service_deployment(&view, &key, &id, row)),
            Err(_) => missing.push(failures::missing(text)),
        }
    }
    Ok(DescribeServiceDeploymentsResponse { service_deployments: Some(deployments), failures: Some(missing) })
}
