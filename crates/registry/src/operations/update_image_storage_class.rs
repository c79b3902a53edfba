//! `UpdateImageStorageClass`

use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: UpdateImageStorageClassRequest,
) -> Result<UpdateImageStorageClassResponse, RegistryError> {
    let keys = request.repository(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    let id = input.image_id.unwrap_or_default();
    let found = wire::image(registry, &keys, &id).await?;
    let archive = match input.target_storage_class {
        Some(TargetStorageClass::Archive) => true,
        Some(TargetStorageClass::Standard) => false,
        _ => {
            let constraint = format!("Member must satisfy enum value set: [{}]", TargetStorageClass::VALUES.join(", "));
            return Err(RegistryError::Parameter { member: "targetStorageClass", constraint });
        }
    };
    registry.image_archive(&keys, &found.digest, archive, &request.actor()).await?;
    Ok(UpdateImageStorageClassResponse {
        registry_id: Some(keys.scope().account.clone()),
        repository_name: Some(keys.name().to_string()),
        image_id: Some(ImageIdentifier { image_digest: Some(found.digest.to_string()), image_tag: id.image_tag }),
        image_status: Some(if archive { ImageStatus::Archived } else { ImageStatus::Active }),
    })
}
