//! `TagResource`

use gantry_domain::tags::Tags;

use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: TagResourceRequest,
) -> Result<TagResourceResponse, RegistryError> {
    let tags = input.tags.unwrap_or_default();
    let keys = request.resource(registry, input.resource_arn.as_deref(), &tag_keys(&tags)).await?;
    let tags = wire::tags_in(&tags)?;
    registry
        .repository_update(&keys, |row| {
            let merged = Tags::from_stored(std::mem::take(&mut row.tags)).merged(tags.clone())?;
            row.tags = merged.into();
            Ok(())
        })
        .await?;
    Ok(TagResourceResponse {})
}
