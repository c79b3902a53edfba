//! `ListTaskDefinitionFamilies`.

use std::ops::Bound;

use gantry_api::{
    Caller, Fault,
    ecs::{ListTaskDefinitionFamiliesRequest, ListTaskDefinitionFamiliesResponse, TaskDefinitionFamilyStatus},
};
use gantry_domain::{arn::Family, limits::PAGE_SIZE_MAX};

use crate::{
    Control,
    control::scope,
    paging::Listing,
    view::{FamilyView, Namespace},
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: ListTaskDefinitionFamiliesRequest,
) -> Result<ListTaskDefinitionFamiliesResponse, Fault> {
    let scope = scope(caller);
    let prefix = input.family_prefix.unwrap_or_default();
    let status = input.status.unwrap_or(TaskDefinitionFamilyStatus::All);
    let question = format!("ListTaskDefinitionFamilies {status} {prefix}");
    let listing =
        Listing::new(question, input.next_token.as_deref(), input.max_results, (PAGE_SIZE_MAX, PAGE_SIZE_MAX))?;
    let view = control.read();
    let (families, next_token) = match view.namespace(&scope) {
        Some(space) => listing.page(families(space, listing.after(), &prefix, &status), |name| name.clone()),
        None => (Vec::new(), None),
    };
    Ok(ListTaskDefinitionFamiliesResponse { families: Some(families), next_token })
}

fn families<'a>(
    space: &'a Namespace,
    after: Option<&str>,
    prefix: &'a str,
    status: &'a TaskDefinitionFamilyStatus,
) -> impl Iterator<Item = String> + 'a {
    // A prefix that is itself a name saves walking over what sorts before it; any other just filters.
    let start = after.and_then(|after| after.parse::<Family>().ok()).map(Bound::Excluded);
    let start = start.or_else(|| prefix.parse().ok().map(Bound::Included)).unwrap_or(Bound::Unbounded);
    space
        .families()
        .range((start, Bound::Unbounded))
        .take_while(move |(name, _)| name.as_str().starts_with(prefix))
        .filter(move |(_, family)| has_status(family, status))
        .map(|(name, _)| name.to_string())
}

/// A family whose revisions are all deleted is not listed at all.
fn has_status(family: &FamilyView, status: &TaskDefinitionFamilyStatus) -> bool {
    let active = !family.active().is_empty();
    match status {
        TaskDefinitionFamilyStatus::Active => active,
        TaskDefinitionFamilyStatus::Inactive => !active && !family.revisions().is_empty(),
        _ => !family.revisions().is_empty(),
    }
}
