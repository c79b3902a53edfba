//! `UpdateRepositoryCreationTemplate`: replaces the members that are given and keeps the others.

use super::creation_template::{applied_for_in, encryption_in, policy_in, prefix_in, template_out};
use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: UpdateRepositoryCreationTemplateRequest,
) -> Result<UpdateRepositoryCreationTemplateResponse, RegistryError> {
    let scope = request.registry(registry, None).await?;
    let prefix = prefix_in(input.prefix.as_deref())?;
    encryption_in(input.encryption_configuration.as_ref())?;
    let applied_for = input.applied_for.as_deref().map(applied_for_in).transpose()?;
    let tags = input.resource_tags.as_deref().map(wire::tags_in).transpose()?;
    // An empty text clears the policy, an absent one keeps it.
    let repository_policy =
        input.repository_policy.map(|text| policy_in("repositoryPolicy", Some(text))).transpose()?;
    let lifecycle_policy = input.lifecycle_policy.map(|text| policy_in("lifecyclePolicy", Some(text))).transpose()?;
    let (mode, filters) = (input.image_tag_mutability, input.image_tag_mutability_exclusion_filters);
    let row = registry
        .template_update(&scope, &prefix, |row| {
            if mode.is_some() || filters.is_some() {
                let kept = wire::mutability_wire(row.mutability, &row.mutability_filters).0;
                let mode = mode.as_ref().unwrap_or(&kept);
                (row.mutability, row.mutability_filters) = wire::mutability_in(Some(mode), filters.clone())?;
            }
            if let Some(applied_for) = &applied_for {
                row.applied_for.clone_from(applied_for);
            }
            if let Some(tags) = &tags {
                row.resource_tags = tags.clone().into();
            }
            if let Some(policy) = &repository_policy {
                row.repository_policy.clone_from(policy);
            }
            if let Some(policy) = &lifecycle_policy {
                row.lifecycle_policy.clone_from(policy);
            }
            if input.description.is_some() {
                row.description.clone_from(&input.description);
            }
            if input.custom_role_arn.is_some() {
                row.custom_role_arn.clone_from(&input.custom_role_arn);
            }
            Ok(())
        })
        .await?;
    Ok(UpdateRepositoryCreationTemplateResponse {
        registry_id: Some(scope.account),
        repository_creation_template: Some(template_out(row)),
    })
}
