//! `DeleteDaemonTaskDefinition`: ACTIVE becomes DELETE_IN_PROGRESS. The revision itself goes when no daemon uses it any
//! more (`reconcile/task_definitions.rs`).

use gantry_api::{
    Caller, Fault,
    ecs::{DeleteDaemonTaskDefinitionRequest, DeleteDaemonTaskDefinitionResponse},
};
use gantry_store::Txn;

use crate::{
    Control, Plan,
    control::scope,
    fault,
    keys::{self, ServiceKind},
    records::{TaskDefinitionStatus, encode},
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: DeleteDaemonTaskDefinitionRequest,
) -> Result<DeleteDaemonTaskDefinitionResponse, Fault> {
    let (scope, now) = (scope(caller), control.now());
    let reference = input.daemon_task_definition.unwrap_or_default();
    let named = scope.daemon_task_definition(&reference).map_err(|error| fault::task_definition_reference(&error))?;
    let key = named.key().ok_or_else(fault::revision_missing)?;
    control
        .transact(|view| {
            let row = view.namespace(&scope).and_then(|space| space.definition(ServiceKind::Daemon, &key));
            let row = row.ok_or_else(fault::daemon_task_definition_unknown)?;
            let mut record = row.record.clone();
            if record.status != TaskDefinitionStatus::Active {
                return Err(fault::daemon_task_definition_inactive());
            }
            record.status = TaskDefinitionStatus::DeleteInProgress;
            record.delete_requested_at = Some(now);
            let path = keys::task_definition(&scope, ServiceKind::Daemon, &key);
            Ok(Plan::Commit(Txn::new().require(&path, row.revision).put(path, encode(&record)), ()))
        })
        .await?;
    let arn = scope.daemon_task_definition_arn(&key);
    Ok(DeleteDaemonTaskDefinitionResponse { daemon_task_definition_arn: Some(arn) })
}
