//! What the operations on creation templates share.

use std::collections::BTreeSet;

use super::*;
use crate::prefix::RepositoryPrefix;
use crate::templates::{AppliedFor, TemplateRow};

/// The prefix of a request.
pub(super) fn prefix_in(prefix: Option<&str>) -> Result<RepositoryPrefix, RegistryError> {
    let invalid = |_| RegistryError::Parameter { member: "prefix", constraint: "Invalid prefix".to_owned() };
    prefix.unwrap_or_default().parse().map_err(invalid)
}

pub(super) fn applied_for_in(list: &[RCTAppliedFor]) -> Result<BTreeSet<AppliedFor>, RegistryError> {
    let refuse = |constraint: String| RegistryError::Parameter { member: "appliedFor", constraint };
    let parsed = list.iter().map(|applied| match applied {
        RCTAppliedFor::Replication => Ok(AppliedFor::Replication),
        RCTAppliedFor::PullThroughCache => Ok(AppliedFor::PullThroughCache),
        RCTAppliedFor::CreateOnPush => Ok(AppliedFor::CreateOnPush),
        RCTAppliedFor::Unknown(_) => {
            Err(refuse(format!("Member must satisfy enum value set: [{}]", RCTAppliedFor::VALUES.join(", "))))
        }
    });
    let parsed: BTreeSet<AppliedFor> = parsed.collect::<Result<_, _>>()?;
    if parsed.is_empty() { Err(refuse("must not be empty".to_owned())) } else { Ok(parsed) }
}

/// Refuses encryption that would have no effect.
pub(super) fn encryption_in(
    encryption: Option<&EncryptionConfigurationForRepositoryCreationTemplate>,
) -> Result<(), RegistryError> {
    match encryption.and_then(|encryption| encryption.encryption_type.as_ref()) {
        None | Some(EncryptionType::Aes256) => Ok(()),
        Some(_) => Err(RegistryError::NotSupported("Encryption with a KMS key is not supported by this registry.")),
    }
}

/// The text of a policy; an empty one stands for none.
pub(super) fn policy_in(member: &'static str, text: Option<String>) -> Result<Option<String>, RegistryError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    if member == "repositoryPolicy" {
        crate::policies::repository_policy(member, &text)?;
        return Ok(Some(text));
    }
    if member == "lifecyclePolicy" {
        crate::lifecycle::check(&text)?;
    }
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text) {
        Ok(_) => Ok(Some(text)),
        Err(_) => Err(RegistryError::Parameter { member, constraint: "Invalid JSON syntax".to_owned() }),
    }
}

pub(super) fn template_out(row: TemplateRow) -> RepositoryCreationTemplate {
    let (mutability, filters) = wire::mutability_wire(row.mutability, &row.mutability_filters);
    let applied = |applied: &AppliedFor| match applied {
        AppliedFor::Replication => RCTAppliedFor::Replication,
        AppliedFor::PullThroughCache => RCTAppliedFor::PullThroughCache,
        AppliedFor::CreateOnPush => RCTAppliedFor::CreateOnPush,
    };
    let tag = |(key, value)| Tag { key: Some(key), value: Some(value) };
    RepositoryCreationTemplate {
        prefix: Some(row.prefix),
        description: row.description,
        encryption_configuration: Some(EncryptionConfigurationForRepositoryCreationTemplate {
            encryption_type: Some(EncryptionType::Aes256),
            kms_key: None,
        }),
        resource_tags: Some(row.resource_tags.into_iter().map(tag).collect()),
        image_tag_mutability: Some(mutability),
        image_tag_mutability_exclusion_filters: filters,
        repository_policy: row.repository_policy,
        lifecycle_policy: row.lifecycle_policy,
        applied_for: Some(row.applied_for.iter().map(applied).collect()),
        custom_role_arn: row.custom_role_arn,
        created_at: Some(wire::timestamp(row.created_at_ms)),
        updated_at: Some(wire::timestamp(row.updated_at_ms)),
    }
}
