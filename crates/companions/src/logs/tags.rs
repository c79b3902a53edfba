//! Tags of log groups, through the calls by ARN and the older ones by name.

use std::collections::BTreeMap;

use gantry_api::logs::{
    ListTagsForResourceRequest, ListTagsForResourceResponse, ListTagsLogGroupRequest, ListTagsLogGroupResponse,
};
use gantry_api::{Caller, Empty, Fault};

use super::groups::parse_identifier;
use super::rows::{self, Scope};
use super::{Inner, fault};

/// Tags a group may have.
const TAGS_MAX: usize = 50;

/// Which group is meant.
pub(super) enum Target {
    Arn(Option<String>),
    Name(Option<String>),
}

impl Target {
    fn name(self, scope: &Scope) -> Result<String, Fault> {
        match self {
            Target::Arn(arn) => parse_identifier(scope, &arn.unwrap_or_default()),
            Target::Name(name) => Ok(name.unwrap_or_default()),
        }
    }
}

pub(super) async fn list_by_arn(
    inner: &Inner,
    caller: &Caller,
    input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse, Fault> {
    let tags = list(inner, caller, Target::Arn(input.resource_arn)).await?;
    Ok(ListTagsForResourceResponse { tags: Some(tags) })
}

pub(super) async fn list_by_name(
    inner: &Inner,
    caller: &Caller,
    input: ListTagsLogGroupRequest,
) -> Result<ListTagsLogGroupResponse, Fault> {
    let tags = list(inner, caller, Target::Name(input.log_group_name)).await?;
    Ok(ListTagsLogGroupResponse { tags: Some(tags) })
}

/// Adds tags, or replaces their values.
pub(super) async fn tag(
    inner: &Inner,
    caller: &Caller,
    target: Target,
    tags: Option<BTreeMap<String, String>>,
) -> Result<Empty, Fault> {
    let scope = Scope::of(caller);
    let tags = tags.unwrap_or_default();
    check_tags(&tags)?;
    let name = target.name(&scope)?;
    rows::update_group(&inner.store, &scope, &name, |row| {
        row.tags.extend(tags.clone());
        if row.tags.len() > TAGS_MAX { Err(fault::too_many_tags()) } else { Ok(()) }
    })
    .await?;
    Ok(Empty {})
}

/// Removes tags; those that are not there do not matter.
pub(super) async fn untag(
    inner: &Inner,
    caller: &Caller,
    target: Target,
    keys: Option<Vec<String>>,
) -> Result<Empty, Fault> {
    let scope = Scope::of(caller);
    let keys = keys.unwrap_or_default();
    let name = target.name(&scope)?;
    rows::update_group(&inner.store, &scope, &name, |row| {
        row.tags.retain(|key, _| !keys.contains(key));
        Ok(())
    })
    .await?;
    Ok(Empty {})
}

/// Refuses tags that no resource may have.
pub(super) fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), Fault> {
    if tags.len() > TAGS_MAX {
        return Err(fault::too_many_tags());
    }
    if tags.keys().any(|key| key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:"))) {
        return Err(fault::invalid("aws: prefixed tag key names are not allowed for external use."));
    }
    Ok(())
}

async fn list(inner: &Inner, caller: &Caller, target: Target) -> Result<BTreeMap<String, String>, Fault> {
    let scope = Scope::of(caller);
    let name = target.name(&scope)?;
    Ok(rows::group(&inner.store, &scope, &name).await?.row.tags)
}
