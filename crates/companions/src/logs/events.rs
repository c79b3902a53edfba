//! Where log events are kept: segment files per stream below one directory, and a journal that makes them durable.
//!
//! ```text
//! ROOT/journal-0000000007        every block since the last checkpoint, synced once per group
//! ROOT/GROUP/STREAM/000…042.seg  the stream's events from number 42 on, not synced until a checkpoint
//! ROOT/trash/                    deleted streams whose files are being removed
//! ```
//!
//! What must hold: an append is in a synced journal or a synced segment when it is answered; readers see only what is;
//! a crash at any moment loses nothing answered; memory does not grow with the number of events or streams.
//! Groups and streams are numbers here. Their names, and whether they exist, are rows of the store.

mod block;
mod journal;
mod recover;
mod segment;
mod select;
mod stream;
mod streams;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use block::Body;
use journal::{Checkpointer, Journal};
pub(super) use select::{Found, Order, Position, Selected, Selection};
pub(super) use stream::StreamId;
use streams::Streams;
use writer::{Queue, Request, Writer};

/// Selections that may run at once; each holds some mebibytes.
const SELECTIONS_MAX: usize = 16;

/// See the module. Shared behind an `Arc`.
#[derive(Debug)]
pub(super) struct Events {
    root: PathBuf,
    queue: Arc<Queue>,
    streams: Arc<Streams>,
    writer: Mutex<Option<JoinHandle<()>>>,
    selections: Arc<Semaphore>,
}

/// Why events were not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum AppendError {
    /// The stream was deleted meanwhile.
    #[error("the stream was deleted")]
    Deleted,
    /// The disk is full or broken.
    #[error("log events cannot be written")]
    Disk(#[source] io::Error),
    /// The program is about to end.
    #[error("the log events are closed")]
    Closed,
}

/// What is known of a stream without reading its events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) first_timestamp: Option<u64>,
    pub(super) last_timestamp: Option<u64>,
    pub(super) last_ingestion: Option<u64>,
    /// Bytes on disk.
    pub(super) bytes: u64,
}

impl Events {
    /// Opens the directory, creating it when absent, and repairs what a crash left. Blocks.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        streams::empty_trash(root);
        let streams = Arc::new(Streams::new(root));
        let next_journal = recover::recover(root, &streams)?;
        let queue = Arc::new(Queue::new());
        let writer = Writer {
            queue: queue.clone(),
            streams: streams.clone(),
            journal: Journal::create(root, next_journal)?,
            checkpointer: Checkpointer::start()?,
            open_files: VecDeque::new(),
            failed: None,
        };
        let writer = std::thread::Builder::new().name("logs-writer".to_owned()).spawn(|| writer.run())?;
        Ok(Self {
            root: root.to_owned(),
            queue,
            streams,
            writer: Mutex::new(Some(writer)),
            selections: Arc::new(Semaphore::new(SELECTIONS_MAX)),
        })
    }

    /// Appends events (timestamp and message, at least one), in the order given; durable when this returns.
    pub(super) async fn append(&self, stream: StreamId, now: u64, events: &[(u64, String)]) -> Result<(), AppendError> {
        let body = Body::new(now, events);
        let kib = body.block_len() / 1024 + 1;
        let answer = self.queue.call(kib, |reply| Request::Append { stream, body, now, reply }).await;
        answer.unwrap_or(Err(AppendError::Closed))
    }

    /// Finds the events whose message is `wanted`.
    pub(super) async fn select(
        &self,
        selection: Selection,
        wanted: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> io::Result<Selected> {
        let _permit = self.selections.acquire().await.map_err(io::Error::other)?;
        let streams = self.streams.clone();
        let run = move || select::select(&streams, &selection, &wanted);
        tokio::task::spawn_blocking(run).await.map_err(io::Error::other)?
    }

    /// What is known of streams, in their order.
    pub(super) async fn summaries(&self, ids: Vec<StreamId>) -> io::Result<Vec<Summary>> {
        let streams = self.streams.clone();
        let run = move || ids.into_iter().map(|id| Ok(summary(&*streams.get(id)?))).collect();
        tokio::task::spawn_blocking(run).await.map_err(io::Error::other)?
    }

    /// Deletes the parts of a stream whose every event is older than `cutoff`; bytes freed.
    pub(super) async fn expire(&self, stream: StreamId, cutoff: u64) -> io::Result<u64> {
        self.queue.call(1, |reply| Request::Expire { stream, cutoff, reply }).await.unwrap_or_else(closed)
    }

    /// Deletes a stream's events.
    pub(super) async fn delete_stream(&self, stream: StreamId) -> io::Result<()> {
        self.queue.call(1, |reply| Request::DeleteStream { stream, reply }).await.unwrap_or_else(closed)
    }

    /// Deletes the events of all streams of a group.
    pub(super) async fn delete_group(&self, group: u64) -> io::Result<()> {
        self.queue.call(1, |reply| Request::DeleteGroup { group, reply }).await.unwrap_or_else(closed)
    }

    /// The groups, or the streams of a group, that have a directory. Blocks.
    pub(super) fn directories(&self, group: Option<u64>) -> io::Result<Vec<u64>> {
        let directory = group.map_or_else(|| self.root.clone(), |group| stream::group_directory(&self.root, group));
        let mut found = Vec::new();
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name();
            let number = name.to_str().filter(|name| name.len() == 16).map(|name| u64::from_str_radix(name, 16));
            found.extend(number.and_then(Result::ok));
        }
        Ok(found)
    }

    /// Finishes what is queued and syncs it, so that the next start has nothing to repair. Blocks.
    pub(super) fn close(&self) {
        self.queue.close();
        let writer = self.writer.lock().take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the writer of log events ended with a panic");
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.close();
    }
}

fn summary(stream: &stream::Stream) -> Summary {
    let mut summary = Summary::default();
    stream.for_each_segment(|segment| {
        summary.bytes += segment.len;
        if segment.len > 0 {
            let first = summary.first_timestamp.map_or(segment.min, |first| first.min(segment.min));
            summary.first_timestamp = Some(first);
            summary.last_timestamp = summary.last_timestamp.max(Some(segment.max));
            summary.last_ingestion = summary.last_ingestion.max(Some(segment.last_ingestion));
        }
    });
    summary
}

fn closed<T>() -> io::Result<T> {
    Err(io::Error::other("the log events are closed"))
}
