//! What happens by itself: events beyond their group's retention are deleted, sizes are added up, and what deletions
//! left behind after a crash is removed.

use std::collections::HashSet;
use std::sync::Weak;
use std::time::Duration;

use gantry_api::Fault;

use super::events::StreamId;
use super::rows::{self, Group, Scope, Stream};
use super::{Inner, day_ms, fault};

/// How often everything is looked at. Reading hides expired events at once; this only frees the disk.
const EVERY: Duration = Duration::from_secs(60 * 60);

/// Runs until the service goes away.
pub(super) async fn run(inner: Weak<Inner>) {
    if let Some(inner) = inner.upgrade()
        && let Err(fault) = remove_orphans(&inner).await
    {
        tracing::warn!(%fault, "cannot look for log events of deleted streams");
    }
    loop {
        let Some(changed) = pass(&inner).await else { return };
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = changed.notified() => {}
        }
    }
}

async fn pass(inner: &Weak<Inner>) -> Option<std::sync::Arc<tokio::sync::Notify>> {
    let inner = inner.upgrade()?;
    if let Err(fault) = enforce(&inner).await {
        tracing::warn!(%fault, "cannot delete expired log events");
    }
    Some(inner.retention_changed.clone())
}

/// Deletes what has expired and adds up what is left.
pub(super) async fn enforce(inner: &Inner) -> Result<(), Fault> {
    for scope in rows::scopes(&inner.store).await.map_err(fault::store)? {
        for group in groups(inner, &scope).await? {
            enforce_group(inner, &scope, &group).await?;
        }
    }
    Ok(())
}

async fn enforce_group(inner: &Inner, scope: &Scope, group: &Group) -> Result<(), Fault> {
    let ids = stream_ids(inner, scope, group).await?;
    let cutoff = group.row.retention_days.map(|days| inner.now().saturating_sub(day_ms(days)));
    let mut bytes = 0;
    for chunk in ids.chunks(256) {
        let summaries = inner.events.summaries(chunk.to_vec()).await.map_err(fault::unavailable)?;
        for (id, summary) in chunk.iter().zip(summaries) {
            bytes += summary.bytes;
            if let Some(cutoff) = cutoff.filter(|cutoff| summary.first_timestamp.is_some_and(|first| first < *cutoff)) {
                bytes -= inner.events.expire(*id, cutoff).await.map_err(fault::unavailable)?.min(bytes);
            }
        }
    }
    inner.set_stored_bytes(group.row.id, bytes);
    Ok(())
}

/// Removes directories without a row: a crash came between the deletion of the row and that of the events.
async fn remove_orphans(inner: &Inner) -> Result<(), Fault> {
    // Directories first: a row is written before its directory, so one without a row now never gets one.
    let mut found = HashSet::new();
    for group in inner.events.directories(None).map_err(fault::unavailable)? {
        let streams = inner.events.directories(Some(group)).map_err(fault::unavailable)?;
        found.extend(streams.into_iter().map(|stream| StreamId { group, stream }));
    }
    for scope in rows::scopes(&inner.store).await.map_err(fault::store)? {
        for group in groups(inner, &scope).await? {
            for id in stream_ids(inner, &scope, &group).await? {
                found.remove(&id);
            }
        }
    }
    for orphan in found {
        inner.events.delete_stream(orphan).await.map_err(fault::unavailable)?;
    }
    Ok(())
}

async fn groups(inner: &Inner, scope: &Scope) -> Result<Vec<Group>, Fault> {
    let mut groups = Vec::new();
    rows::walk(&inner.store, &scope.groups(), "", None, |group| {
        groups.push(group);
        true
    })
    .await?;
    Ok(groups)
}

async fn stream_ids(inner: &Inner, scope: &Scope, group: &Group) -> Result<Vec<StreamId>, Fault> {
    let mut ids = Vec::new();
    rows::walk(&inner.store, &scope.streams(group.row.id), "", None, |stream: Stream| {
        ids.push(StreamId { group: group.row.id, stream: stream.row.id });
        true
    })
    .await?;
    Ok(ids)
}
