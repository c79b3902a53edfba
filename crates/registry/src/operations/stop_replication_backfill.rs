//! `StopReplicationBackfill`: the copy that is being made ends, then the backfill.

use super::replication_wire::{place_out, status_out};
use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: StopReplicationBackfillRequest,
) -> Result<StopReplicationBackfillResponse, RegistryError> {
    let scope = request.registry(registry, input.registry_id.as_deref()).await?;
    let id = input.replication_backfill_id.unwrap_or_default();
    let row = registry.backfill_stop(&scope, &id).await?;
    Ok(StopReplicationBackfillResponse {
        registry_id: Some(scope.account),
        replication_backfill_id: Some(id),
        destination: Some(place_out(&row.destination)),
        status: Some(status_out(row.status)),
        started_at: Some(wire::timestamp(row.started_at_ms)),
    })
}
