//! `DeregisterPullTimeUpdateExclusion`

use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: DeregisterPullTimeUpdateExclusionRequest,
) -> Result<DeregisterPullTimeUpdateExclusionResponse, RegistryError> {
    let scope = request.registry(registry, None).await?;
    let arn = input.principal_arn.unwrap_or_default();
    registry.exclusion_remove(&scope, &arn).await?;
    Ok(DeregisterPullTimeUpdateExclusionResponse { principal_arn: Some(arn) })
}
