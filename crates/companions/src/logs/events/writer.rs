//! The one thread that changes files: appends what waits to the segments, makes it durable through the journal as one
//! group, then lets readers see it and answers.
//!
//! Deletions and retention go through the same queue, so that nothing is deleted under a commit.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::AppendError;
use super::block::Body;
use super::journal::{self, Checkpointer, Journal, JournalError};
use super::stream::{Stream, StreamId};
use super::streams::Streams;

/// What may wait for the writer, in KiB of events. Beyond it callers wait, and in the end their clients.
const QUEUE_KIB_MAX: usize = 32 << 10;
/// Most bytes and requests in one group.
const GROUP_BYTES_MAX: usize = 8 << 20;
const GROUP_REQUESTS_MAX: usize = 1024;
/// Segments kept open for writing.
const OPEN_FILES_MAX: usize = 256;

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Request {
    Append {
        stream: StreamId,
        body: Body,
        now: u64,
        reply: oneshot::Sender<Result<(), AppendError>>,
    },
    /// Delete what is older than `cutoff`; answers the bytes freed.
    Expire {
        stream: StreamId,
        cutoff: u64,
        reply: oneshot::Sender<io::Result<u64>>,
    },
    DeleteStream {
        stream: StreamId,
        reply: oneshot::Sender<io::Result<()>>,
    },
    DeleteGroup {
        group: u64,
        reply: oneshot::Sender<io::Result<()>>,
    },
}

/// The bounded queue between many tasks and the writer.
#[derive(Debug)]
pub(super) struct Queue {
    room: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    requests: VecDeque<(Request, OwnedSemaphorePermit)>,
    closed: bool,
}

impl Queue {
    pub(super) fn new() -> Self {
        let room = Arc::new(Semaphore::new(QUEUE_KIB_MAX));
        Self { room, waiting: Mutex::default(), arrived: Condvar::new() }
    }

    /// Enqueues when there is room and waits for the answer; nothing when the writer has ended.
    pub(super) async fn call<T>(&self, kib: usize, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let kib = u32::try_from(kib.clamp(1, QUEUE_KIB_MAX)).ok()?;
        let permit = self.room.clone().acquire_many_owned(kib).await.ok()?;
        let (reply, answer) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock();
            if waiting.closed {
                return None;
            }
            waiting.requests.push_back((request(reply), permit));
        }
        self.arrived.notify_one();
        answer.await.ok()
    }

    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.arrived.notify_one();
    }

    /// Waits for requests and takes a group; nothing when closed and empty.
    fn take(&self) -> Option<Vec<Request>> {
        let mut waiting = self.waiting.lock();
        while waiting.requests.is_empty() {
            if waiting.closed {
                return None;
            }
            self.arrived.wait(&mut waiting);
        }
        let mut group = Vec::new();
        let mut bytes = 0;
        while group.len() < GROUP_REQUESTS_MAX && bytes < GROUP_BYTES_MAX {
            let Some((request, _permit)) = waiting.requests.pop_front() else { break };
            if let Request::Append { body, .. } = &request {
                bytes += body.block_len();
            }
            group.push(request);
        }
        Some(group)
    }
}

/// What the writer thread works on.
pub(super) struct Writer {
    pub(super) queue: Arc<Queue>,
    pub(super) streams: Arc<Streams>,
    pub(super) journal: Journal,
    pub(super) checkpointer: Checkpointer,
    /// Streams with an open file, the one used last at the back.
    pub(super) open_files: VecDeque<Arc<Stream>>,
    /// The disk failed in a way that only a restart can sort out.
    pub(super) failed: Option<String>,
}

/// Appends of a group that wait for the journal.
#[derive(Default)]
struct Commit {
    group: Vec<u8>,
    segments: Vec<PathBuf>,
    streams: BTreeMap<StreamId, Arc<Stream>>,
    replies: Vec<oneshot::Sender<Result<(), AppendError>>>,
}

