//! `DeleteTaskDefinitions`: INACTIVE becomes DELETE_IN_PROGRESS. The revision itself goes when nothing uses it any more
//! (`reconcile/task_definitions.rs`).

use gantry_api::{
    Caller, Fault,
    ecs::{DeleteTaskDefinitionsRequest, DeleteTaskDefinitionsResponse, Failure, TaskDefinition},
};
use gantry_domain::{
    Timestamp,
    arn::{Scope, TaskDefinitionKey},
    limits::DELETE_TASK_DEFINITIONS_MAX,
};
use gantry_store::Txn;

use crate::{
    Control, EcsView, Plan,
    control::scope,
    failures, fault,
    keys::{self, ServiceKind},
    records::{Row, TaskDefinitionRecord, TaskDefinitionStatus, encode},
    task_definition::wire,
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: DeleteTaskDefinitionsRequest,
) -> Result<DeleteTaskDefinitionsResponse, Fault> {
    let scope = scope(caller);
    let references = input.task_definitions.unwrap_or_default();
    match references.len() {
        0 => return Err(fault::no_task_definitions()),
        count if count > DELETE_TASK_DEFINITIONS_MAX => return Err(fault::too_many_task_definitions()),
        _ => {}
    }
    let now = control.now();
    control.transact(|view| Ok(plan(view, &scope, &references, now))).await
}

fn plan(view: &EcsView, scope: &Scope, references: &[String], now: Timestamp) -> Plan<DeleteTaskDefinitionsResponse> {
    let mut txn = Txn::new();
    let mut answer = Answer::default();
    let mut seen = std::collections::BTreeSet::new();
    for reference in references {
        let key = match scope.task_definition(reference).ok().and_then(|reference| reference.key()) {
            Some(key) => key,
            None => {
                answer.failures.push(failures::invalid_task_definition(reference));
                continue;
            }
        };
        if !seen.insert(key.clone()) {
            continue;
        }
        match decide(view, scope, &key, now) {
            Err(failure) => answer.failures.push(failure),
            Ok((row, record)) => {
                if row.record != record {
                    let path = keys::task_definition(scope, ServiceKind::Service, &key);
                    txn = txn.require(&path, row.revision).put(path, encode(&record));
                }
                answer.deleted.push(wire(scope, &key, &record));
            }
        }
    }
    let response =
        DeleteTaskDefinitionsResponse { task_definitions: Some(answer.deleted), failures: Some(answer.failures) };
    if txn.then.is_empty() { Plan::Done(response) } else { Plan::Commit(txn, response) }
}

#[derive(Default)]
struct Answer {
    deleted: Vec<TaskDefinition>,
    failures: Vec<Failure>,
}

/// The row as it is and as it shall be.
fn decide<'a>(
    view: &'a EcsView,
    scope: &Scope,
    key: &TaskDefinitionKey,
    now: Timestamp,
) -> Result<(&'a Row<TaskDefinitionRecord>, TaskDefinitionRecord), Failure> {
    let arn = || scope.task_definition_arn(key);
    let row = view.namespace(scope).and_then(|space| space.task_definition(key));
    let row = row.ok_or_else(|| failures::unknown_task_definition(arn()))?;
    let mut record = row.record.clone();
    match record.status {
        TaskDefinitionStatus::Active => return Err(failures::active_task_definition(arn())),
        TaskDefinitionStatus::Inactive => {
            record.status = TaskDefinitionStatus::DeleteInProgress;
            record.delete_requested_at = Some(now);
        }
        TaskDefinitionStatus::DeleteInProgress => {}
    }
    Ok((row, record))
}
