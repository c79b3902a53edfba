//! `GetRepositoryPolicy`

use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: GetRepositoryPolicyRequest,
) -> Result<GetRepositoryPolicyResponse, RegistryError> {
    let keys = request.repository(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    let text = registry.repository_policy_get(&keys).await?.text;
    Ok(GetRepositoryPolicyResponse {
        registry_id: Some(keys.scope().account.clone()),
        repository_name: Some(keys.name().to_string()),
        policy_text: Some(text),
    })
}
