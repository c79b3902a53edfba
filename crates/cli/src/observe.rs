//! Logs and metrics of a running role.

use std::io::IsTerminal;

use anyhow::{Context, Result};
use gantry_protocol::endpoint::Observer;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::arguments::LogFormat;

/// Starts logging to standard error.
pub(crate) fn start_logging(level: Option<&str>, format: Option<LogFormat>, default_level: &str) -> Result<()> {
    let filter = EnvFilter::try_new(level.unwrap_or(default_level)).context("log-level")?;
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json }) {
        LogFormat::Text => builder.with_ansi(terminal).with_target(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).init(),
    }
    Ok(())
}

/// Seconds; from a fast read to a large push.
const LATENCY_BUCKETS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Installs the process's metrics and returns what `/metrics` prints.
pub(crate) fn start_metrics() -> Result<PrometheusHandle> {
    PrometheusBuilder::new()
        .set_buckets(LATENCY_BUCKETS)
        .context("metrics buckets")?
        .install_recorder()
        .context("metrics are already installed")
}

/// Counts API requests.
pub(crate) struct RequestMetrics;

impl Observer for RequestMetrics {
    fn request(&self, service: &'static str, operation: &'static str, status: u16, seconds: f64) {
        let class = match status {
            200..=299 => "2xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        metrics::counter!("gantry_api_requests_total", "service" => service, "operation" => operation, "status" => class)
            .increment(1);
        metrics::histogram!("gantry_api_request_seconds", "service" => service).record(seconds);
    }
}
