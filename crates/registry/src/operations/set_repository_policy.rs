//! `SetRepositoryPolicy`

use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: SetRepositoryPolicyRequest,
) -> Result<SetRepositoryPolicyResponse, RegistryError> {
    let keys = request.repository(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    let text = input.policy_text.unwrap_or_default();
    registry.repository_policy_set(&keys, &text, request.caller, input.force.unwrap_or(false)).await?;
    Ok(SetRepositoryPolicyResponse {
        registry_id: Some(keys.scope().account.clone()),
        repository_name: Some(keys.name().to_string()),
        policy_text: Some(text),
    })
}
