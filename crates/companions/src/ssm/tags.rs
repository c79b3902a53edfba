//! Tags of parameters and managed instances.

use std::collections::BTreeMap;

use gantry_api::ssm::{
    AddTagsToResourceRequest, AddTagsToResourceResult, ListTagsForResourceRequest, ListTagsForResourceResult,
    RemoveTagsFromResourceRequest, RemoveTagsFromResourceResult, ResourceTypeForTagging as Kind, Tag,
};
use gantry_api::{Caller, Fault};
use gantry_domain::tags::{TagError, Tags};

use super::{Ssm, fault, instances};

pub(super) async fn add_tags_to_resource(
    ssm: &Ssm,
    caller: &Caller,
    input: AddTagsToResourceRequest,
) -> Result<AddTagsToResourceResult, Fault> {
    let given = input.tags.iter().flatten().map(|tag| (tag.key.as_deref(), tag.value.as_deref()));
    let more = Tags::parse(given).map_err(|error| refused(&error))?;
    let id = input.resource_id.unwrap_or_default();
    change(ssm, caller, input.resource_type, &id, |tags| tags.merged(more.clone())).await?;
    Ok(AddTagsToResourceResult {})
}

/// Removes tags; those that are not there do not matter.
pub(super) async fn remove_tags_from_resource(
    ssm: &Ssm,
    caller: &Caller,
    input: RemoveTagsFromResourceRequest,
) -> Result<RemoveTagsFromResourceResult, Fault> {
    let keys = input.tag_keys.unwrap_or_default();
    let id = input.resource_id.unwrap_or_default();
    change(ssm, caller, input.resource_type, &id, |tags| tags.without(keys.iter().map(String::as_str))).await?;
    Ok(RemoveTagsFromResourceResult {})
}

pub(super) async fn list_tags_for_resource(
    ssm: &Ssm,
    caller: &Caller,
    input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResult, Fault> {
    let id = input.resource_id.unwrap_or_default();
    let tags = match input.resource_type {
        Some(Kind::Parameter) => ssm.parameters.inner().tags(caller, &id).map_err(|fault| no_resource(fault, &id))?,
        Some(Kind::ManagedInstance) => instances::tags(ssm, caller, &id).map_err(|_| fault::no_resource(&id))?,
        _ => return Err(fault::no_resource_type()),
    };
    Ok(ListTagsForResourceResult { tag_list: Some(wire(&tags)) })
}

async fn change(
    ssm: &Ssm,
    caller: &Caller,
    kind: Option<Kind>,
    id: &str,
    change: impl Fn(Tags) -> Result<Tags, TagError>,
) -> Result<(), Fault> {
    match kind {
        Some(Kind::Parameter) => {
            let changed = ssm.parameters.inner().change_tags(caller, id, change).await;
            changed.map_err(|fault| no_resource(fault, id))
        }
        Some(Kind::ManagedInstance) => {
            let change = |tags| change(tags).map_err(|error| refused(&error));
            instances::change_tags(ssm, caller, id, change).await
        }
        _ => Err(fault::no_resource_type()),
    }
}

/// What is not there is told in the words of these operations.
fn no_resource(fault: Fault, id: &str) -> Fault {
    if fault.code == "ParameterNotFound" { fault::no_resource(id) } else { fault }
}

fn refused(error: &TagError) -> Fault {
    match error {
        TagError::TooMany => fault::too_many_tags(),
        error => fault::validation(error.to_string()),
    }
}

/// As the wire has them.
pub(super) fn wire(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag { key: Some(key.clone()), value: Some(value.clone()) }).collect()
}
