//! `BatchGetImage`
//!
//! The stored manifest is returned whatever `acceptedMediaTypes` says: converting would change the digest.

use super::*;
use crate::images::FoundImage;
use crate::operations::wire::ImageIdError;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: BatchGetImageRequest,
) -> Result<BatchGetImageResponse, RegistryError> {
    let keys = request.repository(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    registry.repository(&keys).await?;
    let (mut images, mut failures) = (Vec::new(), Vec::new());
    for id in wire::distinct(input.image_ids.unwrap_or_default()) {
        match wire::image_by_id(registry, &keys, &id).await? {
            Err(error) => failures.push(error.failure(id)),
            Ok(found) => match image(registry, &keys, &id, &found).await {
                Ok(image) => {
                    registry.image_pulled(&keys, &found);
                    images.push(image);
                }
                Err(RegistryError::BlobUnknown(_)) => failures.push(ImageIdError::NotFound.failure(id)),
                Err(error) => return Err(error),
            },
        }
    }
    Ok(BatchGetImageResponse { images: Some(images), failures: Some(failures) })
}

async fn image(
    registry: &Registry,
    keys: &RepositoryKeys,
    id: &ImageIdentifier,
    found: &FoundImage,
) -> Result<Image, RegistryError> {
    let bytes = registry.manifest_bytes(found).await?;
    // A manifest is JSON, so it is text.
    let manifest = String::from_utf8(bytes.to_vec()).map_err(|_| RegistryError::BlobUnknown(found.digest.clone()))?;
    Ok(Image {
        registry_id: Some(keys.scope().account.clone()),
        repository_name: Some(keys.name().to_string()),
        image_id: Some(ImageIdentifier {
            image_digest: Some(found.digest.to_string()),
            image_tag: id.image_tag.clone(),
        }),
        image_manifest: Some(manifest),
        image_manifest_media_type: Some(found.row.media_type.clone()),
    })
}
