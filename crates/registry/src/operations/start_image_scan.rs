//! `StartImageScan`

use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: StartImageScanRequest,
) -> Result<StartImageScanResponse, RegistryError> {
    let keys = request.repository(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    let id = input.image_id.unwrap_or_default();
    let image = wire::image(registry, &keys, &id).await?;
    if image.row.archived {
        return Err(RegistryError::ImageArchived(image.digest));
    }
    registry.scan_start(&keys, &image).await?;
    let status = ImageScanStatus { status: Some(ScanStatus::InProgress), description: None };
    Ok(StartImageScanResponse {
        registry_id: Some(keys.scope().account.clone()),
        repository_name: Some(keys.name().to_string()),
        image_id: Some(ImageIdentifier { image_digest: Some(image.digest.to_string()), ..id }),
        image_scan_status: Some(status),
    })
}
