//! `DescribeServices`.

use gantry_api::{
    Caller, Fault,
    ecs::{DescribeServicesRequest, DescribeServicesResponse, ServiceField},
};
use gantry_domain::limits::DESCRIBE_SERVICES_MAX;

use crate::{
    Control, control, failures, fault,
    services::{find, wire},
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: DescribeServicesRequest,
) -> Result<DescribeServicesResponse, Fault> {
    let scope = control::scope(caller);
    let cluster = control::cluster_name(&scope, input.cluster.as_deref())?;
    let references = input.services.unwrap_or_default();
    if references.is_empty() {
        return Err(fault::invalid("Services cannot be empty."));
    }
    if references.len() > DESCRIBE_SERVICES_MAX {
        return Err(fault::invalid(format!("Services list cannot exceed {DESCRIBE_SERVICES_MAX} elements.")));
    }
    let with_tags = input.include.unwrap_or_default().contains(&ServiceField::Tags);
    let view = control.read();
    control::active_cluster(&view, &scope, &cluster)?;
    let (mut services, mut missing) = (Vec::new(), Vec::new());
    for reference in &references {
        let key = find::service_key(&scope, &cluster, Some(reference))?;
        match find::row(&view, &key) {
            Some(row) => services.push(wire::service(&view, &key, row, with_tags)),
            None => missing.push(failures::missing(key.arn())),
        }
    }
    Ok(DescribeServicesResponse { services: Some(services), failures: Some(missing) })
}
