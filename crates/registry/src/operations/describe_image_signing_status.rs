//! `DescribeImageSigningStatus`
//!
//! There is no signer: no signing profile exists, so every job that a rule asks for has failed, and says so.

use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: DescribeImageSigningStatusRequest,
) -> Result<DescribeImageSigningStatusResponse, RegistryError> {
    let keys = request.repository(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    let image = wire::image(registry, &keys, &input.image_id.unwrap_or_default()).await?;
    let profiles = registry.signing_profiles(&keys, image.row.pushed_at_ms).await?;
    let failed = |arn: String| ImageSigningStatus {
        status: Some(SigningStatus::Failed),
        failure_code: Some("SigningProfileNotFound".to_owned()),
        failure_reason: Some(format!("The signing profile {arn} does not exist in this registry.")),
        signing_profile_arn: Some(arn),
    };
    Ok(DescribeImageSigningStatusResponse {
        registry_id: Some(keys.scope().account.clone()),
        repository_name: Some(keys.name().to_string()),
        image_id: Some(wire::image_id(&image.digest, None)),
        signing_statuses: Some(profiles.into_iter().map(failed).collect()),
    })
}
