//! `DeregisterTaskDefinition`: ACTIVE becomes INACTIVE.

use gantry_api::{
    Caller, Fault,
    ecs::{DeregisterTaskDefinitionRequest, DeregisterTaskDefinitionResponse},
};
use gantry_store::Txn;

use crate::{
    Control, Plan,
    control::scope,
    fault,
    keys::{self, ServiceKind},
    records::{TaskDefinitionStatus, encode},
    task_definition::wire,
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: DeregisterTaskDefinitionRequest,
) -> Result<DeregisterTaskDefinitionResponse, Fault> {
    let scope = scope(caller);
    let reference = input.task_definition.unwrap_or_default();
    let reference = scope.task_definition(&reference).map_err(|error| fault::task_definition_reference(&error))?;
    let key = reference.key().ok_or_else(fault::revision_missing)?;
    let now = control.now();
    let record = control
        .transact(|view| {
            let row = view.namespace(&scope).and_then(|space| space.task_definition(&key));
            let row = row.ok_or_else(fault::task_definition_unknown)?;
            // Asked again, it stays as it is: the first time counts.
            if row.status != TaskDefinitionStatus::Active {
                return Ok(Plan::Done(row.record.clone()));
            }
            let mut record = row.record.clone();
            record.status = TaskDefinitionStatus::Inactive;
            record.deregistered_at = Some(now);
            let path = keys::task_definition(&scope, ServiceKind::Service, &key);
            Ok(Plan::Commit(Txn::new().require(&path, row.revision).put(path, encode(&record)), record))
        })
        .await?;
    Ok(DeregisterTaskDefinitionResponse { task_definition: Some(wire(&scope, &key, &record)) })
}
