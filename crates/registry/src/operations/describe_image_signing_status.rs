//! `DescribeImageSigningStatus`

use super::*;
use crate::signing::{JobFailure, JobStatus, SigningJob};

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: DescribeImageSigningStatusRequest,
) -> Result<DescribeImageSigningStatusResponse, RegistryError> {
    let keys = request.repository(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    let image = wire::image(registry, &keys, &input.image_id.unwrap_or_default()).await?;
    let jobs = registry.signing_jobs(&keys, &image.digest).await?;
    Ok(DescribeImageSigningStatusResponse {
        registry_id: Some(keys.scope().account.clone()),
        repository_name: Some(keys.name().to_string()),
        image_id: Some(wire::image_id(&image.digest, None)),
        signing_statuses: Some(jobs.into_iter().map(status_out).collect()),
    })
}

fn status_out((profile, job): (String, SigningJob)) -> ImageSigningStatus {
    let (failure_code, failure_reason) = job.failure.map(|JobFailure { code, reason }| (code, reason)).unzip();
    ImageSigningStatus {
        signing_profile_arn: Some(profile),
        status: Some(match job.status {
            JobStatus::InProgress => SigningStatus::InProgress,
            JobStatus::Complete => SigningStatus::Complete,
            JobStatus::Failed => SigningStatus::Failed,
        }),
        failure_code,
        failure_reason,
    }
}
