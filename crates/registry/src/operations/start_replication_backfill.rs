//! `StartReplicationBackfill`

use super::replication_wire::{place_in, place_out, status_out};
use super::*;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: StartReplicationBackfillRequest,
) -> Result<StartReplicationBackfillResponse, RegistryError> {
    let scope = request.registry(registry, input.registry_id.as_deref()).await?;
    let place = place_in(input.destination.unwrap_or_default());
    let (id, row) = registry.backfill_start(&scope, &place).await?;
    Ok(StartReplicationBackfillResponse {
        replication_backfill_id: Some(id),
        registry_id: Some(scope.account),
        destination: Some(place_out(&row.destination)),
        status: Some(status_out(row.status)),
        started_at: Some(wire::timestamp(row.started_at_ms)),
    })
}
