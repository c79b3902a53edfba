//! Tags of rules and event buses.

use std::collections::BTreeMap;

use gantry_api::events::{
    ListTagsForResourceRequest, ListTagsForResourceResponse, Tag, TagResourceRequest, TagResourceResponse,
    UntagResourceRequest, UntagResourceResponse,
};
use gantry_api::{Caller, Fault};
use gantry_domain::tags::{TagError, Tags};
use gantry_store::Txn;

use super::change::encode;
use super::picture::Picture;
use super::rows::{DEFAULT_BUS, RuleKey, Scope};
use super::{Inner, fault};

/// The tags of a request.
pub(super) fn parse(tags: Option<&[Tag]>) -> Result<BTreeMap<String, String>, Fault> {
    let given = tags.unwrap_or_default().iter().map(|tag| (tag.key.as_deref(), tag.value.as_deref()));
    Tags::parse(given).map(Into::into).map_err(refusal)
}

fn refusal(error: TagError) -> Fault {
    match error {
        TagError::TooMany => fault::too_many("tags"),
        error => fault::not_valid("Tags", error),
    }
}

/// What an ARN names.
enum Resource {
    Bus(Scope, String),
    Rule(RuleKey),
}

fn resource(arn: &str) -> Option<Resource> {
    let mut parts = arn.strip_prefix("arn:aws:events:")?.splitn(3, ':');
    let (region, account, name) = (parts.next()?, parts.next()?, parts.next()?);
    let scope = Scope { account: account.to_owned(), region: region.to_owned() };
    if let Some(rule) = name.strip_prefix("rule/") {
        let (bus, rule) = rule.split_once('/').unwrap_or((DEFAULT_BUS, rule));
        return Some(Resource::Rule(scope.rule(bus, rule)));
    }
    Some(Resource::Bus(scope, name.strip_prefix("event-bus/")?.to_owned()))
}

fn found(picture: &Picture, resource: &Resource) -> Option<BTreeMap<String, String>> {
    match resource {
        Resource::Rule(key) => Some(picture.rules.get(key)?.row.tags.clone()),
        Resource::Bus(scope, bus) => Some(picture.buses.get(&(scope.clone(), bus.clone()))?.row.tags.clone()),
    }
}

pub(super) fn of(inner: &Inner, arn: &str) -> BTreeMap<String, String> {
    resource(arn).and_then(|resource| found(&inner.view.read(), &resource)).unwrap_or_default()
}

/// The resource of a request, which is the caller's own.
fn own(caller: &Caller, arn: &str) -> Result<Resource, Fault> {
    let scope = Scope::of(caller);
    let is_own = |resource: &Resource| match resource {
        Resource::Bus(of, _) => *of == scope,
        Resource::Rule(key) => key.scope == scope,
    };
    resource(arn).filter(is_own).ok_or_else(|| fault::no_resource(arn))
}

pub(super) async fn list_tags_for_resource(
    inner: &Inner,
    caller: &Caller,
    input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse, Fault> {
    let arn = input.resource_arn.unwrap_or_default();
    let resource = own(caller, &arn)?;
    let tags = found(&inner.view.read(), &resource).ok_or_else(|| fault::no_resource(&arn))?;
    let wire = |(key, value)| Tag { key: Some(key), value: Some(value) };
    Ok(ListTagsForResourceResponse { tags: Some(tags.into_iter().map(wire).collect()) })
}

pub(super) async fn tag_resource(
    inner: &Inner,
    caller: &Caller,
    input: TagResourceRequest,
) -> Result<TagResourceResponse, Fault> {
    let more = Tags::from_stored(parse(input.tags.as_deref())?);
    let merge = |tags: &mut BTreeMap<String, String>| {
        let merged = Tags::from_stored(std::mem::take(tags)).merged(more.clone()).map_err(refusal)?;
        *tags = merged.into();
        Ok(())
    };
    edit(inner, caller, &input.resource_arn.unwrap_or_default(), merge).await?;
    Ok(TagResourceResponse {})
}

pub(super) async fn untag_resource(
    inner: &Inner,
    caller: &Caller,
    input: UntagResourceRequest,
) -> Result<UntagResourceResponse, Fault> {
    let keys = input.tag_keys.unwrap_or_default();
    let remove = |tags: &mut BTreeMap<String, String>| {
        tags.retain(|key, _| !keys.contains(key));
        Ok(())
    };
    edit(inner, caller, &input.resource_arn.unwrap_or_default(), remove).await?;
    Ok(UntagResourceResponse {})
}

async fn edit(
    inner: &Inner,
    caller: &Caller,
    arn: &str,
    edit: impl Fn(&mut BTreeMap<String, String>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let resource = own(caller, arn)?;
    inner
        .change(|picture| {
            let (key, revision, value) = match &resource {
                Resource::Rule(key) => {
                    let rule = picture.rules.get(key).ok_or_else(|| fault::no_resource(arn))?;
                    let mut row = rule.row.clone();
                    edit(&mut row.tags)?;
                    (key.path(), rule.revision, encode(&row)?)
                }
                Resource::Bus(scope, bus) => {
                    let kept = picture.buses.get(&(scope.clone(), bus.clone()));
                    let kept = kept.ok_or_else(|| fault::no_resource(arn))?;
                    let mut row = kept.row.clone();
                    edit(&mut row.tags)?;
                    (scope.bus(bus), kept.revision, encode(&row)?)
                }
            };
            Ok((Txn::new().require(&key, revision).put(&key, value), ()))
        })
        .await
}
