//! `BatchCheckLayerAvailability`
//!
//! A layer that is not here is an answer, not a failure: clients take a reply of only failures for an error, and
//! UNAVAILABLE for "please upload".

use super::*;
use crate::digest::Digest;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: BatchCheckLayerAvailabilityRequest,
) -> Result<BatchCheckLayerAvailabilityResponse, RegistryError> {
    let keys = request.repository(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    registry.repository(&keys).await?;
    let (mut layers, mut failures) = (Vec::new(), Vec::new());
    for text in input.layer_digests.unwrap_or_default() {
        if !wire::is_digest_shaped(&text) {
            failures.push(failure(text));
            continue;
        }
        let size = match text.parse::<Digest>() {
            Ok(digest) => match registry.blob_size(&keys, &digest).await {
                Ok(size) => Some(size),
                Err(RegistryError::BlobUnknown(_)) => None,
                Err(error) => return Err(error),
            },
            Err(_) => None,
        };
        layers.push(Layer {
            layer_digest: Some(text.clone()),
            layer_availability: Some(match size {
                Some(_) if is_archived(registry, &keys, &text).await? => LayerAvailability::Archived,
                Some(_) => LayerAvailability::Available,
                None => LayerAvailability::Unavailable,
            }),
            layer_size: size.map(wire::size),
            media_type: None,
        });
    }
    Ok(BatchCheckLayerAvailabilityResponse { layers: Some(layers), failures: Some(failures) })
}

/// Whether only archived images need a layer that is here.
async fn is_archived(registry: &Registry, keys: &RepositoryKeys, text: &str) -> Result<bool, RegistryError> {
    match text.parse() {
        Ok(digest) => registry.is_archived_layer(keys, &digest).await,
        Err(_) => Ok(false),
    }
}

fn failure(digest: String) -> LayerFailure {
    let (code, reason) = if digest.is_empty() {
        (LayerFailureCode::MissingLayerDigest, "Invalid request parameters: layer digest cannot be null")
    } else {
        let reason =
            "Invalid request parameters: layer digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'";
        (LayerFailureCode::InvalidLayerDigest, reason)
    };
    LayerFailure { layer_digest: Some(digest), failure_code: Some(code), failure_reason: Some(reason.to_owned()) }
}
