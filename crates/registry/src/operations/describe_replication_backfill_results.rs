//! `DescribeReplicationBackfillResults`: how far a backfill is, and once it has ended, what came of each image.

use super::replication_wire::{place_out, progress_out, status_out};
use super::*;
use crate::replication::backfill::ResultRow;

/// Rows read at a time when a filter may pass over them.
const ROWS_AT_A_TIME: usize = 1000;

pub(super) async fn run(
    registry: &Registry,
    request: &Request<'_>,
    input: DescribeReplicationBackfillResultsRequest,
) -> Result<DescribeReplicationBackfillResultsResponse, RegistryError> {
    let scope = request.registry(registry, input.registry_id.as_deref()).await?;
    let id = input.replication_backfill_id.unwrap_or_default();
    let row = registry.backfill(&scope, &id).await?;
    let wanted = input.result_status_filter;
    let question = format!("DescribeReplicationBackfillResults {} {id} {wanted:?}", scope.account);
    let pager = wire::pager(&question, input.max_results);
    let mut after = pager.after(input.next_token.as_deref()).map_err(wire::bad_token)?;
    let limit = wire::page_limit(input.max_results);
    let takes = |result: &ResultRow| match &wanted {
        Some(ReplicationBackfillResultStatus::Failed) => result.failure_code.is_some(),
        Some(ReplicationBackfillResultStatus::Complete) => result.failure_code.is_none(),
        _ => true,
    };
    let mut rows = Vec::new();
    while row.status.is_terminal() && rows.len() < limit {
        let (page, more) = registry.backfill_results(&scope, &id, after.as_deref(), ROWS_AT_A_TIME).await?;
        after = page.last().map(|(key, _)| key.clone());
        rows.extend(page.into_iter().filter(|(_, result)| takes(result)));
        if !more {
            break;
        }
    }
    let page = pager.page(rows, |(key, _)| key.clone());
    Ok(DescribeReplicationBackfillResultsResponse {
        registry_id: Some(scope.account),
        replication_backfill_id: Some(id),
        destination: Some(place_out(&row.destination)),
        status: Some(status_out(row.status)),
        progress: progress_out(&row),
        failure_code: row.failure_code,
        results: Some(page.items.into_iter().map(|(_, result)| result_out(result)).collect()),
        started_at: Some(wire::timestamp(row.started_at_ms)),
        ended_at: row.ended_at_ms.map(wire::timestamp),
        next_token: page.next_token,
    })
}

fn result_out(row: ResultRow) -> ReplicationBackfillResult {
    let status = match row.failure_code {
        None => ReplicationBackfillResultStatus::Complete,
        Some(_) => ReplicationBackfillResultStatus::Failed,
    };
    ReplicationBackfillResult {
        repository_name: Some(row.repository),
        image_id: Some(wire::image_id(&row.digest, row.tag.as_ref())),
        status: Some(status),
        failure_code: row.failure_code,
        sub_image_failure_codes: (!row.children.is_empty()).then(|| row.children.into_iter().collect()),
    }
}
