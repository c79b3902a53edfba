//! One request's hold on a local upload: bytes are gathered to large pieces, and each piece is hashed and written on
//! the blocking pool while the next one arrives.
//!
//! The session travels into the blocking task and back. If the request is dropped meanwhile, the task finishes and
//! lets the session go; nobody ever sees it half changed.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::JoinHandle;

use super::{LocalBlobs, SessionKey};
use crate::blobs::session::ActiveSession;
use crate::blobs::{BlobError, Parts, Upload};
use crate::digest::Digest;

/// Bytes gathered before they are handed to the disk. Two such pieces are in memory per upload.
const PIECE_SIZE: usize = 1024 * 1024;

pub(super) struct LocalUpload {
    store: LocalBlobs,
    key: SessionKey,
    begun_at: u64,
    offset: u64,
    parts: Parts,
    piece: Vec<Bytes>,
    piece_size: usize,
    pieces: u32,
    work: Work,
}

enum Work {
    Idle(Box<ActiveSession>),
    Writing(JoinHandle<Result<Box<ActiveSession>, BlobError>>),
    Failed,
}

impl LocalUpload {
    pub(super) fn new(store: LocalBlobs, key: SessionKey, active: ActiveSession) -> Self {
        Self {
            store,
            key,
            begun_at: active.session.acknowledged,
            offset: active.session.acknowledged,
            parts: active.session.parts,
            piece: Vec::new(),
            piece_size: 0,
            pieces: 0,
            work: Work::Idle(Box::new(active)),
        }
    }

    /// Waits for the piece being written, and takes the session back.
    async fn settle(&mut self) -> Result<Box<ActiveSession>, BlobError> {
        match std::mem::replace(&mut self.work, Work::Failed) {
            Work::Idle(active) => Ok(active),
            Work::Writing(writing) => {
                writing.await.map_err(|error| BlobError::io("writing to an upload")(std::io::Error::other(error)))?
            }
            Work::Failed => Err(BlobError::UploadUnknown),
        }
    }

    /// Begins to write what was gathered.
    async fn begin_piece(&mut self) -> Result<(), BlobError> {
        let mut active = self.settle().await?;
        let piece = std::mem::take(&mut self.piece);
        self.piece_size = 0;
        self.pieces = self.pieces.wrapping_add(1);
        if self.pieces.is_multiple_of(64) {
            self.store.0.check_space()?;
        }
        self.work = Work::Writing(tokio::task::spawn_blocking(move || active.append(&piece).map(|()| active)));
        Ok(())
    }
}

#[async_trait]
impl Upload for LocalUpload {
    fn offset(&self) -> u64 {
        self.offset
    }

    fn parts(&self) -> Parts {
        self.parts
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), BlobError> {
        self.offset += chunk.len() as u64;
        self.piece_size += chunk.len();
        self.piece.push(chunk);
        if self.piece_size >= PIECE_SIZE { self.begin_piece().await } else { Ok(()) }
    }

    async fn acknowledge(&mut self) -> Result<u64, BlobError> {
        if !self.piece.is_empty() {
            self.begin_piece().await?;
        }
        let mut active = self.settle().await?;
        let part_size = self.offset - self.begun_at;
        active.acknowledge(part_size);
        self.begun_at = self.offset;
        self.parts = active.session.parts;
        self.work = Work::Idle(active);
        Ok(self.offset)
    }

    async fn commit(mut self: Box<Self>, digest: &Digest) -> Result<u64, BlobError> {
        let mut active = self.settle().await?;
        let piece = std::mem::take(&mut self.piece);
        let (key, digest) = (self.key.clone(), digest.clone());
        self.store
            .blocking(move |inner| {
                active.session.gone = true;
                let small = match piece.as_slice() {
                    [whole] if active.session.written == 0 => Some(whole.clone()),
                    _ => None,
                };
                let path = active.session.path.clone();
                let committed = active.append(&piece).and_then(|()| active.seal(&digest)).and_then(|size| {
                    inner.rename_into_place(&path, &digest)?;
                    Ok(size)
                });
                match committed {
                    Ok(size) => {
                        inner.sessions.lock().remove(&key);
                        inner.open_uploads.fetch_sub(1, Ordering::AcqRel);
                        // A blob that came in one piece is in memory and checked: the next reader is often near.
                        if let Some(bytes) = small {
                            inner.cache.insert(&digest, &bytes);
                        }
                        Ok(size)
                    }
                    Err(error) => {
                        inner.end_upload(&key, &path);
                        Err(error)
                    }
                }
            })
            .await
    }

    async fn cancel(mut self: Box<Self>) -> Result<(), BlobError> {
        let mut active = self.settle().await?;
        let key = self.key.clone();
        self.store
            .blocking(move |inner| {
                active.session.gone = true;
                let path = active.session.path.clone();
                inner.end_upload(&key, &path);
                Ok(())
            })
            .await
    }
}
