//! What containers print: where the shim writes it, and its delivery to CloudWatch Logs.

use std::{path::PathBuf, sync::Arc};

use gantry_runtime::container::LogFile;

use crate::{
    aws::AwsClient,
    reason::ContainerReason,
    task::{LaunchType, LogConfiguration, TaskSpec},
};

pub(crate) struct Logs {
    _client: Option<Arc<AwsClient>>,
}

impl Logs {
    pub(crate) fn new(client: Option<Arc<AwsClient>>) -> Self {
        Self { _client: client }
    }

    /// Makes the log stream before the container starts.
    pub(crate) async fn prepare(&self, _task: &TaskSpec, _index: usize) -> Result<(), ContainerReason> {
        Ok(())
    }

    /// Delivers what the container prints from now on, and what it printed before.
    pub(crate) fn follow(&self, _task: &TaskSpec, _index: usize, _id: &str) {}

    /// Waits until everything is delivered, or for a bounded time.
    pub(crate) async fn flush(&self, _id: &str) {}

    /// Removes log files.
    pub(crate) async fn forget(&self, _ids: &[String]) {}
}

/// Where the shim writes, and how much of it is kept.
pub(crate) fn log_file_of(_log: &LogConfiguration, _launch_type: LaunchType, path: PathBuf) -> LogFile {
    LogFile { path, max_bytes: Some(16 << 20), max_files: 4 }
}
