//! Tags of secrets.

use std::collections::BTreeMap;

use gantry_api::secretsmanager::{Tag, TagResourceRequest, UntagResourceRequest};
use gantry_api::{Caller, Empty, Fault};
use gantry_domain::tags::{TagError, Tags};

use super::access::Permission;
use super::write::Values;
use super::{Inner, fault};

/// Adds tags, or replaces their values.
pub(super) async fn tag_resource(inner: &Inner, caller: &Caller, input: TagResourceRequest) -> Result<Empty, Fault> {
    let more = parse(input.tags.as_deref().unwrap_or_default())?;
    let permission = Permission::new("TagResource").tags(more.iter());
    change(inner, caller, input.secret_id, &permission, |tags| tags.merged(more)).await
}

/// Removes tags; those that are not there do not matter.
pub(super) async fn untag_resource(
    inner: &Inner,
    caller: &Caller,
    input: UntagResourceRequest,
) -> Result<Empty, Fault> {
    let keys = input.tag_keys.unwrap_or_default();
    let keys = || keys.iter().map(String::as_str);
    let permission = Permission::new("UntagResource").tag_keys(keys());
    change(inner, caller, input.secret_id, &permission, |tags| tags.without(keys())).await
}

async fn change(
    inner: &Inner,
    caller: &Caller,
    id: Option<String>,
    permission: &Permission,
    change: impl FnOnce(Tags) -> Result<Tags, TagError>,
) -> Result<Empty, Fault> {
    let _turn = inner.turn().await;
    let secret = inner.allowed(caller, &id.unwrap_or_default(), permission)?;
    if secret.is_deleted() {
        return Err(fault::deleted());
    }
    let mut row = secret.row.clone();
    row.tags = change(Tags::from_stored(row.tags)).map_err(refused)?.into();
    row.changed_at = inner.now();
    inner.write(&secret, &row, Values::default()).await?;
    Ok(Empty {})
}

/// The tags of a request.
pub(super) fn parse(tags: &[Tag]) -> Result<Tags, Fault> {
    Tags::parse(tags.iter().map(|tag| (tag.key.as_deref(), tag.value.as_deref()))).map_err(refused)
}

/// As the wire has them.
pub(super) fn shown(tags: &BTreeMap<String, String>) -> Option<Vec<Tag>> {
    let tag = |(key, value): (&String, &String)| Tag { key: Some(key.clone()), value: Some(value.clone()) };
    (!tags.is_empty()).then(|| tags.iter().map(tag).collect())
}

fn refused(error: TagError) -> Fault {
    fault::parameter(match error {
        TagError::Key(key) => format!("The tag key {key} is invalid."),
        TagError::Value(key) => format!("The value of the tag {key} is invalid."),
        TagError::Reserved(_) => "aws: prefixed tag key names are not allowed for external use.".to_owned(),
        TagError::Duplicate(key) => format!("The tag key {key} is given more than once."),
        TagError::TooMany => "A secret can have at most 50 tags.".to_owned(),
    })
}
