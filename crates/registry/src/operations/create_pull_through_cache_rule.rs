//! `CreatePullThroughCacheRule`

use super::pull_through_cache_rule::{prefix_in, rule_out};
use super::*;
use crate::prefix::RepositoryPrefix;
use crate::pull_through::upstreams::{UpstreamKind, upstream_kind};
use crate::pull_through::{RuleRow, secrets};

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: CreatePullThroughCacheRuleRequest,
) -> Result<CreatePullThroughCacheRuleResponse, RegistryError> {
    let scope = request.registry(registry, input.registry_id.as_deref()).await?;
    let prefix = prefix_in("ecrRepositoryPrefix", input.ecr_repository_prefix.as_deref())?;
    let upstream_prefix = input.upstream_repository_prefix.unwrap_or_else(|| RepositoryPrefix::root().to_string());
    prefix_in("upstreamRepositoryPrefix", Some(&upstream_prefix))?;
    let host = input.upstream_registry_url.unwrap_or_default();
    let named = input.upstream_registry.as_ref().map(UpstreamRegistry::as_str);
    let kind = upstream_kind(&registry.config.upstreams, &host, named)?;
    let upstream_registry = match kind {
        UpstreamKind::Ours(upstream) if upstream == scope => {
            return Err(RegistryError::Validation("A registry cannot be its own upstream.".to_owned()));
        }
        UpstreamKind::Ours(upstream) if upstream.account != scope.account && input.custom_role_arn.is_none() => {
            let text = format!("The upstream registry with URL '{host}' requires a customRoleArn.");
            return Err(RegistryError::Validation(text));
        }
        UpstreamKind::Ours(_) => Some("ecr"),
        UpstreamKind::Remote { needs_secret: true, .. } if input.credential_arn.is_none() => {
            let text = format!("The upstream registry with URL '{host}' requires a credentialArn.");
            return Err(RegistryError::Validation(text));
        }
        UpstreamKind::Remote { name, .. } => name,
    };
    if let Some(arn) = &input.credential_arn {
        secrets::credentials(registry.secrets.as_ref(), &scope, arn).await?;
    }
    if let Some(role) = &input.custom_role_arn {
        registry.authorize_role(request.caller, &scope, role)?;
    }
    let now_ms = registry.now().as_millis();
    let row = RuleRow {
        prefix: input.ecr_repository_prefix.unwrap_or_default(),
        upstream_registry: upstream_registry.map(str::to_owned),
        upstream_url: host,
        upstream_prefix,
        credential_arn: input.credential_arn,
        custom_role_arn: input.custom_role_arn,
        created_at_ms: now_ms,
        updated_at_ms: now_ms,
    };
    registry.rule_create(&scope, &prefix, &row).await?;
    let rule = rule_out(&scope, row);
    Ok(CreatePullThroughCacheRuleResponse {
        ecr_repository_prefix: rule.ecr_repository_prefix,
        upstream_registry_url: rule.upstream_registry_url,
        created_at: rule.created_at,
        registry_id: rule.registry_id,
        upstream_registry: rule.upstream_registry,
        credential_arn: rule.credential_arn,
        custom_role_arn: rule.custom_role_arn,
        upstream_repository_prefix: rule.upstream_repository_prefix,
    })
}
