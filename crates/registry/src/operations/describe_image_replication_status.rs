//! `DescribeImageReplicationStatus`

use super::*;
use crate::replication::Status;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: DescribeImageReplicationStatusRequest,
) -> Result<DescribeImageReplicationStatusResponse, RegistryError> {
    let keys = request.repository(registry, input.registry_id.as_deref(), input.repository_name.as_deref()).await?;
    registry.repository(&keys).await?;
    let id = input.image_id.unwrap_or_default();
    let found = wire::image(registry, &keys, &id).await?;
    let statuses = registry.replication_statuses(&keys, &found.digest).await?;
    let status = |status| match status {
        Status::InProgress => ReplicationStatus::InProgress,
        Status::Complete => ReplicationStatus::Complete,
        Status::Failed => ReplicationStatus::Failed,
    };
    let statuses = statuses.into_iter().map(|(place, row)| ImageReplicationStatus {
        region: Some(place.region),
        registry_id: Some(place.account),
        status: Some(status(row.status)),
        failure_code: row.failure_code,
    });
    Ok(DescribeImageReplicationStatusResponse {
        repository_name: Some(keys.name().to_string()),
        replication_statuses: Some(statuses.collect()),
        image_id: Some(id),
    })
}
