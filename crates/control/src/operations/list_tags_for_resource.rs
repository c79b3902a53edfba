//! `ListTagsForResource`.

use gantry_api::{
    Caller, Fault,
    ecs::{ListTagsForResourceRequest, ListTagsForResourceResponse},
};

use crate::{Control, control::scope, taggable::Taggable, tags};

pub(crate) async fn run(
    control: &Control,
    caller: &Caller,
    input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse, Fault> {
    let scope = scope(caller);
    let target = Taggable::parse(&scope, input.resource_arn.as_deref())?;
    let tagged = target.look(&control.read(), &scope)?;
    Ok(ListTagsForResourceResponse { tags: Some(tags::wire(&tagged.tags)) })
}
