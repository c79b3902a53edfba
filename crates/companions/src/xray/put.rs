//! `PutTraceSegments` and `PutTelemetryRecords`.

use gantry_api::xray::{
    PutTelemetryRecordsRequest, PutTelemetryRecordsResult, PutTraceSegmentsRequest, PutTraceSegmentsResult,
    UnprocessedTraceSegment,
};
use gantry_api::{Caller, Fault};
use gantry_domain::trace::segment::{Segment, parse};

use super::forward::Document;
use super::journal::Record;
use super::{Inner, fault};
use crate::scope_of;

/// Documents of one request.
const DOCUMENTS_MAX: usize = 1000;

pub(super) async fn put_trace_segments(
    inner: &std::sync::Arc<Inner>,
    caller: &Caller,
    input: PutTraceSegmentsRequest,
) -> Result<PutTraceSegmentsResult, Fault> {
    let documents = input.trace_segment_documents.unwrap_or_default();
    if documents.len() > DOCUMENTS_MAX {
        return Err(fault::invalid(format!("A request has at most {DOCUMENTS_MAX} segments.")));
    }
    let at = inner.now();
    let (mut records, mut segments, mut unprocessed) = (Vec::new(), Vec::new(), Vec::new());
    for document in documents {
        match parse(&document) {
            Ok(segment) => {
                segments.push(segment);
                let (account, region) = (caller.account.clone(), caller.region.clone());
                records.push(Record { account, region, at, document });
            }
            Err((id, error)) => unprocessed.push(UnprocessedTraceSegment {
                id,
                error_code: Some(error.to_string()),
                message: Some(format!("Invalid segment. ErrorCode: {error}")),
            }),
        }
    }
    if !records.is_empty() {
        let onward = onward(inner, caller, &records, &segments);
        keep(inner, records, segments).await.map_err(fault::unavailable)?;
        if let Some(forward) = &inner.forward {
            forward.take(onward);
        }
    }
    Ok(PutTraceSegmentsResult { unprocessed_trace_segments: Some(unprocessed) })
}

/// What goes on to the collector: what is complete.
fn onward(inner: &Inner, caller: &Caller, records: &[Record], segments: &[Segment]) -> Vec<Document> {
    if inner.forward.is_none() {
        return Vec::new();
    }
    let complete = records.iter().zip(segments).filter(|(_, segment)| segment.end.is_some());
    complete.map(|(record, _)| Document { scope: scope_of(caller), text: record.document.clone() }).collect()
}

/// On disk, then in memory; what there is no room for any more goes.
async fn keep(inner: &std::sync::Arc<Inner>, records: Vec<Record>, segments: Vec<Segment>) -> std::io::Result<()> {
    let inner = std::sync::Arc::clone(inner);
    // Whoever waits here waits as a task: a thread is taken by the one who writes.
    let mut journal = std::sync::Arc::clone(&inner.journal).lock_owned().await;
    let work = move || {
        let (file, sizes) = journal.append(&records)?;
        {
            let mut traces = inner.traces.write();
            for ((record, segment), bytes) in records.into_iter().zip(segments).zip(sizes) {
                traces.keep(file, record, segment, bytes);
            }
        }
        // Readers do not wait for the file system.
        let surplus = || inner.traces.read().surplus(inner.now(), journal.newest());
        while let Some(file) = surplus() {
            journal.remove(file)?;
            inner.traces.write().forget(file);
        }
        Ok(())
    };
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

/// What a daemon says about itself is counted in the log only.
pub(super) async fn put_telemetry_records(
    _: &std::sync::Arc<Inner>,
    caller: &Caller,
    input: PutTelemetryRecordsRequest,
) -> Result<PutTelemetryRecordsResult, Fault> {
    for record in input.telemetry_records.into_iter().flatten() {
        tracing::debug!(
            account = caller.account,
            host = input.hostname,
            received = record.segments_received_count,
            sent = record.segments_sent_count,
            rejected = record.segments_rejected_count,
            spilled = record.segments_spillover_count,
            "an X-Ray daemon's telemetry"
        );
    }
    Ok(PutTelemetryRecordsResult {})
}
