//! Daemon task definitions: kept as the task definitions they amount to, shown as what was registered.

use gantry_api::{
    Fault,
    ecs::{
        DaemonIpcMode, DaemonPidMode, DaemonTaskDefinition, DaemonTaskDefinitionStatus, DaemonTaskDefinitionSummary,
        DaemonVolume, IpcMode, NetworkMode, PidMode, RegisterDaemonTaskDefinitionRequest,
        RegisterTaskDefinitionRequest, TaskDefinition, Volume,
    },
};
use gantry_domain::arn::{Revision, Scope, TaskDefinitionKey, TaskDefinitionReference};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    fault,
    keys::ServiceKind,
    records::{SharedRow, TaskDefinitionRecord, TaskDefinitionStatus},
    services::wire::timestamp,
    task_definition::{find_of, prepare},
    view::EcsView,
};

/// The task definition that a daemon task definition amounts to.
pub(crate) fn document(asked: RegisterDaemonTaskDefinitionRequest) -> Result<TaskDefinition, Fault> {
    let volumes = asked.volumes.unwrap_or_default();
    if volumes.iter().any(|volume| volume.log_driver_volume_configuration.is_some()) {
        return Err(fault::unsupported("logDriverVolumeConfiguration"));
    }
    let volume = |volume: DaemonVolume| Volume { name: volume.name, host: volume.host, ..Volume::default() };
    let shared = RegisterTaskDefinitionRequest {
        family: asked.family,
        task_role_arn: asked.task_role_arn,
        execution_role_arn: asked.execution_role_arn,
        container_definitions: asked.container_definitions.map(|all| all.iter().map(same_members).collect()),
        volumes: Some(volumes.into_iter().map(volume).collect()),
        cpu: asked.cpu,
        memory: asked.memory,
        pid_mode: (asked.pid_mode == Some(DaemonPidMode::Shared)).then_some(PidMode::Host),
        ipc_mode: (asked.ipc_mode == Some(DaemonIpcMode::Shared)).then_some(IpcMode::Host),
        network_mode: Some(NetworkMode::Bridge),
        ..RegisterTaskDefinitionRequest::default()
    };
    prepare(shared).map_err(|invalid| fault::task_definition(&invalid))
}

/// What DescribeDaemonTaskDefinition answers.
pub(crate) fn wire(scope: &Scope, key: &TaskDefinitionKey, record: &TaskDefinitionRecord) -> DaemonTaskDefinition {
    let document = record.document.to_wire();
    let volume = |volume: Volume| DaemonVolume { name: volume.name, host: volume.host, ..DaemonVolume::default() };
    DaemonTaskDefinition {
        container_definitions: document.container_definitions.map(|all| all.iter().map(same_members).collect()),
        volumes: document.volumes.map(|volumes| volumes.into_iter().map(volume).collect()),
        cpu: document.cpu,
        memory: document.memory,
        task_role_arn: document.task_role_arn,
        execution_role_arn: document.execution_role_arn,
        pid_mode: Some(if document.pid_mode.is_some() { DaemonPidMode::Shared } else { DaemonPidMode::None }),
        ipc_mode: Some(if document.ipc_mode.is_some() { DaemonIpcMode::Shared } else { DaemonIpcMode::None }),
        registered_at: Some(timestamp(record.registered_at)),
        registered_by: Some(record.registered_by.clone()),
        delete_requested_at: record.delete_requested_at.map(timestamp),
        ..head(scope, key, status(record.status))
    }
}

/// One that was deleted: its number stays used, and that is all that is left.
pub(crate) fn deleted(scope: &Scope, key: &TaskDefinitionKey) -> DaemonTaskDefinition {
    head(scope, key, DaemonTaskDefinitionStatus::Deleted)
}

fn head(scope: &Scope, key: &TaskDefinitionKey, status: DaemonTaskDefinitionStatus) -> DaemonTaskDefinition {
    DaemonTaskDefinition {
        daemon_task_definition_arn: Some(scope.daemon_task_definition_arn(key)),
        family: Some(key.family.to_string()),
        revision: i32::try_from(key.revision.get()).ok(),
        status: Some(status),
        ..DaemonTaskDefinition::default()
    }
}

