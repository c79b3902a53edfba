//! `DeleteRegistryPolicy`

use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    _input: DeleteRegistryPolicyRequest,
) -> Result<DeleteRegistryPolicyResponse, RegistryError> {
    let scope = request.registry(registry, None).await?;
    let text = registry.registry_policy_delete(&scope).await?.text;
    Ok(DeleteRegistryPolicyResponse { registry_id: Some(scope.account), policy_text: Some(text) })
}
