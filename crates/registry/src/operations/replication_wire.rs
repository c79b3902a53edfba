//! What the operations on replication share.

use super::*;
use crate::replication::backfill::{BackfillRow, BackfillStatus};
use crate::replication::{Place, ReplicationRow, Rule};

/// Page size of the list of backfills when the request gives none.
pub(super) const BACKFILLS_PAGE_SIZE_DEFAULT: i32 = 25;

pub(super) fn configuration_in(configuration: ReplicationConfiguration) -> ReplicationRow {
    let rule = |rule: ReplicationRule| Rule {
        destinations: rule.destinations.unwrap_or_default().into_iter().map(place_in).collect(),
        prefixes: rule.repository_filters.unwrap_or_default().into_iter().filter_map(|filter| filter.filter).collect(),
        deletes: rule.delete_replication.map(|deletes| deletes.enabled.unwrap_or(false)),
    };
    ReplicationRow { rules: configuration.rules.unwrap_or_default().into_iter().map(rule).collect() }
}

pub(super) fn configuration_out(row: &ReplicationRow) -> ReplicationConfiguration {
    let filter = |prefix: &String| RepositoryFilter {
        filter: Some(prefix.clone()),
        filter_type: Some(RepositoryFilterType::PrefixMatch),
    };
    let rule = |rule: &Rule| ReplicationRule {
        destinations: Some(rule.destinations.iter().map(place_out).collect()),
        repository_filters: (!rule.prefixes.is_empty()).then(|| rule.prefixes.iter().map(filter).collect()),
        delete_replication: rule.deletes.map(|enabled| DeleteReplication { enabled: Some(enabled) }),
    };
    ReplicationConfiguration { rules: Some(row.rules.iter().map(rule).collect()) }
}

pub(super) fn place_in(destination: ReplicationDestination) -> Place {
    Place { region: destination.region.unwrap_or_default(), account: destination.registry_id.unwrap_or_default() }
}

pub(super) fn place_out(place: &Place) -> ReplicationDestination {
    ReplicationDestination { region: Some(place.region.clone()), registry_id: Some(place.account.clone()) }
}

pub(super) fn status_out(status: BackfillStatus) -> ReplicationBackfillStatus {
    match status {
        BackfillStatus::Preparing => ReplicationBackfillStatus::Preparing,
        BackfillStatus::InProgress => ReplicationBackfillStatus::InProgress,
        BackfillStatus::Complete => ReplicationBackfillStatus::Complete,
        BackfillStatus::Failed => ReplicationBackfillStatus::Failed,
        BackfillStatus::Stopping => ReplicationBackfillStatus::Stopping,
        BackfillStatus::Stopped => ReplicationBackfillStatus::Stopped,
    }
}

/// How far a backfill is; none before it knows how much there is.
pub(super) fn progress_out(row: &BackfillRow) -> Option<ReplicationBackfillProgress> {
    let count = |number: u64| i32::try_from(number).unwrap_or(i32::MAX);
    row.prepared.then(|| ReplicationBackfillProgress {
        total_replication_count: Some(count(row.total)),
        completed_replication_count: Some(count(row.completed)),
        failed_replication_count: Some(count(row.failed)),
        failure_codes: Some(row.failure_codes.iter().cloned().collect()),
    })
}
