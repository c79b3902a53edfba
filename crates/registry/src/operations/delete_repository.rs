//! `DeleteRepository`

use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: DeleteRepositoryRequest,
) -> Result<DeleteRepositoryResponse, RegistryError> {
    let keys = request.repository(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    let row = registry.repository_delete(&keys, input.force.unwrap_or(false), &request.actor()).await?;
    Ok(DeleteRepositoryResponse { repository: Some(wire::repository(registry, &keys, &row)) })
}
