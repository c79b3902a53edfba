//! `UpdatePullThroughCacheRule`: another secret or role; everything else of a rule stays as it was made.

use super::pull_through_cache_rule::{prefix_in, rule_out};
use super::*;
use crate::pull_through::secrets;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: UpdatePullThroughCacheRuleRequest,
) -> Result<UpdatePullThroughCacheRuleResponse, RegistryError> {
    let scope = request.registry(registry, input.registry_id.as_deref()).await?;
    let prefix = prefix_in("ecrRepositoryPrefix", input.ecr_repository_prefix.as_deref())?;
    registry.rule(&scope, &prefix).await?;
    if input.credential_arn.is_none() && input.custom_role_arn.is_none() {
        let text = "One of credentialArn and customRoleArn must be given.";
        return Err(RegistryError::Validation(text.to_owned()));
    }
    if let Some(arn) = &input.credential_arn {
        secrets::credentials(registry.secrets.as_ref(), &scope, arn).await?;
    }
    if let Some(role) = &input.custom_role_arn {
        registry.authorize_role(request.caller, &scope, role)?;
    }
    let row = registry
        .rule_update(&scope, &prefix, |row| {
            if input.credential_arn.is_some() {
                row.credential_arn.clone_from(&input.credential_arn);
            }
            if input.custom_role_arn.is_some() {
                row.custom_role_arn.clone_from(&input.custom_role_arn);
            }
        })
        .await?;
    let rule = rule_out(&scope, row);
    Ok(UpdatePullThroughCacheRuleResponse {
        ecr_repository_prefix: rule.ecr_repository_prefix,
        registry_id: rule.registry_id,
        updated_at: rule.updated_at,
        credential_arn: rule.credential_arn,
        custom_role_arn: rule.custom_role_arn,
        upstream_repository_prefix: rule.upstream_repository_prefix,
    })
}
