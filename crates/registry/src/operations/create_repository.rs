//! `CreateRepository`

use super::*;
use crate::metadata::RepositoryRow;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: CreateRepositoryRequest,
) -> Result<CreateRepositoryResponse, RegistryError> {
    let (registry_id, name) = (input.registry_id.as_deref(), input.repository_name.as_deref());
    let tags = input.tags.unwrap_or_default();
    let conditions = tag_keys(&tags);
    let keys = request.repository_with(registry, registry_id, name, &conditions).await?;
    if !tags.is_empty() {
        let tagging = Request { caller: request.caller, action: "TagResource" };
        tagging.repository_with(registry, registry_id, name, &conditions).await?;
    }
    let (mutability, mutability_filters) =
        wire::mutability_in(input.image_tag_mutability.as_ref(), input.image_tag_mutability_exclusion_filters)?;
    let encryption = input.encryption_configuration.and_then(|encryption| encryption.encryption_type);
    if encryption.is_some_and(|encryption| encryption != EncryptionType::Aes256) {
        return Err(RegistryError::NotSupported("Encryption with a KMS key is not supported by this registry."));
    }
    let row = RepositoryRow {
        created_at_ms: registry.now().as_millis(),
        mutability,
        mutability_filters,
        scan_on_push: input.image_scanning_configuration.and_then(|scanning| scanning.scan_on_push).unwrap_or(false),
        tags: wire::tags_in(&tags)?.into(),
        deleting: false,
    };
    registry.repository_create(&keys, &row).await?;
    Ok(CreateRepositoryResponse { repository: Some(wire::repository(registry, &keys, &row)) })
}
