//! `PutReplicationConfiguration`: replaces the whole configuration. What was pushed before stays where it is.

use super::replication_wire::{configuration_in, configuration_out};
use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: PutReplicationConfigurationRequest,
) -> Result<PutReplicationConfigurationResponse, RegistryError> {
    let scope = request.registry(registry, None).await?;
    let row = configuration_in(input.replication_configuration.unwrap_or_default());
    row.check(&scope)?;
    registry.replication_put(&scope, &row).await?;
    Ok(PutReplicationConfigurationResponse { replication_configuration: Some(configuration_out(&row)) })
}
