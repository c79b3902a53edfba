//! `PutImageScanningConfiguration`: the repository's own switch, which counts while the registry's scan type is BASIC.

use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: PutImageScanningConfigurationRequest,
) -> Result<PutImageScanningConfigurationResponse, RegistryError> {
    let keys = request.repository(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    let scan_on_push = input.image_scanning_configuration.and_then(|scanning| scanning.scan_on_push).unwrap_or(false);
    registry
        .repository_update(&keys, |row| {
            row.scan_on_push = scan_on_push;
            Ok(())
        })
        .await?;
    Ok(PutImageScanningConfigurationResponse {
        registry_id: Some(keys.scope().account.clone()),
        repository_name: Some(keys.name().to_string()),
        image_scanning_configuration: Some(ImageScanningConfiguration { scan_on_push: Some(scan_on_push) }),
    })
}