/// An entry of ListDaemonTaskDefinitions.
pub(crate) fn summary(
    scope: &Scope,
    key: &TaskDefinitionKey,
    record: &TaskDefinitionRecord,
) -> DaemonTaskDefinitionSummary {
    DaemonTaskDefinitionSummary {
        arn: Some(scope.daemon_task_definition_arn(key)),
        registered_at: Some(timestamp(record.registered_at)),
        registered_by: Some(record.registered_by.clone()),
        delete_requested_at: record.delete_requested_at.map(timestamp),
        status: Some(status(record.status)),
    }
}

fn status(status: TaskDefinitionStatus) -> DaemonTaskDefinitionStatus {
    match status {
        TaskDefinitionStatus::Active => DaemonTaskDefinitionStatus::Active,
        // They are never deregistered.
        TaskDefinitionStatus::Inactive | TaskDefinitionStatus::DeleteInProgress => {
            DaemonTaskDefinitionStatus::DeleteInProgress
        }
    }
}

/// The revision a reference means: the one it names, or the family's latest ACTIVE one.
pub(crate) fn find(
    view: &EcsView,
    scope: &Scope,
    reference: &TaskDefinitionReference,
) -> Option<(TaskDefinitionKey, SharedRow<TaskDefinitionRecord>)> {
    find_of(view, scope, ServiceKind::Daemon, reference)
}

/// Whether this revision was there once.
pub(crate) fn was_deleted(view: &EcsView, scope: &Scope, reference: &TaskDefinitionReference) -> Option<Revision> {
    let family = view.namespace(scope)?.families_of(ServiceKind::Daemon).get(&reference.family)?;
    reference.revision.filter(|revision| revision.get() <= family.last_used())
}

/// Containers of the two kinds of task definition differ in what they lack.
fn same_members<T: DeserializeOwned + Default>(container: &impl Serialize) -> T {
    let value = serde_json::to_value(container).expect("wire documents are plain data");
    serde_json::from_value(value).unwrap_or_else(|error| {
        tracing::error!(%error, "a container of a daemon task definition cannot be read");
        T::default()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use gantry_api::ecs;

    use super::*;

    #[test]
    fn a_daemon_task_definition_comes_back_as_it_was_registered() {
        let container = ecs::DaemonContainerDefinition {
            name: Some("agent".to_owned()),
            image: Some("agent:1".to_owned()),
            memory: Some(64),
            linux_parameters: Some(ecs::DaemonLinuxParameters {
                init_process_enabled: Some(true),
                ..ecs::DaemonLinuxParameters::default()
            }),
            ..ecs::DaemonContainerDefinition::default()
        };
        let asked = RegisterDaemonTaskDefinitionRequest {
            family: Some("agent".to_owned()),
            container_definitions: Some(vec![container]),
            pid_mode: Some(DaemonPidMode::Shared),
            ..RegisterDaemonTaskDefinitionRequest::default()
        };
        let document = document(asked).unwrap();
        assert_eq!(document.pid_mode, Some(PidMode::Host));
        assert_eq!(document.network_mode, Some(NetworkMode::Bridge));
        let record = TaskDefinitionRecord {
            status: TaskDefinitionStatus::Active,
            document: (&document).into(),
            registered_at: gantry_domain::Timestamp::from_millis(0),
            registered_by: "me".to_owned(),
            deregistered_at: None,
            delete_requested_at: None,
            tags: Default::default(),
        };
        let key = TaskDefinitionKey { family: "agent".parse().unwrap(), revision: Revision::FIRST };
        let shown = wire(&Scope::new("000000000000", "us-east-1"), &key, &record);
        let container = &shown.container_definitions.unwrap()[0];
        assert_eq!(container.image.as_deref(), Some("agent:1"));
        assert_eq!(container.linux_parameters.as_ref().unwrap().init_process_enabled, Some(true));
        assert_eq!((shown.pid_mode, shown.ipc_mode), (Some(DaemonPidMode::Shared), Some(DaemonIpcMode::None)));
    }
}
