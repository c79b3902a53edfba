//! `DescribeRegistry`

use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    _input: DescribeRegistryRequest,
) -> Result<DescribeRegistryResponse, RegistryError> {
    let scope = request.registry(registry, None).await?;
    let replication = registry.replication(&scope).await?;
    Ok(DescribeRegistryResponse {
        registry_id: Some(scope.account),
        replication_configuration: Some(super::replication_wire::configuration_out(&replication)),
    })
}
