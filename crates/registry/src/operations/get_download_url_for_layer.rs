//! `GetDownloadUrlForLayer`: a link to our own `/v2/` that needs no credentials.

use super::*;
use crate::digest::Digest;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: GetDownloadUrlForLayerRequest,
) -> Result<GetDownloadUrlForLayerResponse, RegistryError> {
    let keys = request.repository(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    registry.repository(&keys).await?;
    let text = input.layer_digest.unwrap_or_default();
    let missing = || RegistryError::LayerNotFound {
        digest: text.clone(),
        name: keys.name().to_string(),
        registry: keys.scope().account.clone(),
    };
    let digest: Digest = text.parse().map_err(|_| missing())?;
    match registry.blob_size(&keys, &digest).await {
        Ok(_) => {}
        Err(RegistryError::BlobUnknown(_)) => return Err(missing()),
        Err(error) => return Err(error),
    }
    if registry.metadata.users(&keys, &digest, 1).await?.is_empty() {
        return Err(RegistryError::LayerInaccessible(digest, keys.name().clone()));
    }
    let url = crate::http::download_link(registry, &keys, &digest);
    Ok(GetDownloadUrlForLayerResponse { download_url: Some(url), layer_digest: Some(digest.to_string()) })
}
