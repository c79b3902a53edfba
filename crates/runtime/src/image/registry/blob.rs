//! Streams a blob into a file: one task receives, a thread hashes and writes.

use std::{fs::File, io::Write, path::Path};

use bytes::Bytes;
use reqwest::{Method, StatusCode, header::CONTENT_RANGE};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{Attempt, Session, broken, missing_blob};
use crate::image::{PullProgress, digest::Hasher, failure::Failure, manifest::Descriptor};

/// Chunks on their way to the disk.
const QUEUE: usize = 32;
/// A try that brought this much counts as a success, so that a large layer over a bad line arrives in the end, and
/// a registry that sends a byte per try does not keep us for ever.
const PROGRESS_BYTES: u64 = 1 << 20;

enum Piece {
    Data(Bytes),
    /// The registry began again from the first byte.
    Restart,
}

impl Session<'_> {
    /// Fetches the blob `descriptor` into the new file `path` and checks size and digest.
    pub(in crate::image) async fn blob(
        &self,
        descriptor: &Descriptor,
        path: &Path,
        progress: &dyn PullProgress,
    ) -> Result<(), Failure> {
        let mut sink = Sink::start(path, &descriptor.digest)?;
        let (mut received, mut tries) = (0, self.tries());
        loop {
            let before = received;
            let result = self.stream(descriptor, &mut received, &mut sink, progress).await;
            if received >= before + PROGRESS_BYTES {
                tries.failures = 0;
            }
            if tries.settle(result).await?.is_some() {
                break;
            }
        }
        let digest = sink.finish().await?;
        if digest != descriptor.digest {
            return Err(Failure::corrupt(format!("blob {} arrived with digest {digest}", descriptor.digest)));
        }
        Ok(())
    }

    async fn stream(
        &self,
        descriptor: &Descriptor,
        received: &mut u64,
        sink: &mut Sink,
        progress: &dyn PullProgress,
    ) -> Result<(), Attempt> {
        let (digest, size) = (&descriptor.digest, descriptor.size);
        let from = (*received > 0).then_some(*received);
        let mut response =
            self.get(Method::GET, &format!("blobs/{digest}"), from).await.map_err(missing_blob(digest))?;
        if *received > 0 && !continues_at(&response, *received) {
            *received = 0;
            sink.push(Piece::Restart).await?;
        }
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                // Everything is here; how the connection ends does not matter.
                Err(_) if *received == size => break,
                Err(error) => return Err(broken(&error)),
            };
            *received += chunk.len() as u64;
            if *received > size {
                return Err(Failure::corrupt(format!("blob {digest} is longer than its {size} bytes")).into());
            }
            sink.push(Piece::Data(chunk)).await?;
            progress.blob(digest, *received, size);
        }
        if *received < size {
            return Err(Failure::corrupt(format!("blob {digest} ends after {received} of {size} bytes")).into());
        }
        Ok(())
    }
}

fn continues_at(response: &reqwest::Response, offset: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    response.status() == StatusCode::PARTIAL_CONTENT
        && range.is_some_and(|range| range.trim_start().starts_with(&format!("bytes {offset}-")))
}

/// The receiving end of a blob on this host.
struct Sink {
    pieces: Option<mpsc::Sender<Piece>>,
    writer: Option<JoinHandle<Result<String, Failure>>>,
}

impl Sink {
    fn start(path: &Path, digest: &str) -> Result<Self, Failure> {
        let file = File::create_new(path).map_err(|error| Failure::io("create a blob", error))?;
        let digest = digest.to_owned();
        let (pieces, receiver) = mpsc::channel(QUEUE);
        let writer = tokio::task::spawn_blocking(move || write(file, &digest, receiver));
        Ok(Self { pieces: Some(pieces), writer: Some(writer) })
    }

    async fn push(&mut self, piece: Piece) -> Result<(), Failure> {
        if let Some(pieces) = &self.pieces
            && pieces.send(piece).await.is_ok()
        {
            return Ok(());
        }
        // The writer stopped early, so it has a reason.
        match self.finish().await {
            Err(failure) => Err(failure),
            Ok(_) => Err(Failure::corrupt("blob was closed early")),
        }
    }

    /// Waits until everything is written and returns the digest.
    async fn finish(&mut self) -> Result<String, Failure> {
        self.pieces = None;
        let stopped = || Failure::io("write a blob", std::io::Error::other("the writer stopped"));
        self.writer.take().ok_or_else(stopped)?.await.map_err(|_| stopped())?
    }
}

fn write(mut file: File, digest: &str, mut pieces: mpsc::Receiver<Piece>) -> Result<String, Failure> {
    let mut hasher = Hasher::like(digest);
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::Data(bytes) => {
                hasher.update(&bytes);
                file.write_all(&bytes).map_err(|error| Failure::io("write a blob", error))?;
            }
            Piece::Restart => {
                hasher = Hasher::like(digest);
                file.set_len(0).map_err(|error| Failure::io("truncate a blob", error))?;
                std::io::Seek::rewind(&mut file).map_err(|error| Failure::io("rewind a blob", error))?;
            }
        }
    }
    Ok(hasher.finish())
}
