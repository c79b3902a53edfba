//! `PutImage`

use bytes::Bytes;

use super::*;
use crate::push_image::{ImagePush, Repeated};

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: PutImageRequest,
) -> Result<PutImageResponse, RegistryError> {
    let keys =
        request.repository_for_push(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    let tag = input.image_tag.map(|tag| tag.parse().map_err(|_| RegistryError::TagInvalid(tag))).transpose()?;
    let digest = input
        .image_digest
        .map(|digest| digest.parse().map_err(|_| RegistryError::DigestInvalid(digest)))
        .transpose()?;
    let manifest = input.image_manifest.unwrap_or_default();
    let push = ImagePush {
        manifest: Bytes::from(manifest.clone()),
        media_type: input.image_manifest_media_type,
        digest,
        tags: tag.into_iter().collect(),
        repeated: Repeated::Refuse,
        actor: request.actor(),
        sign: registry.signing_orders(request.caller, &keys).await?,
    };
    let pushed = registry.image_push(&keys, &push).await?;
    Ok(PutImageResponse {
        image: Some(Image {
            registry_id: Some(keys.scope().account.clone()),
            repository_name: Some(keys.name().to_string()),
            image_id: Some(wire::image_id(&pushed.digest, push.tags.first())),
            image_manifest: Some(manifest),
            image_manifest_media_type: Some(pushed.media_type),
        }),
    })
}
