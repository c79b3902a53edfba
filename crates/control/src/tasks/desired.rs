//! A task as its agent is told to run it.

use std::collections::BTreeMap;

use gantry_api::{
    agent::{DesiredStatus, DesiredTask, ManagedVolume, NetworkInterface},
    ecs,
};
use gantry_domain::{
    arn::{Name, Scope},
    task,
};

use crate::{
    launch,
    records::{ContainerRecord, NetworkRecord, VolumeRecord},
    view::TaskRow,
};

/// What the agent is told. None when the task definition is gone, which cannot be while a task uses it.
pub(crate) fn desired(scope: &Scope, cluster: &Name, row: &TaskRow) -> Option<DesiredTask> {
    let definition = row.definition.as_ref()?;
    let mut document = definition.document.to_wire();
    pin(&mut document, &row.containers);
    document.task_definition_arn = Some(row.definition_arn(scope));
    document.family = Some(row.task_definition.family.to_string());
    document.revision = i32::try_from(row.task_definition.revision.get()).ok();
    let container_arn = |container: &ContainerRecord| scope.container_arn(cluster.as_str(), row.id, &container.id);
    Some(DesiredTask {
        task_arn: scope.task_arn(cluster.as_str(), row.id),
        cluster_arn: scope.cluster_arn(cluster.as_str()),
        desired_status: status(row.life.desired_status),
        launch_type: row.launch_type.as_str().to_owned(),
        group: row.group.clone(),
        started_by: row.started_by.clone(),
        task_definition: document,
        overrides: row.overrides.as_deref().cloned().unwrap_or_default(),
        container_arns: row
            .containers
            .iter()
            .map(|container| (container.name.clone(), container_arn(container)))
            .collect(),
        cpu_units: row.cpu_units,
        memory_mib: row.memory_mib,
        ephemeral_storage_gib: row.ephemeral_storage_gib.and_then(|gib| u32::try_from(gib).ok()),
        network_interface: row.network.as_deref().map(interface),
        tags: row.tags.clone(),
        managed_volume: row.volume.as_deref().map(managed_volume),
        gpu_ids: gpu_ids(&row.containers),
    })
}

/// What has a digest already is pulled by it, and keeps its tag as a name.
fn pin(document: &mut ecs::TaskDefinition, containers: &[ContainerRecord]) {
    for own in containers.iter().filter(|own| own.pinned) {
        let mut definitions = document.container_definitions.iter_mut().flatten();
        let definition = definitions.find(|definition| definition.name.as_deref() == Some(own.name.as_str()));
        let image = definition.and_then(|definition| definition.image.as_mut());
        if let (Some(image), Some(digest)) = (image, &own.image_digest) {
            image.push('@');
            image.push_str(digest);
        }
    }
}

/// By container, of those that have any.
fn gpu_ids(containers: &[ContainerRecord]) -> BTreeMap<String, Vec<String>> {
    let with = containers.iter().filter(|container| !container.gpus.is_empty());
    with.map(|container| (container.name.clone(), container.gpus.clone())).collect()
}

/// On the wire to agents.
pub(crate) fn status(desired: task::DesiredStatus) -> DesiredStatus {
    match desired {
        task::DesiredStatus::Running => DesiredStatus::Running,
        task::DesiredStatus::Stopped => DesiredStatus::Stopped,
    }
}

fn managed_volume(volume: &VolumeRecord) -> ManagedVolume {
    ManagedVolume {
        name: volume.name.clone(),
        id: volume.id.clone(),
        size_gib: volume.size_gib,
        filesystem: volume.filesystem.clone(),
        delete_on_termination: volume.delete_on_termination,
        tags: volume.tags.clone(),
    }
}

fn interface(network: &NetworkRecord) -> NetworkInterface {
    let interface = &network.interface;
    NetworkInterface {
        id: interface.id.clone(),
        subnet_id: interface.subnet.clone(),
        mac: interface.mac.clone(),
        address: interface.address,
        prefix_length: launch::PREFIX_LENGTH,
        gateway: launch::gateway(interface.address),
    }
}
