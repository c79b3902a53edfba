//! `DeleteSigningConfiguration`

use super::signing_configuration::configuration_out;
use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    _input: DeleteSigningConfigurationRequest,
) -> Result<DeleteSigningConfigurationResponse, RegistryError> {
    let scope = request.registry(registry, None).await?;
    let row = registry.signing_delete(&scope).await?;
    Ok(DeleteSigningConfigurationResponse {
        registry_id: Some(scope.account),
        signing_configuration: Some(configuration_out(row)),
    })
}
