//! `StartLifecyclePolicyPreview`

use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: StartLifecyclePolicyPreviewRequest,
) -> Result<StartLifecyclePolicyPreviewResponse, RegistryError> {
    let keys = request.repository(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    registry.repository(&keys).await?;
    let row = registry.preview_start(&keys, input.lifecycle_policy_text.as_deref()).await?;
    Ok(StartLifecyclePolicyPreviewResponse {
        registry_id: Some(keys.scope().account.clone()),
        repository_name: Some(keys.name().to_string()),
        lifecycle_policy_text: Some(row.text),
        status: Some(LifecyclePolicyPreviewStatus::InProgress),
    })
}
