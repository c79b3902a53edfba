//! Streaming a blob from its file: large reads on the blocking pool, the next one begun while the last is being sent.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

/// Bytes read at once. Large enough that the hop to the blocking pool (some 10 µs) does not count, small enough that
/// a hundred slow readers cost tens of megabytes and no more.
const READ_SIZE: usize = 512 * 1024;
/// Buffers kept for reuse; more are freed. Reuse saves zeroing and page faults on fresh memory.
const SPARE_BUFFERS_MAX: usize = 8;

/// A blob's bytes, whole or from memory.
pub struct BlobStream {
    size: u64,
    source: Source,
}

enum Source {
    Memory(Option<Bytes>),
    File { file: Arc<File>, rest: Range<u64>, next: Option<JoinHandle<io::Result<Bytes>>>, pool: BufferPool },
}

impl BlobStream {
    pub(super) fn from_bytes(bytes: Bytes) -> Self {
        Self { size: bytes.len() as u64, source: Source::Memory(Some(bytes)) }
    }

    pub(super) fn from_file(file: File, range: Range<u64>, pool: &BufferPool) -> Self {
        let size = range.end - range.start;
        Self { size, source: Source::File { file: Arc::new(file), rest: range, next: None, pool: pool.clone() } }
    }

    /// Bytes this stream will yield.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes, when they are all in memory already; the stream is then used up.
    pub fn take_memory(&mut self) -> Option<Bytes> {
        match &mut self.source {
            Source::Memory(bytes) => bytes.take(),
            Source::File { .. } => None,
        }
    }
}

impl Stream for BlobStream {
    type Item = io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let (file, rest, next, pool) = match &mut self.get_mut().source {
            Source::Memory(bytes) => return Poll::Ready(bytes.take().map(Ok)),
            Source::File { file, rest, next, pool } => (file, rest, next, pool),
        };
        let Some(mut reading) = next.take().or_else(|| read_next(file, rest, pool)) else { return Poll::Ready(None) };
        let outcome = match Pin::new(&mut reading).poll(context) {
            Poll::Pending => {
                *next = Some(reading);
                return Poll::Pending;
            }
            Poll::Ready(outcome) => outcome.map_err(io::Error::other).and_then(|read| read),
        };
        match outcome {
            Ok(bytes) => {
                *next = read_next(file, rest, pool);
                Poll::Ready(Some(Ok(bytes)))
            }
            Err(error) => {
                // After an error nothing more may follow: the client must see a broken body, not a shorter one.
                *rest = 0..0;
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}

/// Begins to read the next piece, if there is one.
fn read_next(file: &Arc<File>, rest: &mut Range<u64>, pool: &BufferPool) -> Option<JoinHandle<io::Result<Bytes>>> {
    if rest.is_empty() {
        return None;
    }
    let start = rest.start;
    let length = (rest.end - start).min(READ_SIZE as u64) as usize;
    rest.start += length as u64;
    let (file, pool) = (Arc::clone(file), pool.clone());
    Some(tokio::task::spawn_blocking(move || {
        let mut buffer = pool.take();
        file.read_exact_at(&mut buffer.bytes[..length], start)?;
        buffer.length = length;
        Ok(Bytes::from_owner(buffer))
    }))
}

/// Reusable read buffers.
#[derive(Clone, Default)]
pub(super) struct BufferPool(Arc<Mutex<Vec<Box<[u8]>>>>);

impl BufferPool {
    fn take(&self) -> PooledBuffer {
        let bytes = self.0.lock().pop().unwrap_or_else(|| vec![0; READ_SIZE].into_boxed_slice());
        PooledBuffer { bytes, length: 0, pool: self.clone() }
    }
}

/// A buffer that goes back to its pool when the last reference to it is dropped.
struct PooledBuffer {
    bytes: Box<[u8]>,
    length: usize,
    pool: BufferPool,
}

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        let mut spare = self.pool.0.lock();
        if spare.len() < SPARE_BUFFERS_MAX {
            spare.push(std::mem::take(&mut self.bytes));
        }
    }
}
