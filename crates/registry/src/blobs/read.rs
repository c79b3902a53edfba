//! Streaming a blob from its file, window by window; the next one is opened while the last is being sent.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::BoxStream;
use tokio::task::JoinHandle;

use super::window;

/// Bytes of a window. Large enough that opening one (some 30 µs) does not count, small enough that a hundred slow
/// readers hold 200 MiB of the page cache and no memory of ours. A multiple of every page size.
const WINDOW_SIZE: u64 = 1024 * 1024;

/// A blob's bytes.
pub struct BlobStream {
    size: u64,
    source: Source,
}

enum Source {
    Memory(Option<Bytes>),
    File {
        file: Arc<File>,
        rest: Range<u64>,
        next: Option<JoinHandle<io::Result<Bytes>>>,
    },
    /// From elsewhere; `left` bytes must still come.
    Remote {
        stream: BoxStream<'static, io::Result<Bytes>>,
        left: u64,
    },
}

impl BlobStream {
    pub(super) fn from_bytes(bytes: Bytes) -> Self {
        Self { size: bytes.len() as u64, source: Source::Memory(Some(bytes)) }
    }

    pub(super) fn from_file(file: File, range: Range<u64>) -> Self {
        let size = range.end - range.start;
        Self { size, source: Source::File { file: Arc::new(file), rest: range, next: None } }
    }

    /// `size` bytes from a service. One that ends early is an error, never a shorter blob.
    pub(super) fn from_stream(stream: BoxStream<'static, io::Result<Bytes>>, size: u64) -> Self {
        Self { size, source: Source::Remote { stream, left: size } }
    }

    /// Bytes this stream will yield.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes, when they are all in memory already; the stream is then used up.
    pub fn take_memory(&mut self) -> Option<Bytes> {
        match &mut self.source {
            Source::Memory(bytes) => bytes.take(),
            Source::File { .. } | Source::Remote { .. } => None,
        }
    }
}

impl Stream for BlobStream {
    type Item = io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let (file, rest, next) = match &mut self.get_mut().source {
            Source::Memory(bytes) => return Poll::Ready(bytes.take().map(Ok)),
            Source::Remote { stream, left } => return poll_remote(stream, left, context),
            Source::File { file, rest, next } => (file, rest, next),
        };
        let Some(mut reading) = next.take().or_else(|| read_next(file, rest)) else { return Poll::Ready(None) };
        let outcome = match Pin::new(&mut reading).poll(context) {
            Poll::Pending => {
                *next = Some(reading);
                return Poll::Pending;
            }
            Poll::Ready(outcome) => outcome.map_err(io::Error::other).and_then(|read| read),
        };
        match outcome {
            Ok(bytes) => {
                *next = read_next(file, rest);
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

fn poll_remote(
    stream: &mut BoxStream<'static, io::Result<Bytes>>,
    left: &mut u64,
    context: &mut Context<'_>,
) -> Poll<Option<io::Result<Bytes>>> {
    if *left == 0 {
        return Poll::Ready(None);
    }
    let outcome = match ready!(stream.as_mut().poll_next(context)) {
        Some(Ok(bytes)) if bytes.len() as u64 <= *left => {
            *left -= bytes.len() as u64;
            return Poll::Ready(Some(Ok(bytes)));
        }
        Some(Err(error)) => Err(error),
        Some(Ok(_)) | None => Err(io::Error::other("the service sent another number of bytes than it said")),
    };
    *left = 0;
    Poll::Ready(Some(outcome))
}

/// Begins to read the next piece, if there is one.
fn read_next(file: &Arc<File>, rest: &mut Range<u64>) -> Option<JoinHandle<io::Result<Bytes>>> {
    if rest.is_empty() {
        return None;
    }
    // Windows begin at multiples of their size, whatever the range.
    let aligned = rest.start - rest.start % WINDOW_SIZE;
    let piece = rest.start..rest.end.min(aligned + WINDOW_SIZE);
    rest.start = piece.end;
    let file = Arc::clone(file);
    Some(tokio::task::spawn_blocking(move || {
        // Lossless: a window is a mebibyte at most.
        let (skip, length) = ((piece.start - aligned) as usize, (piece.end - aligned) as usize);
        match window::open(&file, aligned, length) {
            Ok(bytes) => Ok(bytes.slice(skip..)),
            // An old kernel or a file system that cannot map; reading always works, and tells real trouble apart.
            Err(_) => {
                let mut bytes = vec![0; length - skip];
                file.read_exact_at(&mut bytes, piece.start)?;
                Ok(bytes.into())
            }
        }
    }))
}
