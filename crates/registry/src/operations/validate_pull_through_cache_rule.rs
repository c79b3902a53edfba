//! `ValidatePullThroughCacheRule`: asks the upstream. One that cannot be reached is an answer, not an error.

use super::pull_through_cache_rule::{prefix_in, rule_out};
use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: ValidatePullThroughCacheRuleRequest,
) -> Result<ValidatePullThroughCacheRuleResponse, RegistryError> {
    let scope = request.registry(registry, input.registry_id.as_deref()).await?;
    let prefix = prefix_in("ecrRepositoryPrefix", input.ecr_repository_prefix.as_deref())?;
    let row = registry.rule(&scope, &prefix).await?;
    let failure = registry.rule_failure(&scope, &row).await?;
    let rule = rule_out(&scope, row);
    Ok(ValidatePullThroughCacheRuleResponse {
        ecr_repository_prefix: rule.ecr_repository_prefix,
        registry_id: rule.registry_id,
        upstream_registry_url: rule.upstream_registry_url,
        credential_arn: rule.credential_arn,
        custom_role_arn: rule.custom_role_arn,
        upstream_repository_prefix: rule.upstream_repository_prefix,
        is_valid: Some(failure.is_none()),
        failure,
    })
}
