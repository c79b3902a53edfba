//! `TagResource`: adds tags, or gives those that are there other values.

use gantry_api::{
    Caller, Fault,
    ecs::{TagResourceRequest, TagResourceResponse},
};

use crate::{
    Control,
    control::scope,
    taggable::{self, Taggable},
    tags,
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: TagResourceRequest,
) -> Result<TagResourceResponse, Fault> {
    let scope = scope(caller);
    let target = Taggable::parse(&scope, input.resource_arn.as_deref())?;
    let more = tags::parse(input.tags.as_deref())?;
    taggable::change(control, &scope, &target, |tags| tags.merged(more.clone())).await?;
    Ok(TagResourceResponse {})
}
