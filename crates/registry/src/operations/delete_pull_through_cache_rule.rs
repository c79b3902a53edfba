//! `DeletePullThroughCacheRule`: the repositories that the rule filled stay.

use super::pull_through_cache_rule::{prefix_in, rule_out};
use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: DeletePullThroughCacheRuleRequest,
) -> Result<DeletePullThroughCacheRuleResponse, RegistryError> {
    let scope = request.registry(registry, input.registry_id.as_deref()).await?;
    let prefix = prefix_in("ecrRepositoryPrefix", input.ecr_repository_prefix.as_deref())?;
    let rule = rule_out(&scope, registry.rule_delete(&scope, &prefix).await?);
    Ok(DeletePullThroughCacheRuleResponse {
        ecr_repository_prefix: rule.ecr_repository_prefix,
        upstream_registry_url: rule.upstream_registry_url,
        created_at: rule.created_at,
        registry_id: rule.registry_id,
        credential_arn: rule.credential_arn,
        custom_role_arn: rule.custom_role_arn,
        upstream_repository_prefix: rule.upstream_repository_prefix,
    })
}
