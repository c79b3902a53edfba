//! `UploadLayerPart`

use bytes::Bytes;

use super::*;
use crate::blobs::WriteMode;
use crate::fault::LAYER_SIZE_MAX;

/// Parts of one layer.
const PARTS_MAX: u32 = 4200;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: UploadLayerPartRequest,
) -> Result<UploadLayerPartResponse, RegistryError> {
    let keys = request.repository(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    registry.repository(&keys).await?;
    let id = input.upload_id.unwrap_or_default();
    let part = Bytes::from(input.layer_part_blob.unwrap_or_default().0);
    let mut upload = registry.upload_open(&keys, &id, WriteMode::AllOrNothing).await?;
    let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
    let fits = match (number(input.part_first_byte), number(input.part_last_byte)) {
        (Some(first), Some(last)) => {
            first == upload.offset() && last >= first && last - first == (part.len() as u64).wrapping_sub(1)
        }
        _ => false,
    };
    if !fits {
        return Err(RegistryError::upload_range(keys.scope(), keys.name(), &id, upload.offset()));
    }
    if upload.parts().count >= PARTS_MAX {
        return Err(RegistryError::LimitExceeded(format!("The layer already has the maximum of {PARTS_MAX} parts")));
    }
    if upload.offset() + part.len() as u64 > LAYER_SIZE_MAX {
        return Err(RegistryError::LayerTooLarge);
    }
    upload.write(part).await?;
    let offset = upload.acknowledge().await.map_err(|error| registry.upload_error(&keys, &id, error))?;
    Ok(UploadLayerPartResponse {
        registry_id: Some(keys.scope().account.clone()),
        repository_name: Some(keys.name().to_string()),
        upload_id: Some(id),
        last_byte_received: Some(wire::size(offset.saturating_sub(1))),
    })
}
