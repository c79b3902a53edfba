//! `DescribeContainerInstances`.

use gantry_api::{
    Caller, Fault,
    ecs::{ContainerInstanceField, DescribeContainerInstancesRequest, DescribeContainerInstancesResponse},
};
use gantry_domain::limits::DESCRIBE_MAX;

use crate::{
    Control,
    control::{active_cluster, cluster_name, scope},
    failures, fault,
    instances::{
        find::{instance_key, known},
        wire::{self, Include},
    },
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: DescribeContainerInstancesRequest,
) -> Result<DescribeContainerInstancesResponse, Fault> {
    let scope = scope(caller);
    let cluster = cluster_name(&scope, input.cluster.as_deref())?;
    let references = input.container_instances.unwrap_or_default();
    match references.len() {
        0 => return Err(fault::client("Container Instances cannot be empty.")),
        1..=DESCRIBE_MAX => {}
        _ => return Err(fault::invalid(format!("At most {DESCRIBE_MAX} container instances can be specified."))),
    }
    let wanted = input.include.unwrap_or_default();
    let include = Include {
        tags: wanted.contains(&ContainerInstanceField::Tags),
        health: wanted.contains(&ContainerInstanceField::ContainerInstanceHealth),
    };
    let view = control.read();
    active_cluster(&view, &scope, &cluster)?;
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for reference in references {
        let key = instance_key(&scope, &cluster, Some(&reference)).ok();
        let entry = key.and_then(|key| {
            let host = known(&view, &key)?;
            Some(wire::instance(&key, host, host.row.as_ref()?, include))
        });
        match entry {
            Some(instance) => found.push(instance),
            None => missing.push(failures::missing(failures::instance_arn(&scope, &cluster, &reference))),
        }
    }
    Ok(DescribeContainerInstancesResponse { container_instances: Some(found), failures: Some(missing) })
}
