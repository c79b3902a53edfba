//! What the operations on pull-through cache rules share.

use super::*;
use crate::prefix::RepositoryPrefix;
use crate::pull_through::RuleRow;

/// A prefix of a request.
pub(super) fn prefix_in(member: &'static str, prefix: Option<&str>) -> Result<RepositoryPrefix, RegistryError> {
    let invalid = |_| RegistryError::Parameter { member, constraint: "Invalid prefix".to_owned() };
    prefix.unwrap_or_default().parse().map_err(invalid)
}

pub(super) fn rule_out(scope: &Scope, row: RuleRow) -> PullThroughCacheRule {
    PullThroughCacheRule {
        ecr_repository_prefix: Some(row.prefix),
        upstream_registry_url: Some(row.upstream_url),
        created_at: Some(wire::timestamp(row.created_at_ms)),
        registry_id: Some(scope.account.clone()),
        credential_arn: row.credential_arn,
        custom_role_arn: row.custom_role_arn,
        upstream_repository_prefix: Some(row.upstream_prefix),
        upstream_registry: row.upstream_registry.as_deref().map(upstream_registry),
        updated_at: Some(wire::timestamp(row.updated_at_ms)),
    }
}

/// The name of an upstream that the API knows.
fn upstream_registry(name: &str) -> UpstreamRegistry {
    serde_json::from_value(name.into()).unwrap_or_else(|_| UpstreamRegistry::Unknown(name.into()))
}
