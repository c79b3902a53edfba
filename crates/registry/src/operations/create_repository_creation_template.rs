//! `CreateRepositoryCreationTemplate`

use super::creation_template::{applied_for_in, encryption_in, policy_in, prefix_in, template_out};
use super::*;
use crate::templates::TemplateRow;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: CreateRepositoryCreationTemplateRequest,
) -> Result<CreateRepositoryCreationTemplateResponse, RegistryError> {
    let scope = request.registry(registry, None).await?;
    let prefix = prefix_in(input.prefix.as_deref())?;
    let (mutability, mutability_filters) =
        wire::mutability_in(input.image_tag_mutability.as_ref(), input.image_tag_mutability_exclusion_filters)?;
    encryption_in(input.encryption_configuration.as_ref())?;
    let now_ms = registry.now().as_millis();
    let row = TemplateRow {
        prefix: input.prefix.unwrap_or_default(),
        description: input.description,
        applied_for: applied_for_in(&input.applied_for.unwrap_or_default())?,
        mutability,
        mutability_filters,
        resource_tags: wire::tags_in(&input.resource_tags.unwrap_or_default())?.into(),
        repository_policy: policy_in("repositoryPolicy", input.repository_policy)?,
        lifecycle_policy: policy_in("lifecyclePolicy", input.lifecycle_policy)?,
        custom_role_arn: input.custom_role_arn,
        created_at_ms: now_ms,
        updated_at_ms: now_ms,
    };
    registry.template_create(&scope, &prefix, &row).await?;
    Ok(CreateRepositoryCreationTemplateResponse {
        registry_id: Some(scope.account),
        repository_creation_template: Some(template_out(row)),
    })
}
