//! `GetLifecyclePolicy`

use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: GetLifecyclePolicyRequest,
) -> Result<GetLifecyclePolicyResponse, RegistryError> {
    let keys = request.repository(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    let row = registry.lifecycle(&keys).await?;
    Ok(GetLifecyclePolicyResponse {
        registry_id: Some(keys.scope().account.clone()),
        repository_name: Some(keys.name().to_string()),
        lifecycle_policy_text: Some(row.text),
        last_evaluated_at: row.evaluated_at_ms.map(wire::timestamp),
    })
}
