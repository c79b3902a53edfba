//! `DescribeRegistry`

use super::*;

pub(super) async fn run(
    _registry: &Registry,
    request: &Request<'_>,
    _input: DescribeRegistryRequest,
) -> Result<DescribeRegistryResponse, RegistryError> {
    let scope = request.registry(None)?;
    Ok(DescribeRegistryResponse {
        registry_id: Some(scope.account),
        replication_configuration: Some(ReplicationConfiguration { rules: Some(Vec::new()) }),
    })
}
