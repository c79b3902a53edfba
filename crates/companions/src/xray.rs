//! X-Ray: segments of traces come in, summaries and traces go out.
//!
//! Segments are in memory and, before they are answered, in files of the data directory. Both have a bound of bytes and
//! of age; the oldest goes first. There is one sampling rule, the default. Where the operator names a collector, segments
//! go on to it.

mod fault;
mod forward;
mod graph;
mod journal;
mod put;
mod read;
mod sampling;
#[cfg(test)]
mod tests;
mod traces;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gantry_api::xray::{
    self, BatchGetTracesRequest, BatchGetTracesResult, GetSamplingRulesRequest, GetSamplingRulesResult,
    GetSamplingTargetsRequest, GetSamplingTargetsResult, GetServiceGraphRequest, GetServiceGraphResult,
    GetTraceSummariesRequest, GetTraceSummariesResult, PutTelemetryRecordsRequest, PutTelemetryRecordsResult,
    PutTraceSegmentsRequest, PutTraceSegmentsResult,
};
use gantry_api::{Caller, Fault};
use parking_lot::{Mutex, RwLock};
use reqwest::Url;

use crate::scope_of;
use crate::secretsmanager::Clock;
use forward::Forward;
use journal::Journal;
use sampling::Samplers;
use traces::Traces;

/// How long a server that ends waits for the collector.
const FORWARD_TIME_MAX: Duration = Duration::from_secs(5);

/// The service. Clones share it.
#[derive(Clone)]
pub struct XRay {
    inner: Arc<Inner>,
}

struct Inner {
    /// Held by whoever writes segments.
    journal: Arc<tokio::sync::Mutex<Journal>>,
    traces: RwLock<Traces>,
    samplers: Mutex<Samplers>,
    forward: Option<Forward>,
    clock: Clock,
}

impl XRay {
    /// Opens what is kept in `folder`. Segments that come from now on go on to the collector, where there is one: the
    /// address is where it takes traces.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub async fn open(folder: PathBuf, clock: Clock, collector: Option<Url>) -> io::Result<Self> {
        let opened = tokio::task::spawn_blocking(move || {
            let mut traces = Traces::default();
            let (journal, old) = Journal::open(folder, |file, record| traces.keep_record(file, record))?;
            old.iter().for_each(|file| traces.count_file(file));
            Ok::<_, io::Error>((journal, traces))
        });
        let (journal, traces) = opened.await.map_err(io::Error::other)??;
        let inner = Inner {
            journal: Arc::new(tokio::sync::Mutex::new(journal)),
            traces: RwLock::new(traces),
            samplers: Mutex::default(),
            forward: collector.map(Forward::start),
            clock,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Sends on to the collector what waits for it, within a bound of time. Nothing may be put any more.
    pub async fn close(&self) {
        if let Some(forward) = &self.inner.forward {
            forward.close(FORWARD_TIME_MAX).await;
        }
    }
}

impl Inner {
    /// Milliseconds since the epoch.
    fn now(&self) -> u64 {
        u64::try_from((self.clock)().as_millis()).unwrap_or(0)
    }
}

/// Carries out each operation with the function of the same name in its family's module.
macro_rules! operations {
    ($($family:ident::$name:ident($input:ident) -> $output:ident),* $(,)?) => {
        impl xray::Xray for XRay {
            $(async fn $name(&self, caller: &Caller, input: $input) -> Result<$output, Fault> {
                $family::$name(&self.inner, caller, input).await
            })*
        }
    };
}

operations!(
    graph::get_service_graph(GetServiceGraphRequest) -> GetServiceGraphResult,
    put::put_telemetry_records(PutTelemetryRecordsRequest) -> PutTelemetryRecordsResult,
    put::put_trace_segments(PutTraceSegmentsRequest) -> PutTraceSegmentsResult,
    read::batch_get_traces(BatchGetTracesRequest) -> BatchGetTracesResult,
    read::get_trace_summaries(GetTraceSummariesRequest) -> GetTraceSummariesResult,
    sampling::get_sampling_rules(GetSamplingRulesRequest) -> GetSamplingRulesResult,
    sampling::get_sampling_targets(GetSamplingTargetsRequest) -> GetSamplingTargetsResult,
);
