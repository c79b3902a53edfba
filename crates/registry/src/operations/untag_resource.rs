//! `UntagResource`

use gantry_domain::tags::Tags;

use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: UntagResourceRequest,
) -> Result<UntagResourceResponse, RegistryError> {
    let tag_keys = input.tag_keys.unwrap_or_default();
    let conditions: Vec<_> = tag_keys.iter().map(|key| ("aws:TagKeys".to_owned(), key.clone())).collect();
    let keys = request.resource(registry, input.resource_arn.as_deref(), &conditions).await?;
    registry
        .repository_update(&keys, |row| {
            let rest = Tags::from_stored(std::mem::take(&mut row.tags));
            row.tags = rest.without(tag_keys.iter().map(String::as_str))?.into();
            Ok(())
        })
        .await?;
    Ok(UntagResourceResponse {})
}
