//! `DescribeServiceDeployments`.

use gantry_api::{
    Caller, Fault,
    ecs::{DescribeServiceDeploymentsRequest, DescribeServiceDeploymentsResponse},
};
use gantry_domain::arn::{Arn, Resource};

use crate::{Control, control, failures, fault, keys::ServiceKey, services::wire};

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
        let parsed: Arn = text.parse().map_err(|_| fault::invalid("The ARN provided is invalid."))?;
        scope.same_place(&parsed.scope).map_err(|error| fault::elsewhere(&error))?;
        let Resource::ServiceDeployment { cluster, service, id } = parsed.resource else {
            return Err(fault::invalid("The ARN provided is invalid."));
        };
        let key = ServiceKey { scope: scope.clone(), cluster, service };
        let row = view
            .cluster(&scope, &key.cluster)
            .and_then(|cluster| cluster.service_deployments().get(&(key.service.clone(), id.clone())));
        match row {
            Some(row) => deployments.push(wire::service_deployment(&view, &key, &id, row)),
            None => missing.push(failures::missing(text)),
        }
    }
    Ok(DescribeServiceDeploymentsResponse { service_deployments: Some(deployments), failures: Some(missing) })
}
