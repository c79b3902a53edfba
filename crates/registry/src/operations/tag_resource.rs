//! `TagResource`

use gantry_domain::tags::Tags;

use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: TagResourceRequest,
) -> Result<TagResourceResponse, RegistryError> {
    let keys = request.resource(input.resource_arn.as_deref())?;
    let tags = wire::tags_in(&input.tags.unwrap_or_default())?;
    registry
        .repository_update(&keys, |row| {
            let merged = Tags::from_stored(std::mem::take(&mut row.tags)).merged(tags.clone())?;
            row.tags = merged.into();
            Ok(())
        })
        .await?;
    Ok(TagResourceResponse {})
}
