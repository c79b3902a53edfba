//! `ListDaemonTaskDefinitions`: by family, then by number.

use gantry_api::{
    Caller, Fault,
    ecs::{
        DaemonTaskDefinitionRevisionFilter, DaemonTaskDefinitionStatusFilter, ListDaemonTaskDefinitionsRequest,
        ListDaemonTaskDefinitionsResponse, SortOrder,
    },
};
use gantry_domain::{
    arn::{Name, Revision, TaskDefinitionKey},
    limits::PAGE_SIZE_MAX,
};

use crate::{
    Control,
    control::scope,
    daemons::definition,
    keys::ServiceKind,
    operations::list_task_definitions::after,
    paging::Listing,
    records::{SharedRow, TaskDefinitionRecord, TaskDefinitionStatus},
    view::{FamilyView, Namespace},
};

type Found<'a> = (TaskDefinitionKey, &'a SharedRow<TaskDefinitionRecord>);

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: ListDaemonTaskDefinitionsRequest,
) -> Result<ListDaemonTaskDefinitionsResponse, Fault> {
    let scope = scope(caller);
    let plain = ListDaemonTaskDefinitionsRequest { next_token: None, max_results: None, ..input.clone() };
    let question = format!("ListDaemonTaskDefinitions {}", serde_json::to_string(&plain).unwrap_or_default());
    let sizes = (PAGE_SIZE_MAX, PAGE_SIZE_MAX);
    let listing = Listing::new(question, input.next_token.as_deref(), input.max_results, sizes)?;
    let view = control.read();
    let mut found: Vec<Found<'_>> = match view.namespace(&scope) {
        Some(space) => matching(space, &input),
        None => Vec::new(),
    };
    let descending = input.sort == Some(SortOrder::Desc);
    if descending {
        found.reverse();
    }
    if let Some(after) = after(&listing)? {
        // By comparison: the last one of the page before may be gone.
        found.retain(|(key, _)| if descending { *key < after } else { *key > after });
    }
    let (page, next_token) = listing.page(found, |(key, _)| key.to_string());
    let summaries = page.iter().map(|(key, row)| definition::summary(&scope, key, row)).collect();
    Ok(ListDaemonTaskDefinitionsResponse { daemon_task_definitions: Some(summaries), next_token })
}

fn matching<'a>(space: &'a Namespace, input: &ListDaemonTaskDefinitionsRequest) -> Vec<Found<'a>> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (family, prefix) = (given(&input.family), given(&input.family_prefix));
    let named = |name: &Name| {
        family.as_ref().is_none_or(|family| family == name.as_str())
            && prefix.as_ref().is_none_or(|prefix| name.as_str().starts_with(prefix.as_str()))
    };
    let families = space.families_of(ServiceKind::Daemon).iter().filter(|(name, _)| named(name));
    families.flat_map(|(name, family)| of_family(name, family, input)).collect()
}

fn of_family<'a>(name: &Name, family: &'a FamilyView, input: &ListDaemonTaskDefinitionsRequest) -> Vec<Found<'a>> {
    use DaemonTaskDefinitionStatusFilter as Filter;
    let status = |row: &TaskDefinitionRecord| match &input.status {
        Some(Filter::All) => true,
        Some(Filter::DeleteInProgress) => row.status == TaskDefinitionStatus::DeleteInProgress,
        _ => row.status == TaskDefinitionStatus::Active,
    };
    let mut rows: Vec<Found<'a>> = Vec::new();
    for (number, row) in family.revisions().iter().filter(|(_, row)| status(row)) {
        if let Some(revision) = Revision::new(*number) {
            rows.push((TaskDefinitionKey { family: name.clone(), revision }, row));
        }
    }
    let last_only = input.revision == Some(DaemonTaskDefinitionRevisionFilter::LastRegistered);
    if last_only { rows.pop().into_iter().collect() } else { rows }
}
