//! The content store: bytes by digest, and the uploads that become them.
//!
//! What must hold for every [`BlobStore`]:
//!
//! * a blob that can be read has the bytes its digest says: an upload is hashed while it is written, and only a
//!   matching one is committed;
//! * a commit is durable when it returns, and all or nothing whatever kills the process;
//! * memory per upload and per reader is bounded, however large the blob is.
//!
//! The store knows nothing of repositories: who may read a blob is decided by link rows in the metadata. An upload
//! belongs to an opaque *scope* (one per repository), so an id is useless outside the repository it was made for.

mod cache;
mod hashing;
mod local;
mod read;
mod s3;
mod session;
mod sync;
mod window;

#[cfg(test)]
mod suite;

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use crate::digest::{Algorithm, Digest};

pub use cache::BlobCache;
pub use local::{LocalBlobs, LocalLimits};
pub use read::BlobStream;
pub use s3::{S3Blobs, S3Config};
pub(crate) use window::file_behind;
#[cfg(test)]
pub(crate) use window::open as open_window;

/// What is known of a blob without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobStat {
    /// The blob's name.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// When it was last committed.
    pub committed_at: std::time::SystemTime,
}

/// Why the content store said no.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// No such blob.
    #[error("blob {0} is not in the content store")]
    Unknown(Digest),
    /// The stored bytes are not what the digest promises; the blob was set aside.
    #[error("blob {0} is damaged")]
    Damaged(Digest),
    /// The uploaded bytes have another digest.
    #[error("the content has digest {computed}, not {expected}")]
    DigestMismatch {
        /// What the client said.
        expected: Digest,
        /// What the bytes are.
        computed: Digest,
    },
    /// No such upload in this scope.
    #[error("no such upload")]
    UploadUnknown,
    /// Another request is writing to the upload.
    #[error("the upload is in use by another request")]
    UploadBusy,
    /// Too many uploads are open.
    #[error("more than {limit} uploads are open")]
    TooManyUploads {
        /// The limit that was reached.
        limit: usize,
    },
    /// The file system is full, or so nearly that the rest is kept for metadata.
    #[error("no space left for blobs")]
    DiskFull,
    /// The bucket's prefix holds the blobs of another Gantry, whose collector would remove ours.
    #[error(
        "{key} in the bucket says that its blobs belong to the Gantry {owner}; give each Gantry a prefix of its own"
    )]
    OfAnother {
        /// The object that says so.
        key: String,
        /// Who it belongs to.
        owner: String,
    },
    /// The operating system or the service failed us.
    #[error("content store input/output failed while {doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What went wrong.
        source: std::io::Error,
    },
}

impl BlobError {
    /// For `map_err`: says what was being done, and tells a full disk from other failures.
    pub(crate) fn io(doing: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |source| match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Io { doing, source },
        }
    }
}

/// How the bytes of one request join an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// Whatever arrived stays, even when the rest does not (a streamed body of unknown length).
    Streaming,
    /// All of the request's bytes or none (a chunk with a declared range).
    AllOrNothing,
}

/// Bytes by digest.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Looks a blob up.
    async fn stat(&self, digest: &Digest) -> Result<BlobStat, BlobError>;

    /// Reads a blob, or the part of it in `range`. `size` is the length the metadata has for it: a stored blob of
    /// another length is damaged and is not served.
    async fn get(&self, digest: &Digest, size: u64, range: Option<Range<u64>>) -> Result<BlobStream, BlobError>;

    /// Stores a small blob that is whole in memory. Idempotent.
    async fn put(&self, digest: &Digest, bytes: Bytes) -> Result<(), BlobError>;

    /// Removes a blob; false when there was none.
    async fn delete(&self, digest: &Digest) -> Result<bool, BlobError>;

    /// Up to `limit` blobs in the order of their digests, after `after`.
    async fn list(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<BlobStat>, BlobError>;

    /// Reads a blob whole and compares it with its digest; a damaged one is set aside and then unknown.
    async fn verify(&self, digest: &Digest) -> Result<(), BlobError>;

    /// Opens a new, empty upload and returns its id.
    async fn upload_start(&self, scope: &str, algorithm: Algorithm) -> Result<String, BlobError>;

    /// Takes hold of an upload for one request.
    async fn upload_open(&self, scope: &str, id: &str, mode: WriteMode) -> Result<Box<dyn Upload>, BlobError>;

    /// Drops all uploads of a scope.
    async fn uploads_drop(&self, scope: &str) -> Result<(), BlobError>;

    /// Drops the uploads that nobody wrote to for `idle`; returns how many.
    async fn uploads_expire(&self, idle: std::time::Duration) -> Result<usize, BlobError>;
}

/// One request's hold on an upload. Dropping it gives the upload back, with what [`WriteMode`] says was received.
#[async_trait]
pub trait Upload: Send {
    /// Bytes received before and during this request.
    fn offset(&self) -> u64;

    /// How many parts were acknowledged, and whether one of them was shorter than a minimum part.
    fn parts(&self) -> Parts;

    /// Appends bytes. They are hashed and written in the background; an error may come with a later call.
    async fn write(&mut self, chunk: Bytes) -> Result<(), BlobError>;

    /// Waits until everything written so far is part of the upload, and counts it as one part.
    async fn acknowledge(&mut self) -> Result<u64, BlobError>;

    /// Makes the upload the blob `digest`, durably; returns its size. The upload is gone afterwards in any case.
    async fn commit(self: Box<Self>, digest: &Digest) -> Result<u64, BlobError>;

    /// Drops the upload.
    async fn cancel(self: Box<Self>) -> Result<(), BlobError>;
}

/// A part of a blob that is whole in memory. `size` is the length it must have.
fn slice(bytes: &Bytes, digest: &Digest, size: u64, range: &Range<u64>) -> Result<BlobStream, BlobError> {
    if bytes.len() as u64 != size || range.end > size || range.start > range.end {
        return Err(BlobError::Damaged(digest.clone()));
    }
    // Lossless: the bounds were just checked against a length in memory.
    Ok(BlobStream::from_bytes(bytes.slice(range.start as usize..range.end as usize)))
}

/// How an upload was cut, which only the ECR operations care about. Not remembered across a restart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parts {
    /// Parts acknowledged.
    pub count: u32,
    /// A part before the last one was shorter than 5 MiB.
    pub any_but_last_short: bool,
    /// The last part was shorter than 5 MiB.
    pub last_short: bool,
}

impl Parts {
    /// ECR's minimum for every part but the last, in bytes.
    const PART_SIZE_MIN: u64 = 5 * 1024 * 1024;

    fn after(self, size: u64) -> Self {
        Self {
            count: self.count.saturating_add(1),
            any_but_last_short: self.any_but_last_short || self.last_short,
            last_short: size < Self::PART_SIZE_MIN,
        }
    }
}
