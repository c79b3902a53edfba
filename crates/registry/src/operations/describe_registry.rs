//! `DescribeRegistry`

use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    _input: DescribeRegistryRequest,
) -> Result<DescribeRegistryResponse, RegistryError> {
    let scope = request.registry(registry, None).await?;
    Ok(DescribeRegistryResponse {
        registry_id: Some(scope.account),
        replication_configuration: Some(ReplicationConfiguration { rules: Some(Vec::new()) }),
    })
}
