//! `GetRegistryPolicy`

use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    _input: GetRegistryPolicyRequest,
) -> Result<GetRegistryPolicyResponse, RegistryError> {
    let scope = request.registry(registry, None).await?;
    let text = registry.registry_policy_get(&scope).await?.text;
    Ok(GetRegistryPolicyResponse { registry_id: Some(scope.account), policy_text: Some(text) })
}
