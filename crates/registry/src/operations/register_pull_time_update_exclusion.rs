//! `RegisterPullTimeUpdateExclusion`

use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: RegisterPullTimeUpdateExclusionRequest,
) -> Result<RegisterPullTimeUpdateExclusionResponse, RegistryError> {
    let scope = request.registry(registry, None).await?;
    let arn = input.principal_arn.unwrap_or_default();
    let row = registry.exclusion_add(&scope, &arn).await?;
    Ok(RegisterPullTimeUpdateExclusionResponse {
        principal_arn: Some(arn),
        created_at: Some(wire::timestamp(row.created_at_ms)),
    })
}
