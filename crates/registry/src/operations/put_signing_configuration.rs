//! `PutSigningConfiguration`

use super::signing_configuration::{configuration_out, rules_in};
use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: PutSigningConfigurationRequest,
) -> Result<PutSigningConfigurationResponse, RegistryError> {
    let scope = request.registry(registry, None).await?;
    let row = registry.signing_put(&scope, rules_in(input.signing_configuration)).await?;
    Ok(PutSigningConfigurationResponse { signing_configuration: Some(configuration_out(row)) })
}