impl Writer {
    /// Works until the queue is closed and empty, then leaves everything synced.
    pub(super) fn run(mut self) {
        while let Some(requests) = self.queue.take() {
            let mut commit = Commit::default();
            for request in requests {
                if let Request::Append { stream, body, now, reply } = request {
                    self.append(stream, &body, now, reply, &mut commit);
                } else {
                    self.commit(std::mem::take(&mut commit));
                    self.change(request);
                }
            }
            self.commit(commit);
        }
        self.checkpointer.stop();
        if self.failed.is_none()
            && let Err(error) = self.journal.finish()
        {
            tracing::warn!(%error, "log events cannot be synced; the next start does it");
        }
    }

    fn append(
        &mut self,
        id: StreamId,
        body: &Body,
        now: u64,
        reply: oneshot::Sender<Result<(), AppendError>>,
        commit: &mut Commit,
    ) {
        match self.append_unpublished(id, body, now, commit) {
            Ok(()) => commit.replies.push(reply),
            Err(error) => {
                // Whoever asked may have gone away.
                let _ = reply.send(Err(error));
            }
        }
    }

    fn append_unpublished(
        &mut self,
        id: StreamId,
        body: &Body,
        now: u64,
        commit: &mut Commit,
    ) -> Result<(), AppendError> {
        if let Some(reason) = &self.failed {
            return Err(AppendError::Disk(io::Error::other(reason.clone())));
        }
        let stream = self.streams.get(id).map_err(AppendError::Disk)?;
        if stream.is_deleted() {
            return Err(AppendError::Deleted);
        }
        let mut block = Vec::with_capacity(body.block_len());
        let segment = stream.append(body, now, &mut block).map_err(AppendError::Disk)?;
        journal::encode(id, &block, &mut commit.group);
        self.note_open(&stream);
        if commit.segments.last() != Some(&segment) {
            commit.segments.push(segment);
        }
        commit.streams.entry(id).or_insert(stream);
        Ok(())
    }

    fn commit(&mut self, commit: Commit) {
        if commit.replies.is_empty() {
            return;
        }
        match self.journal.commit(&commit.group, commit.segments) {
            Ok(()) => {
                commit.streams.values().for_each(|stream| stream.publish());
                commit.replies.into_iter().for_each(|reply| drop(reply.send(Ok(()))));
                self.rotate_when_full();
            }
            Err(error) => {
                commit.streams.values().for_each(|stream| stream.roll_back());
                let error = self.note_failure(error);
                let again = |error: &io::Error| io::Error::new(error.kind(), error.to_string());
                commit.replies.into_iter().for_each(|reply| drop(reply.send(Err(AppendError::Disk(again(&error))))));
            }
        }
    }

    fn note_failure(&mut self, error: JournalError) -> io::Error {
        match error {
            JournalError::NotWritten(error) => error,
            JournalError::Unknown(error) => {
                tracing::error!(%error, "the disk of the log events failed; restart when it is repaired");
                self.failed = Some(error.to_string());
                error
            }
        }
    }

    fn rotate_when_full(&mut self) {
        if self.journal.is_full()
            && let Err(error) = self.journal.rotate(&self.checkpointer)
        {
            tracing::warn!(%error, "cannot begin a new journal of log events; the old one grows");
        }
    }

    fn change(&mut self, request: Request) {
        // In each case, whoever asked may have gone away.
        match request {
            Request::Expire { stream, cutoff, reply } => {
                let expired = self.streams.get(stream).and_then(|stream| stream.expire(cutoff));
                let _ = reply.send(expired);
            }
            Request::DeleteStream { stream, reply } => {
                let _ = reply.send(self.streams.delete_stream(stream));
            }
            Request::DeleteGroup { group, reply } => {
                let _ = reply.send(self.streams.delete_group(group));
            }
            Request::Append { .. } => unreachable!("appends are committed, not changed"),
        }
    }

    /// Keeps the number of open files bounded: closes the one that was not written for longest.
    fn note_open(&mut self, stream: &Arc<Stream>) {
        if self.open_files.back().is_some_and(|last| Arc::ptr_eq(last, stream)) {
            return;
        }
        if let Some(at) = self.open_files.iter().position(|open| Arc::ptr_eq(open, stream)) {
            self.open_files.remove(at);
        }
        self.open_files.push_back(stream.clone());
        if self.open_files.len() > OPEN_FILES_MAX
            && let Some(oldest) = self.open_files.pop_front()
        {
            oldest.close_file();
        }
    }
}
