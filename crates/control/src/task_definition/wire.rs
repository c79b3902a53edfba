//! A stored revision as clients see it.

use gantry_api::{Timestamp, ecs};
use gantry_domain::arn::{Scope, TaskDefinitionKey};

use crate::records::{TaskDefinitionRecord, TaskDefinitionStatus};

/// The stored document with everything that only the store knows.
pub(crate) fn wire(scope: &Scope, key: &TaskDefinitionKey, record: &TaskDefinitionRecord) -> ecs::TaskDefinition {
    complete(scope, key, record, record.document.to_wire())
}

/// The same for a document that is at hand.
pub(crate) fn complete(
    scope: &Scope,
    key: &TaskDefinitionKey,
    record: &TaskDefinitionRecord,
    document: ecs::TaskDefinition,
) -> ecs::TaskDefinition {
    let time = |at: gantry_domain::Timestamp| Timestamp(at.as_epoch_seconds());
    ecs::TaskDefinition {
        task_definition_arn: Some(scope.task_definition_arn(key)),
        revision: i32::try_from(key.revision.get()).ok(),
        status: Some(status(record.status)),
        registered_at: Some(time(record.registered_at)),
        registered_by: Some(record.registered_by.clone()),
        deregistered_at: record.deregistered_at.map(time),
        delete_requested_at: record.delete_requested_at.map(time),
        ..document
    }
}

fn status(status: TaskDefinitionStatus) -> ecs::TaskDefinitionStatus {
    match status {
        TaskDefinitionStatus::Active => ecs::TaskDefinitionStatus::Active,
        TaskDefinitionStatus::Inactive => ecs::TaskDefinitionStatus::Inactive,
        TaskDefinitionStatus::DeleteInProgress => ecs::TaskDefinitionStatus::DeleteInProgress,
    }
}
