//! `BatchDeleteImage`
//!
//! By tag only the tag goes, and the image with its last one; by digest the image goes with all its tags. What a list
//! of manifests needs cannot go before the list, in whatever order the request names them: those are tried again for
//! as long as something else went.

use super::*;
use crate::operations::wire::ImageIdError;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: BatchDeleteImageRequest,
) -> Result<BatchDeleteImageResponse, RegistryError> {
    let keys = request.repository(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    registry.repository(&keys).await?;
    let (mut deleted, mut failures) = (Vec::new(), Vec::new());
    let mut waiting = wire::distinct(input.image_ids.unwrap_or_default());
    loop {
        let (before, mut again) = (waiting.len(), Vec::new());
        for id in waiting {
            match delete(registry, &keys, &id, &request.actor()).await? {
                Ok(ids) => deleted.extend(ids),
                Err(error @ ImageIdError::ReferencedByManifestList(_)) => again.push((id, error)),
                Err(error) => failures.push(error.failure(id)),
            }
        }
        if again.is_empty() || again.len() == before {
            failures.extend(again.into_iter().map(|(id, error)| error.failure(id)));
            return Ok(BatchDeleteImageResponse { image_ids: Some(deleted), failures: Some(failures) });
        }
        waiting = again.into_iter().map(|(id, _)| id).collect();
    }
}

async fn delete(
    registry: &Registry,
    keys: &RepositoryKeys,
    id: &ImageIdentifier,
    actor: &Actor,
) -> Result<Result<Vec<ImageIdentifier>, ImageIdError>, RegistryError> {
    let found = match wire::image_by_id(registry, keys, id).await? {
        Ok(found) => found,
        Err(error) => return Ok(Err(error)),
    };
    let deleted = match (&id.image_digest, &id.image_tag) {
        (None, Some(tag)) => {
            let tag = tag.parse().map_err(|_| RegistryError::TagInvalid(tag.clone()))?;
            registry.tag_delete_with_image(keys, &tag, actor).await
        }
        _ => registry.image_delete(keys, &found.digest, actor).await,
    };
    match deleted {
        Ok(None) => Ok(Err(ImageIdError::NotFound)),
        Ok(Some(gone)) if gone.tags.is_empty() => Ok(Ok(vec![wire::image_id(&gone.digest, None)])),
        Ok(Some(gone)) => Ok(Ok(gone.tags.iter().map(|tag| wire::image_id(&gone.digest, Some(tag))).collect())),
        Err(RegistryError::ReferencedByManifestList { parents }) => {
            Ok(Err(ImageIdError::ReferencedByManifestList(parents)))
        }
        Err(error) => Err(error),
    }
}
