//! `UntagResource`: takes tags away by key.

use gantry_api::{
    Caller, Fault,
    ecs::{UntagResourceRequest, UntagResourceResponse},
};

use crate::{
    Control,
    control::scope,
    taggable::{self, Taggable},
};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: UntagResourceRequest,
) -> Result<UntagResourceResponse, Fault> {
    let scope = scope(caller);
    let target = Taggable::parse(&scope, input.resource_arn.as_deref())?;
    let keys = input.tag_keys.unwrap_or_default();
    taggable::change(control, &scope, &target, |tags| tags.without(keys.iter().map(String::as_str))).await?;
    Ok(UntagResourceResponse {})
}
