//! `CompleteLayerUpload`

use super::*;
use crate::blobs::WriteMode;
use crate::digest::Digest;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: CompleteLayerUploadRequest,
) -> Result<CompleteLayerUploadResponse, RegistryError> {
    let keys = request.repository(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    registry.repository(&keys).await?;
    let (name, account) = (keys.name().to_string(), keys.scope().account.clone());
    let id = input.upload_id.unwrap_or_default();
    let digests = input.layer_digests.unwrap_or_default();
    let digest = digests.first().map(String::as_str).unwrap_or_default();
    let digest: Digest = digest.parse().map_err(|_| RegistryError::DigestInvalid(digest.to_owned()))?;
    let upload = registry.upload_open(&keys, &id, WriteMode::AllOrNothing).await?;
    if upload.offset() == 0 {
        return Err(RegistryError::UploadEmpty { id, name, registry: account });
    }
    if upload.parts().any_but_last_short {
        return Err(RegistryError::PartTooSmall);
    }
    match registry.blob_size(&keys, &digest).await {
        Ok(_) => {
            upload.cancel().await?;
            return Err(RegistryError::LayerAlreadyExists { digest, name, registry: account });
        }
        Err(RegistryError::BlobUnknown(_)) => {}
        Err(error) => return Err(error),
    }
    registry.upload_commit(&keys, &id, upload, &digest).await?;
    Ok(CompleteLayerUploadResponse {
        registry_id: Some(account),
        repository_name: Some(name),
        upload_id: Some(id),
        layer_digest: Some(digest.to_string()),
    })
}
