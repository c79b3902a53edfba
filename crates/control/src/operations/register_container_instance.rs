//! `RegisterContainerInstance`: what an agent calls when it starts. With a known ARN it is the same instance again.

use gantry_api::{
    Caller, Fault,
    ecs::{RegisterContainerInstanceRequest, RegisterContainerInstanceResponse},
};
use gantry_domain::{
    Timestamp,
    arn::{ContainerInstanceId, Name, Scope},
};
use gantry_store::Txn;

use crate::{
    Control,
    control::{Plan, active_cluster, cluster_name, scope},
    fault,
    instances::{
        find::{instance_key, instance_of, known},
        owner,
        registration::{self, CAPACITY_PROVIDER_ATTRIBUTE, EXTERNAL_ATTRIBUTE, FARGATE_ATTRIBUTE, Identity},
        wire::{self, Include},
    },
    keys,
    keys::InstanceKey,
    records::{InstanceRecord, InstanceStatus, encode},
    tags,
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: RegisterContainerInstanceRequest,
) -> Result<RegisterContainerInstanceResponse, Fault> {
    let scope = scope(caller);
    let cluster = cluster_name(&scope, input.cluster.as_deref())?;
    let before = input.container_instance_arn.as_deref().filter(|arn| !arn.is_empty());
    let before = before.map(|arn| instance_key(&scope, &cluster, Some(arn))).transpose()?;
    let record = record(&scope, &input, control.now())?;
    let record = as_machine(caller, &cluster, record)?;
    let new = before.clone().unwrap_or_else(|| new_key(control, &scope, &cluster));
    let key = control
        .transact(|view| {
            // A machine has one instance: whoever lost the answer, or the memory of it, is the same one again.
            let held = caller.machine().and_then(|machine| instance_of(view, &scope, &machine.id));
            let key = held.unwrap_or_else(|| new.clone());
            if let Some(asked) = before.as_ref().filter(|asked| **asked != key) {
                return Err(owner::denied(caller, "ecs:RegisterContainerInstance", &asked.arn()));
            }
            if key.cluster != cluster {
                return Err(owner::denied(
                    caller,
                    "ecs:RegisterContainerInstance",
                    &scope.cluster_arn(cluster.as_str()),
                ));
            }
            let (_, cluster_row) = active_cluster(view, &key.scope, &key.cluster)?;
            let old = known(view, &key).and_then(|host| host.row.as_ref());
            if before.is_some() && !old.is_some_and(|row| row.is_registered()) {
                return Err(fault::instance_not_found());
            }
            if old.is_some_and(|row| !owner::speaks_for(caller, row)) {
                return Err(owner::denied(caller, "ecs:RegisterContainerInstance", &key.arn()));
            }
            let record = match old {
                Some(old) => again(&old.record, &record)?,
                None => record.clone(),
            };
            let txn = Txn::new()
                .require(keys::cluster(&key.scope, key.cluster.as_str()), cluster_row.revision)
                .require(key.path(), old.map_or(0, |row| row.revision))
                .put(key.path(), encode(&record));
            Ok(Plan::Commit(txn, key))
        })
        .await?;
    let view = control.read();
    let host = known(&view, &key).ok_or_else(fault::instance_not_found)?;
    let row = host.row.as_ref().ok_or_else(fault::instance_not_found)?;
    let include = Include { tags: true, health: false };
    let container_instance = Some(wire::instance(&key, host, row, include));
    Ok(RegisterContainerInstanceResponse { container_instance })
}

fn new_key(control: &Control, scope: &Scope, cluster: &Name) -> InstanceKey {
    let id = ContainerInstanceId::from_bytes(control.random.id());
    InstanceKey { scope: scope.clone(), cluster: cluster.clone(), id }
}

fn record(scope: &Scope, input: &RegisterContainerInstanceRequest, now: Timestamp) -> Result<InstanceRecord, Fault> {
    let list = |attributes: &Option<Vec<_>>| attributes.clone().unwrap_or_default();
    let identity = Identity::parse(input.instance_identity_document.as_deref());
    let mut attributes = registration::attributes(&list(&input.attributes))?;
    for (name, value) in identity.attributes(&scope.region) {
        attributes.entry(name).or_insert(value);
    }
    let devices = input.platform_devices.clone().unwrap_or_default();
    let resources = registration::resources(input.total_resources.as_deref().unwrap_or_default(), &devices)?;
    Ok(InstanceRecord {
        status: InstanceStatus::Active,
        agent_connected: false,
        connectivity_at: now,
        registered_at: now,
        deregistered_at: None,
        resources,
        capacity_provider: attributes.get(CAPACITY_PROVIDER_ATTRIBUTE).cloned().flatten(),
        external: attributes.contains_key(EXTERNAL_ATTRIBUTE),
        fargate: attributes.contains_key(FARGATE_ATTRIBUTE),
        attributes: attributes.into(),
        custom_attributes: Default::default(),
        version_info: input.version_info.clone(),
        ec2_instance_id: identity.instance_id,
        machine: None,
        underlay_address: None,
        host_number: None,
        volume_room_gib: None,
        boot_id: None,
        version: 1,
        tags: tags::parse(input.tags.as_deref())?
            .iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
    })
}

/// What a machine that joined cannot say of itself: who it is and what it was let in for.
fn as_machine(caller: &Caller, cluster: &Name, mut record: InstanceRecord) -> Result<InstanceRecord, Fault> {
    let Some(machine) = caller.machine() else { return Ok(record) };
    if machine.cluster.as_deref().is_some_and(|only| only != cluster.as_str()) {
        let arn = Scope::new(&caller.account, &caller.region).cluster_arn(cluster.as_str());
        return Err(owner::denied(caller, "ecs:RegisterContainerInstance", &arn));
    }
    if !machine.fargate {
        record.attributes.to_mut().remove(FARGATE_ATTRIBUTE);
        record.fargate = false;
    }
    if machine.external {
        record.attributes.to_mut().insert(EXTERNAL_ATTRIBUTE.to_owned(), None);
    } else {
        record.attributes.to_mut().remove(EXTERNAL_ATTRIBUTE);
    }
    record.external = machine.external;
    record.machine = Some(machine.id.clone());
    record.ec2_instance_id = Some(machine.id.clone());
    Ok(record)
}

/// The same instance, as it describes itself now. What others decided about it stays: state, custom attributes, tags.
fn again(old: &InstanceRecord, new: &InstanceRecord) -> Result<InstanceRecord, Fault> {
    let kind = |record: &InstanceRecord| record.attribute("ecs.instance-type").flatten().map(str::to_owned);
    if kind(old) != kind(new) {
        return Err(fault::client("Container instance type changes are not supported."));
    }
    Ok(InstanceRecord {
        resources: new.resources.clone(),
        attributes: new.attributes.clone(),
        capacity_provider: new.capacity_provider.clone(),
        external: new.external,
        fargate: new.fargate,
        version_info: new.version_info.clone(),
        ec2_instance_id: new.ec2_instance_id.clone().or_else(|| old.ec2_instance_id.clone()),
        version: old.version + 1,
        ..old.clone()
    })
}
