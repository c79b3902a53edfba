//! `ListTagsForResource`

use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse, RegistryError> {
    let keys = request.resource(registry, input.resource_arn.as_deref(), &[]).await?;
    let row = registry.repository(&keys).await?;
    let tag = |(key, value)| Tag { key: Some(key), value: Some(value) };
    Ok(ListTagsForResourceResponse { tags: Some(row.tags.into_iter().map(tag).collect()) })
}
