//! CloudWatch Logs: groups, streams, events.

use std::path::PathBuf;
use std::sync::Arc;

use gantry_api::logs;
use gantry_domain::Timestamp;
use gantry_store::Store;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The service. Clones share it.
#[derive(Clone)]
pub struct Logs {}

/// Why the service could not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system said no.
    #[error("cannot open the log events in {path}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
}

impl Logs {
    /// Opens the service: groups and streams are rows of `store` below `/logs/`, events are files below `directory`,
    /// which is created when absent.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub async fn open(store: Store, directory: PathBuf, clock: Clock) -> Result<Self, OpenError> {
        let _ = (store, directory, clock);
        Ok(Self {})
    }

    /// Finishes what is queued and makes the next start quick.
    pub async fn close(&self) {}
}

impl logs::Logs for Logs {}
