//! `PutRegistryPolicy`

use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: PutRegistryPolicyRequest,
) -> Result<PutRegistryPolicyResponse, RegistryError> {
    let scope = request.registry(registry, None).await?;
    let text = input.policy_text.unwrap_or_default();
    registry.registry_policy_put(&scope, &text).await?;
    Ok(PutRegistryPolicyResponse { registry_id: Some(scope.account), policy_text: Some(text) })
}
