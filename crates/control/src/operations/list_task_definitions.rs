//! `ListTaskDefinitions`: by family, then by number.

use std::ops::Bound;

use gantry_api::{
    Caller, Fault,
    ecs::{self, ListTaskDefinitionsRequest, ListTaskDefinitionsResponse, SortOrder},
};
use gantry_domain::{
    arn::{Family, Revision, TaskDefinitionKey},
    limits::PAGE_SIZE_MAX,
    paging::BadToken,
};

use crate::{
    Control,
    control::scope,
    fault,
    paging::Listing,
    records::TaskDefinitionStatus,
    view::{FamilyView, Namespace},
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: ListTaskDefinitionsRequest,
) -> Result<ListTaskDefinitionsResponse, Fault> {
    let scope = scope(caller);
    let status = status(input.status.as_ref());
    let descending = input.sort == Some(SortOrder::Desc);
    // Despite its name the filter is a whole family, not a prefix.
    let family = input.family_prefix.as_deref().filter(|family| !family.is_empty());
    let question = format!("ListTaskDefinitions {status:?} {descending} {}", family.unwrap_or_default());
    let listing =
        Listing::new(question, input.next_token.as_deref(), input.max_results, (PAGE_SIZE_MAX, PAGE_SIZE_MAX))?;
    let after = after(&listing)?;
    let view = control.read();
    let (keys, next_token) = match (view.namespace(&scope), family.map(str::parse::<Family>)) {
        (None, _) | (_, Some(Err(_))) => (Vec::new(), None),
        (Some(space), family) => {
            let family = family.and_then(Result::ok);
            let walk = Walk { space, status, family: family.as_ref() };
            match descending {
                false => listing.page(walk.ascending(after), ToString::to_string),
                true => listing.page(walk.descending(after), ToString::to_string),
            }
        }
    };
    Ok(ListTaskDefinitionsResponse {
        task_definition_arns: Some(keys.iter().map(|key| scope.task_definition_arn(key)).collect()),
        next_token,
    })
}

fn status(status: Option<&ecs::TaskDefinitionStatus>) -> TaskDefinitionStatus {
    match status {
        Some(ecs::TaskDefinitionStatus::Inactive) => TaskDefinitionStatus::Inactive,
        Some(ecs::TaskDefinitionStatus::DeleteInProgress) => TaskDefinitionStatus::DeleteInProgress,
        _ => TaskDefinitionStatus::Active,
    }
}

/// The revision that the page begins after.
pub(super) fn after(listing: &Listing) -> Result<Option<TaskDefinitionKey>, Fault> {
    listing.after().map(|text| key_of(text).ok_or_else(|| fault::bad_token(BadToken))).transpose()
}

/// A token's key, `family:revision`.
fn key_of(text: &str) -> Option<TaskDefinitionKey> {
    let (family, revision) = text.split_once(':')?;
    Some(TaskDefinitionKey { family: family.parse().ok()?, revision: revision.parse().ok()? })
}

struct Walk<'a> {
    space: &'a Namespace,
    status: TaskDefinitionStatus,
    family: Option<&'a Family>,
}

impl<'a> Walk<'a> {
    fn ascending(self, after: Option<TaskDefinitionKey>) -> impl Iterator<Item = TaskDefinitionKey> + 'a {
        let from = after.as_ref().map(|key| key.family.clone());
        let families = self.space.families().range::<Family, _>((lower(from.as_ref()), Bound::Unbounded));
        let (status, only) = (self.status, self.family);
        families.filter(move |(name, _)| only.is_none_or(|only| only == *name)).flat_map(move |(name, family)| {
            let first = after.as_ref().filter(|after| after.family == *name).map_or(0, |after| after.revision.get());
            numbers(family, status, (Bound::Excluded(first), Bound::Unbounded)).filter_map(|number| key(name, number))
        })
    }

    fn descending(self, before: Option<TaskDefinitionKey>) -> impl Iterator<Item = TaskDefinitionKey> + 'a {
        let until = before.as_ref().map(|key| key.family.clone());
        let families = self.space.families().range::<Family, _>((Bound::Unbounded, lower(until.as_ref())));
        let (status, only) = (self.status, self.family);
        families.rev().filter(move |(name, _)| only.is_none_or(|only| only == *name)).flat_map(move |(name, family)| {
            let last = before.as_ref().filter(|before| before.family == *name);
            let end = last.map_or(Bound::Unbounded, |before| Bound::Excluded(before.revision.get()));
            numbers(family, status, (Bound::Unbounded, end)).rev().filter_map(|number| key(name, number))
        })
    }
}

fn lower(family: Option<&Family>) -> Bound<&Family> {
    family.map_or(Bound::Unbounded, Bound::Included)
}

fn key(family: &Family, number: u32) -> Option<TaskDefinitionKey> {
    Some(TaskDefinitionKey { family: family.clone(), revision: Revision::new(number)? })
}

/// The numbers of the revisions with this status.
fn numbers(
    family: &FamilyView,
    status: TaskDefinitionStatus,
    range: (Bound<u32>, Bound<u32>),
) -> Box<dyn DoubleEndedIterator<Item = u32> + '_> {
    match status {
        TaskDefinitionStatus::Active => Box::new(family.active().range(range).copied()),
        _ => {
            let rows = family.revisions().range(range);
            Box::new(rows.filter(move |(_, row)| row.status == status).map(|(number, _)| *number))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_that_names_no_revision_is_refused() {
        let listing = |token: Option<&str>| Listing::new("List".into(), token, Some(1), (1, 1)).unwrap();
        let after_key = |key: &str| {
            let (_, token) = listing(None).page([key, "the next one"], ToString::to_string);
            after(&listing(token.as_deref()))
        };
        assert_eq!(after_key("web:3").unwrap().unwrap().to_string(), "web:3");
        for key in ["web", "web:", "web:0", ":3"] {
            assert_eq!(after_key(key).unwrap_err().code, "InvalidParameterException", "{key}");
        }
        assert!(after(&listing(None)).unwrap().is_none());
    }
}
