//! `BatchGetImage`
//!
//! The stored manifest is returned whatever `acceptedMediaTypes` says: converting would change the digest. Under a
//! pull-through cache rule an image that is not here is imported first.

use super::*;
use crate::images::FoundImage;
use crate::operations::wire::ImageIdError;
use crate::pull_through::Pull;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: BatchGetImageRequest,
) -> Result<BatchGetImageResponse, RegistryError> {
    let keys = request.repository(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    let (mut images, mut failures) = (Vec::new(), Vec::new());
    for id in wire::distinct(input.image_ids.unwrap_or_default()) {
        match pull(registry, request, &keys, &id).await? {
            Err(error) => failures.push(error.failure(id)),
            Ok(found) if found.row.archived => failures.push(ImageIdError::Archived.failure(id)),
            Ok(found) => match image(registry, &keys, &id, &found).await {
                Ok(image) => {
                    registry.image_pulled(&keys, &found, &request.caller.principal_arn);
                    images.push(image);
                }
                Err(RegistryError::BlobUnknown(_)) => failures.push(ImageIdError::NotFound.failure(id)),
                Err(error) => return Err(error),
            },
        }
    }
    if images.is_empty() {
        registry.repository(&keys).await?;
    }
    Ok(BatchGetImageResponse { images: Some(images), failures: Some(failures) })
}

/// The image an identifier names, from here or from upstream. The outer error is ours, the inner one the item's.
async fn pull(
    registry: &Registry,
    request: &Request<'_>,
    keys: &RepositoryKeys,
    id: &ImageIdentifier,
) -> Result<Result<FoundImage, ImageIdError>, RegistryError> {
    let reference = match wire::parse_image_id(id) {
        Ok(reference) => reference,
        Err(error) => return Ok(Err(error)),
    };
    let found = match registry.pull_find(keys, &reference.by).await? {
        Pull::Serve(found) => found,
        Pull::Upstream(pull) if !registry.may_import(request.caller, keys, pull.creates_repository).await => {
            pull.cached
        }
        Pull::Upstream(pull) => {
            let creates_repository = pull.creates_repository;
            match registry.pull_through(keys, pull).await {
                Err(RegistryError::Upstream(error)) if !creates_repository => {
                    return Ok(Err(ImageIdError::Upstream(error)));
                }
                found => found?,
            }
        }
    };
    Ok(reference.check(found))
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
