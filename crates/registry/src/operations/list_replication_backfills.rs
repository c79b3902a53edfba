//! `ListReplicationBackfills`: from the oldest on.

use super::replication_wire::{BACKFILLS_PAGE_SIZE_DEFAULT, place_out, progress_out, status_out};
use super::*;
use crate::replication::backfill::BackfillRow;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: ListReplicationBackfillsRequest,
) -> Result<ListReplicationBackfillsResponse, RegistryError> {
    let scope = request.registry(registry, input.registry_id.as_deref()).await?;
    let max = Some(input.max_results.unwrap_or(BACKFILLS_PAGE_SIZE_DEFAULT));
    let question = format!("ListReplicationBackfills {}", scope.account);
    let pager = wire::pager(&question, max);
    let after = pager.after(input.next_token.as_deref()).map_err(wire::bad_token)?;
    let (rows, _) = registry.backfills(&scope, after.as_deref(), wire::page_limit(max)).await?;
    let page = pager.page(rows, |(id, _)| id.clone());
    Ok(ListReplicationBackfillsResponse {
        registry_id: Some(scope.account),
        backfills: Some(page.items.into_iter().map(summary).collect()),
        next_token: page.next_token,
    })
}

fn summary((id, row): (String, BackfillRow)) -> ReplicationBackfillSummary {
    ReplicationBackfillSummary {
        replication_backfill_id: Some(id),
        destination: Some(place_out(&row.destination)),
        status: Some(status_out(row.status)),
        progress: progress_out(&row),
        failure_code: row.failure_code,
        started_at: Some(wire::timestamp(row.started_at_ms)),
        ended_at: row.ended_at_ms.map(wire::timestamp),
    }
}
