//! Streams a blob to whoever reads it on a thread: received and hashed here, never kept.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use reqwest::{Method, StatusCode, header::CONTENT_RANGE};
use tokio::sync::mpsc;

use super::{Attempt, Session, broken, missing_blob};
use crate::image::{PullProgress, digest::Hasher, failure::Failure, manifest::Descriptor};

/// Chunks on their way to the reader.
const QUEUE: usize = 32;
/// A try that brought this much counts as a success, so that a large layer over a bad line arrives in the end, and
/// a registry that sends a byte per try does not keep us for ever.
const PROGRESS_BYTES: u64 = 1 << 20;

/// Where a blob goes.
pub(in crate::image) struct BlobSender(Option<mpsc::Sender<Option<Bytes>>>);

/// The blob as it arrives. Ends only when all of it has arrived and had the right digest; a download that was given up
/// is an error.
pub(in crate::image) struct BlobReader {
    chunks: mpsc::Receiver<Option<Bytes>>,
    chunk: Bytes,
    ended: bool,
}

/// A sender and its reader.
pub(in crate::image) fn pipe() -> (BlobSender, BlobReader) {
    let (sender, chunks) = mpsc::channel(QUEUE);
    (BlobSender(Some(sender)), BlobReader { chunks, chunk: Bytes::new(), ended: false })
}

impl BlobSender {
    /// When the reader has gone away it had a reason; the blob is received to its end all the same, because only its
    /// digest tells whether it was the transfer or the content that was wrong.
    async fn push(&mut self, chunk: Option<Bytes>) {
        if let Some(sender) = &self.0
            && sender.send(chunk).await.is_err()
        {
            self.0 = None;
        }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() && !self.ended {
            match self.chunks.blocking_recv() {
                Some(Some(chunk)) => self.chunk = chunk,
                Some(None) => self.ended = true,
                None => return Err(io::Error::other("the download was given up")),
            }
        }
        let length = self.chunk.len().min(buffer.len());
        self.chunk.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// How far a blob has arrived.
struct Arrived {
    bytes: u64,
    hasher: Hasher,
}

impl Session<'_> {
    /// Fetches the blob `descriptor` into `sink` and checks size and digest.
    pub(in crate::image) async fn blob(
        &self,
        descriptor: &Descriptor,
        mut sink: BlobSender,
        progress: &dyn PullProgress,
    ) -> Result<(), Failure> {
        let mut arrived = Arrived { bytes: 0, hasher: Hasher::like(&descriptor.digest) };
        let mut tries = self.tries();
        loop {
            let before = arrived.bytes;
            let result = self.stream(descriptor, &mut arrived, &mut sink, progress).await;
            if arrived.bytes >= before + PROGRESS_BYTES {
                tries.failures = 0;
            }
            if tries.settle(result).await?.is_some() {
                break;
            }
        }
        let digest = arrived.hasher.finish();
        if digest != descriptor.digest {
            return Err(Failure::corrupt(format!("blob {} arrived with digest {digest}", descriptor.digest)));
        }
        sink.push(None).await;
        Ok(())
    }

    async fn stream(
        &self,
        descriptor: &Descriptor,
        arrived: &mut Arrived,
        sink: &mut BlobSender,
        progress: &dyn PullProgress,
    ) -> Result<(), Attempt> {
        let (digest, size) = (&descriptor.digest, descriptor.size);
        let from = (arrived.bytes > 0).then(|| format!("bytes={}-", arrived.bytes));
        let mut response =
            self.get(Method::GET, &format!("blobs/{digest}"), from.as_deref()).await.map_err(missing_blob(digest))?;
        // A registry without ranges begins again: what was passed on already is left out.
        let mut position = if continues_at(&response, arrived.bytes) { arrived.bytes } else { 0 };
        loop {
            let mut chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                // Everything is here; how the connection ends does not matter.
                Err(_) if position == size => break,
                Err(error) => return Err(broken(&error)),
            };
            let repeated = arrived.bytes.saturating_sub(position);
            position += chunk.len() as u64;
            if position > size {
                return Err(Failure::corrupt(format!("blob {digest} is longer than its {size} bytes")).into());
            }
            chunk.advance(usize::try_from(repeated).unwrap_or(usize::MAX).min(chunk.len()));
            if chunk.is_empty() {
                continue;
            }
            arrived.bytes = position;
            arrived.hasher.update(&chunk);
            sink.push(Some(chunk)).await;
            progress.blob(digest, position, size);
        }
        if position < size {
            return Err(Failure::corrupt(format!("blob {digest} ends after {position} of {size} bytes")).into());
        }
        Ok(())
    }
}

pub(super) fn continues_at(response: &reqwest::Response, offset: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    response.status() == StatusCode::PARTIAL_CONTENT
        && range.is_some_and(|range| range.trim_start().starts_with(&format!("bytes {offset}-")))
}
