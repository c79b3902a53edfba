//! `PutLifecyclePolicy`

use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: PutLifecyclePolicyRequest,
) -> Result<PutLifecyclePolicyResponse, RegistryError> {
    let keys = request.repository(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    registry.repository(&keys).await?;
    let row = registry.lifecycle_put(&keys, &input.lifecycle_policy_text.unwrap_or_default()).await?;
    Ok(PutLifecyclePolicyResponse {
        registry_id: Some(keys.scope().account.clone()),
        repository_name: Some(keys.name().to_string()),
        lifecycle_policy_text: Some(row.text),
    })
}
