//! `InitiateLayerUpload`

use super::*;
use crate::digest::Algorithm;

/// The part size clients are advised to use, also the largest the model takes, in bytes.
const PART_SIZE: i64 = 20 * 1024 * 1024;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: InitiateLayerUploadRequest,
) -> Result<InitiateLayerUploadResponse, RegistryError> {
    let keys =
        request.repository_for_push(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    let id = registry.upload_start(&keys, Algorithm::Sha256).await?;
    Ok(InitiateLayerUploadResponse { upload_id: Some(id), part_size: Some(PART_SIZE) })
}
