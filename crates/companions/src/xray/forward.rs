//! Sends segments on to a collector, as OTLP over HTTP.
//!
//! What waits is in memory and has a bound of number and bytes: beyond it the oldest go. They and what the collector does
//! not take are counted, in the log and in a metric; here they are kept all the same. What waits when the program ends is
//! sent within a bound of time.

mod waiting;

use std::sync::Arc;
use std::time::Duration;

use gantry_domain::networks::Network;
use gantry_domain::trace::otlp;
use gantry_protocol::endpoint::chain;
use parking_lot::Mutex;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{StatusCode, Url};
use serde_json::Value;
use tokio::sync::Notify;

use crate::background::Background;
use crate::outbound::{self, Outbound};
pub(super) use waiting::Document;
use waiting::Waiting;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Pauses between tries double from the first to the last.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A batch that was refused so often is dropped: the next may be taken. Some five minutes.
const TRIES_MAX: u32 = 10;
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Segments that were not forwarded, and spans that the collector did not want.
const SEGMENTS_DROPPED: &str = "gantry_traces_segments_not_forwarded_total";
const SPANS_REFUSED: &str = "gantry_traces_spans_refused_total";

/// The way to a collector; ends when it is dropped.
pub(super) struct Forward {
    queue: Arc<Queue>,
    _worker: Background,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// Something was added.
    more: Notify,
    /// A batch is over.
    over: Notify,
    /// The program ends: there is no later time to try again.
    ending: Notify,
}

struct Worker {
    queue: Arc<Queue>,
    url: Url,
    client: Outbound,
}

/// Why a batch was not taken.
enum Refused {
    ForNow { why: String, pause: Option<Duration> },
    ForGood(String),
}

impl Forward {
    /// Begins to send to where a collector takes traces.
    pub(super) fn start(url: Url) -> Self {
        let queue = Arc::new(Queue::default());
        // A metric that is nought can be watched.
        metrics::counter!(SEGMENTS_DROPPED).increment(0);
        metrics::counter!(SPANS_REFUSED).increment(0);
        // The operator named the address, so any will do.
        let worker = Worker { queue: Arc::clone(&queue), url, client: Outbound::new(Network::Special) };
        Self { queue, _worker: Background::run(worker.run()) }
    }

    /// Takes documents, without waiting for anything.
    pub(super) fn take(&self, documents: Vec<Document>) {
        self.queue.waiting.lock().add(documents);
        self.queue.more.notify_one();
    }

    /// Sends what waits, for at most `time_max`; a collector that was away is asked once more at once. What it does not
    /// have then is counted as dropped.
    pub(super) async fn close(&self, time_max: Duration) {
        self.queue.ending.notify_one();
        let sent = async {
            loop {
                let over = self.queue.over.notified();
                if self.queue.waiting.lock().len() == 0 {
                    return;
                }
                over.await;
            }
        };
        if tokio::time::timeout(time_max, sent).await.is_err() {
            let dropped = self.queue.waiting.lock().len();
            count_dropped(dropped as u64);
            tracing::warn!(dropped, "segments were not forwarded before the end");
        }
    }
}

fn count_dropped(segments: u64) {
    metrics::counter!(SEGMENTS_DROPPED).increment(segments);
}

impl Worker {
    async fn run(self) {
        loop {
            let batch = self.queue.waiting.lock().batch();
            if batch.is_empty() {
                self.queue.more.notified().await;
                continue;
            }
            self.send(batch).await;
            self.queue.waiting.lock().batch_is_over();
            self.queue.over.notify_waiters();
            self.tell_dropped();
        }
    }

    fn tell_dropped(&self) {
        let dropped = self.queue.waiting.lock().take_dropped();
        if dropped > 0 {
            count_dropped(dropped);
            tracing::warn!(
                collector = self.host(),
                dropped,
                "segments were not forwarded: too many waited, the oldest went"
            );
        }
    }

    /// What of the address the log may show: the rest may have credentials.
    fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    async fn send(&self, batch: Vec<Document>) {
        let segments = batch.len();
        let as_otlp = move || otlp::export(batch.iter().map(|one| (&one.scope, one.text.as_str()))).to_string();
        let body = match tokio::task::spawn_blocking(as_otlp).await {
            Ok(body) => body,
            Err(error) => {
                count_dropped(segments as u64);
                return tracing::error!(%error, dropped = segments, "segments were not made into spans");
            }
        };
        for tries in 1.. {
            match self.post(body.clone()).await {
                Ok(()) if tries == 1 => return,
                Ok(()) => return tracing::info!(collector = self.host(), tries, "the collector takes segments again"),
                Err(Refused::ForNow { why, pause: asked }) if tries < TRIES_MAX => {
                    if tries == 1 {
                        tracing::warn!(collector = self.host(), why, "the collector takes no segments for now");
                    }
                    self.tell_dropped();
                    tokio::select! {
                        () = tokio::time::sleep(pause(tries, asked)) => {}
                        () = self.queue.ending.notified() => {}
                    }
                }
                Err(Refused::ForNow { why, .. } | Refused::ForGood(why)) => {
                    count_dropped(segments as u64);
                    tracing::warn!(
                        collector = self.host(),
                        why,
                        tries,
                        dropped = segments,
                        "segments were not forwarded"
                    );
                    return;
                }
            }
        }
    }

    async fn post(&self, body: String) -> Result<(), Refused> {
        let request = self.client.post(self.url.clone(), REQUEST_TIMEOUT);
        let request = request.map_err(|error| Refused::ForGood(error.to_string()))?;
        let answer = request.header(CONTENT_TYPE, "application/json").body(body).send().await;
        let answer = answer.map_err(|error| Refused::ForNow { why: chain(&error.without_url()), pause: None })?;
        let status = answer.status();
        let pause = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        // Without its words the status says enough.
        let text = outbound::body(answer, ANSWER_BYTES_MAX).await.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        if status.is_success() {
            tell_partial(&text);
            return Ok(());
        }
        let why = format!("it answered {status} {text}");
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {}
            status if status.is_server_error() => {}
            _ => return Err(Refused::ForGood(why)),
        }
        Err(Refused::ForNow { why, pause: pause.map(Duration::from_secs) })
    }
}

/// How long to wait after so many tries: what the collector asked for, or twice as long as before.
fn pause(tries: u32, asked: Option<Duration>) -> Duration {
    let doubled = PAUSE_FIRST.saturating_mul(1 << tries.saturating_sub(1).min(16));
    asked.unwrap_or(doubled).min(PAUSE_MAX)
}

/// A collector may take some of what it was sent.
fn tell_partial(answer: &str) {
    // No body, or one in another encoding, says that it took all.
    let answer: Value = serde_json::from_str(answer).unwrap_or_default();
    let partial = &answer["partialSuccess"];
    let rejected = &partial["rejectedSpans"];
    let rejected = rejected.as_u64().or_else(|| rejected.as_str()?.parse().ok()).unwrap_or(0);
    if rejected > 0 {
        let why = partial["errorMessage"].as_str().unwrap_or_default();
        metrics::counter!(SPANS_REFUSED).increment(rejected);
        tracing::warn!(dropped = rejected, why, "the collector did not take some spans");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_unless_the_collector_says_how_long() {
        let seconds = |tries, asked: Option<u64>| pause(tries, asked.map(Duration::from_secs)).as_secs();
        assert_eq!([1, 2, 3, 7, 10, u32::MAX].map(|tries| seconds(tries, None)), [1, 2, 4, 60, 60, 60]);
        assert_eq!([0, 5, 3600].map(|asked| seconds(4, Some(asked))), [0, 5, 60]);
    }
}
