//! `UpdateContainerInstancesState`: drains instances and takes them back. What draining does to the tasks of services
//! is their reconciler's business.

use gantry_api::{
    Caller, Fault,
    ecs::{ContainerInstanceStatus, UpdateContainerInstancesStateRequest, UpdateContainerInstancesStateResponse},
};
use gantry_store::Txn;

use crate::{
    Control,
    control::{Plan, active_cluster, cluster_name, scope},
    failures, fault,
    instances::{
        find::{instance_key, known},
        owner,
        wire::{self, Include},
    },
    keys::InstanceKey,
    records::{InstanceStatus, encode},
};

/// Instances in one request.
const INSTANCES_MAX: usize = 10;

enum Found {
    Here,
    Missing,
    Inactive,
}

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: UpdateContainerInstancesStateRequest,
) -> Result<UpdateContainerInstancesStateResponse, Fault> {
    let scope = scope(caller);
    let cluster = cluster_name(&scope, input.cluster.as_deref())?;
    let status = match input.status {
        Some(ContainerInstanceStatus::Active) => InstanceStatus::Active,
        Some(ContainerInstanceStatus::Draining) => InstanceStatus::Draining,
        _ => return Err(fault::invalid("Container instance status should be one of [ACTIVE, DRAINING]")),
    };
    let references = input.container_instances.unwrap_or_default();
    match references.len() {
        0 => return Err(fault::client("Container Instances cannot be empty.")),
        1..=INSTANCES_MAX => {}
        _ => return Err(fault::invalid(format!("At most {INSTANCES_MAX} container instances can be specified."))),
    }
    active_cluster(&control.read(), &scope, &cluster)?;
    let (mut changed, mut refused) = (Vec::new(), Vec::new());
    for reference in references {
        let arn = failures::instance_arn(&scope, &cluster, &reference);
        let Ok(key) = instance_key(&scope, &cluster, Some(&reference)) else {
            refused.push(failures::missing(arn));
            continue;
        };
        match set_status(control, caller, &key, status).await? {
            Found::Missing => refused.push(failures::missing(arn)),
            Found::Inactive => refused.push(failures::inactive(arn)),
            Found::Here => {
                let view = control.read();
                let entry = known(&view, &key).and_then(|host| Some((host, host.row.as_ref()?)));
                changed.extend(entry.map(|(host, row)| wire::instance(&key, host, row, Include::default())));
            }
        }
    }
    Ok(UpdateContainerInstancesStateResponse { container_instances: Some(changed), failures: Some(refused) })
}

async fn set_status(
    control: &Control,
    caller: &Caller,
    key: &InstanceKey,
    status: InstanceStatus,
) -> Result<Found, Fault> {
    control
        .transact(|view| {
            let Some(row) = known(view, key).and_then(|host| host.row.as_ref()) else {
                return Ok(Plan::Done(Found::Missing));
            };
            owner::check_instance(caller, "ecs:UpdateContainerInstancesState", key, row)?;
            if !row.is_registered() {
                return Ok(Plan::Done(Found::Inactive));
            }
            if row.status == status {
                return Ok(Plan::Done(Found::Here));
            }
            let mut record = row.record.clone();
            record.status = status;
            record.version += 1;
            let txn = Txn::new().require(key.path(), row.revision).put(key.path(), encode(&record));
            Ok(Plan::Commit(txn, Found::Here))
        })
        .await
}
