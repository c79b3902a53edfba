//! The client side of the distribution API, as far as pushing needs it.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{Method, StatusCode};
use reqwest::{Body, Client, RequestBuilder, Response};
use tokio::sync::mpsc;

use super::prepared::{Blob, Content, ManifestDocument, Prepared};
use super::{Progress, PushError, Pushed, Report, Target};

/// Blobs sent at once; more does not make one disk or one network faster.
const BLOBS_AT_ONCE: usize = 3;
/// Pieces of a blob on their way, and how large they are.
const PIECES_AHEAD: usize = 4;
const PIECE_SIZE: usize = 256 * 1024;

pub(super) struct Registry<'a> {
    client: &'a Client,
    target: &'a Target,
    report: Report,
}

impl<'a> Registry<'a> {
    pub(super) fn new(client: &'a Client, target: &'a Target, report: Report) -> Self {
        Self { client, target, report }
    }

    pub(super) async fn push(&self, prepared: Prepared) -> Result<Pushed, PushError> {
        let bytes = prepared.blobs.iter().map(|blob| blob.size).sum();
        (self.report)(Progress::Prepared { blobs: prepared.blobs.len(), bytes });
        let sent: Vec<Option<u64>> = stream::iter(&prepared.blobs)
            .map(|blob| self.blob(blob))
            .buffer_unordered(BLOBS_AT_ONCE)
            .try_collect()
            .await?;
        let Some((image, children)) = prepared.manifests.split_last() else {
            return Err(PushError::UnexpectedAnswer("no manifest".to_owned()));
        };
        for child in children {
            self.manifest(child, child.digest.as_str()).await?;
        }
        self.manifest(image, &self.target.tag).await?;
        let sizes: Vec<u64> = sent.iter().copied().flatten().collect();
        // Blobs were read from it until now.
        drop(prepared.unpacked);
        Ok(Pushed {
            digest: image.digest.clone(),
            blobs_sent: sizes.len(),
            blobs_present: sent.len() - sizes.len(),
            bytes_sent: sizes.iter().sum(),
        })
    }

    /// Sends a blob unless it is there; returns its size when it was sent.
    async fn blob(&self, blob: &Blob) -> Result<Option<u64>, PushError> {
        let (digest, size) = (blob.digest.clone(), blob.size);
        let head = self.request(Method::HEAD, &format!("blobs/{digest}"));
        if self.answer(head).await?.status() == StatusCode::OK {
            (self.report)(Progress::Present { digest, size });
            return Ok(None);
        }
        let start = self.request(Method::POST, "blobs/uploads/").header(CONTENT_LENGTH, 0);
        let started = self.expect(start, StatusCode::ACCEPTED, "an upload").await?;
        let mut location = self.resolve(&started)?;
        location.query_pairs_mut().append_pair("digest", digest.as_str());
        (self.report)(Progress::Started { digest: digest.clone(), size });
        let put = self.with_credentials(self.client.put(location));
        let put = put.header(CONTENT_TYPE, "application/octet-stream").header(CONTENT_LENGTH, size);
        self.expect(put.body(self.body(blob)), StatusCode::CREATED, &format!("blob {digest}")).await?;
        (self.report)(Progress::Finished { digest });
        Ok(Some(size))
    }

    /// A request body that reads the blob while it is sent.
    fn body(&self, blob: &Blob) -> Body {
        if let Content::Bytes(bytes) = &blob.content {
            (self.report)(Progress::Sent { digest: blob.digest.clone(), bytes: bytes.len() as u64 });
            return Body::from(bytes.clone());
        }
        let (sender, mut receiver) = mpsc::channel::<io::Result<Bytes>>(PIECES_AHEAD);
        let content = blob.content.clone();
        tokio::task::spawn_blocking(move || {
            let mut pieces = Pieces { sender: sender.clone(), piece: Vec::with_capacity(PIECE_SIZE) };
            if let Err(error) = content.write_to(&mut pieces).and_then(|()| pieces.flush()) {
                // When nobody listens any more, the request has failed already and says why.
                let _ = sender.blocking_send(Err(error));
            }
        });
        let (report, digest) = (Arc::clone(&self.report), blob.digest.clone());
        let pieces = stream::poll_fn(move |context| receiver.poll_recv(context));
        Body::wrap_stream(pieces.inspect_ok(move |piece| {
            report(Progress::Sent { digest: digest.clone(), bytes: piece.len() as u64 });
        }))
    }

    async fn manifest(&self, manifest: &ManifestDocument, reference: &str) -> Result<(), PushError> {
        let put = self.request(Method::PUT, &format!("manifests/{reference}"));
        let put = put.header(CONTENT_TYPE, &manifest.media_type).body(manifest.bytes.clone());
        self.expect(put, StatusCode::CREATED, &format!("manifest {reference}")).await?;
        Ok(())
    }

    fn request(&self, method: Method, rest: &str) -> RequestBuilder {
        let endpoint = self.target.endpoint.trim_end_matches('/');
        let url = format!("{endpoint}/v2/{}/{rest}", self.target.repository);
        self.with_credentials(self.client.request(method, url))
    }

    fn with_credentials(&self, request: RequestBuilder) -> RequestBuilder {
        request.basic_auth(&self.target.username, Some(&self.target.password))
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Response, PushError> {
        let endpoint = self.target.endpoint.clone();
        request.send().await.map_err(|source| PushError::Unreachable { endpoint, source })
    }

    async fn expect(&self, request: RequestBuilder, status: StatusCode, doing: &str) -> Result<Response, PushError> {
        let answer = self.answer(request).await?;
        if answer.status() == status { Ok(answer) } else { Err(refusal(answer, doing).await) }
    }

    /// The upload's address, which may be relative to the request's.
    fn resolve(&self, started: &Response) -> Result<reqwest::Url, PushError> {
        let location = started.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let location = location.ok_or_else(|| PushError::UnexpectedAnswer("no Location".to_owned()))?;
        started.url().join(location).map_err(|_| PushError::UnexpectedAnswer(format!("Location {location}")))
    }
}

/// The registry's own words, or as much of its answer as fits on a line.
async fn refusal(answer: Response, doing: &str) -> PushError {
    const SHOWN_MAX: usize = 300;
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap_or_default();
    let error = serde_json::from_str::<serde_json::Value>(&text).unwrap_or_default()["errors"][0].clone();
    let message = match error["message"].as_str() {
        Some(message) => message.to_owned(),
        None if text.is_empty() => format!("HTTP {status}"),
        None => text.chars().take(SHOWN_MAX).collect(),
    };
    match error["code"].as_str() {
        Some("NAME_UNKNOWN") => PushError::RepositoryNotFound { message },
        _ => PushError::Refused { doing: doing.to_owned(), status, message },
    }
}

/// Collects what is written into pieces and sends them.
struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE_SIZE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE_SIZE {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_SIZE));
        self.sender.blocking_send(Ok(Bytes::from(piece))).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
