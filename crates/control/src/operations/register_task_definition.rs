//! `RegisterTaskDefinition`.

use gantry_api::{
    Caller, Fault,
    ecs::{RegisterTaskDefinitionRequest, RegisterTaskDefinitionResponse, TaskDefinition},
};
use gantry_domain::{
    arn::{Family, Revision, TaskDefinitionKey},
    tags::Tags,
};
use gantry_store::Txn;

use crate::{
    Control, Plan,
    control::scope,
    fault,
    keys::{self, ServiceKind},
    records::{TaskDefinitionRecord, TaskDefinitionStatus, encode},
    tags,
    task_definition::{complete, prepare},
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    mut input: RegisterTaskDefinitionRequest,
) -> Result<RegisterTaskDefinitionResponse, Fault> {
    let scope = scope(caller);
    let tags = tags::parse(input.tags.take().as_deref())?;
    let document = prepare(input).map_err(|invalid| fault::task_definition(&invalid))?;
    let (key, record) = register(control, caller, (ServiceKind::Service, &document), tags).await?;
    Ok(RegisterTaskDefinitionResponse {
        task_definition: Some(complete(&scope, &key, &record, document)),
        tags: Some(tags::wire(&record.tags)),
    })
}

/// Writes a document that has passed its checks as the next revision of its family.
pub(crate) async fn register(
    control: &Control,
    caller: &Caller,
    (kind, document): (ServiceKind, &TaskDefinition),
    tags: Tags,
) -> Result<(TaskDefinitionKey, TaskDefinitionRecord), Fault> {
    let scope = scope(caller);
    // `prepare` has let only names through.
    let family: Family = document.family.as_deref().unwrap_or_default().parse().expect("the name was checked");
    let record = TaskDefinitionRecord {
        status: TaskDefinitionStatus::Active,
        document: document.into(),
        registered_at: control.now(),
        registered_by: caller.principal_arn.clone(),
        deregistered_at: None,
        delete_requested_at: None,
        tags: tags.into(),
    };
    let value = encode(&record);
    // Held outside the closure: a reservation must outlive the transaction it is for.
    let mut reserved = None;
    let key = control
        .transact(|view| {
            let known = view.namespace(&scope).and_then(|space| space.families_of(kind).get(&family));
            let last_used = known.map_or(0, |known| known.last_used());
            let number = reserved.insert(control.revisions.reserve(&scope, (kind, &family), last_used)).get();
            let revision = Revision::new(number).ok_or_else(fault::too_many_revisions)?;
            let key = TaskDefinitionKey { family: family.clone(), revision };
            let path = keys::task_definition(&scope, kind, &key);
            // A revision deleted meanwhile writes the counter, so its number cannot come back either.
            let counter = known.and_then(|known| known.counter()).map_or(0, |counter| counter.revision);
            let txn = Txn::new()
                .require_absent(&path)
                .require(keys::family(&scope, kind, family.as_str()), counter)
                .put(path, value.clone());
            Ok(Plan::Commit(txn, key))
        })
        .await?;
    drop(reserved);
    Ok((key, record))
}
