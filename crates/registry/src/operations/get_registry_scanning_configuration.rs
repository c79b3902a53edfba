//! `GetRegistryScanningConfiguration`

use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    _: GetRegistryScanningConfigurationRequest,
) -> Result<GetRegistryScanningConfigurationResponse, RegistryError> {
    let scope = request.registry(registry, None).await?;
    Ok(GetRegistryScanningConfigurationResponse {
        scanning_configuration: Some(wire::scanning_out(&registry.scanning(&scope).await?)),
        registry_id: Some(scope.account),
    })
}
