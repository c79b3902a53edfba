//! `PutImageTagMutability`

use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: PutImageTagMutabilityRequest,
) -> Result<PutImageTagMutabilityResponse, RegistryError> {
    let keys = request.repository(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    let (mutability, filters) =
        wire::mutability_in(input.image_tag_mutability.as_ref(), input.image_tag_mutability_exclusion_filters)?;
    let row = registry
        .repository_update(&keys, |row| {
            row.mutability = mutability;
            row.mutability_filters.clone_from(&filters);
            Ok(())
        })
        .await?;
    let (image_tag_mutability, image_tag_mutability_exclusion_filters) = wire::mutability_out(&row);
    Ok(PutImageTagMutabilityResponse {
        registry_id: Some(keys.scope().account.clone()),
        repository_name: Some(keys.name().to_string()),
        image_tag_mutability: Some(image_tag_mutability),
        image_tag_mutability_exclusion_filters,
    })
}
