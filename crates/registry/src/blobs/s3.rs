//! Blobs in a bucket of an S3-compatible service.
//!
//! ```text
//! PREFIX/blobs/sha256/9f/9f86d0…        a blob
//! PREFIX/quarantine/sha256-9f86d0…      bytes that did not match their name
//! PREFIX/owner                          which Gantry the prefix belongs to
//! ```
//!
//! An upload grows on the local disk, with everything [`LocalBlobs`] promises: it is hashed while it comes, resumed
//! after a broken connection or a restart, bounded in number and in memory. Only when its digest is proved does it go
//! to the bucket, in parts, under its final name: the service shows an object when it is complete and not before, so
//! the bucket never holds bytes that are not what their name says, and nothing there has to be moved or cleaned up.
//! The push is answered when the bucket has it. The local copy goes then; copies that a crash left are removed at
//! start, because nobody was told of them.
//!
//! A prefix has one owner. The collector removes what *its* metadata does not know, so a second Gantry with other
//! metadata would lose its blobs; opening a prefix that belongs to another one is refused.

use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};
use tokio::io::AsyncReadExt;
use tokio::sync::RwLock;

use super::{BlobCache, BlobError, BlobStat, BlobStore, BlobStream, LocalBlobs, LocalLimits, Parts, Upload, WriteMode};
use crate::digest::{Algorithm, Digest, Hasher};

/// Bytes of one part. A layer of the largest size is then within the 10,000 parts an object may have.
const PART_SIZE: usize = 8 * 1024 * 1024;
/// Parts of one upload on their way at a time.
const PARTS_AT_A_TIME: usize = 3;
/// Uploads that are moved to the bucket at a time; others wait. With the two bounds above: 256 MiB at most.
const MOVES_AT_A_TIME: usize = 8;
/// Locks that order commits and removals of one digest.
const LOCKS: usize = 64;

/// Where the bucket is and how to get in.
#[derive(Clone, Default)]
pub struct S3Config {
    /// The bucket, which must exist.
    pub bucket: String,
    /// What every key begins with; empty for the whole bucket.
    pub prefix: String,
    /// URL of the service; none for AWS itself.
    pub endpoint: Option<String>,
    /// Region; none for what the environment says.
    pub region: Option<String>,
    /// Access key id and secret; none for `AWS_*` variables, a web identity, or the machine's instance profile.
    pub credentials: Option<(String, String)>,
}

impl S3Config {
    /// A client of the bucket, to be built. What is not said here is as the `AWS_*` variables say.
    pub fn builder(&self) -> AmazonS3Builder {
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(&self.bucket);
        if let Some(endpoint) = &self.endpoint {
            let plain = endpoint.starts_with("http://");
            builder = builder.with_endpoint(endpoint).with_allow_http(plain).with_virtual_hosted_style_request(false);
        }
        if let Some(region) = &self.region {
            builder = builder.with_region(region);
        }
        if let Some((id, secret)) = &self.credentials {
            builder = builder.with_access_key_id(id).with_secret_access_key(secret);
        }
        builder
    }
}

// By hand: the secret is nobody's business.
impl std::fmt::Debug for S3Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { bucket, prefix, endpoint, region, .. } = self;
        write!(f, "S3Config {{ bucket: {bucket:?}, prefix: {prefix:?}, endpoint: {endpoint:?}, region: {region:?} }}")
    }
}

/// The content store in a bucket. Clones share it.
#[derive(Clone)]
pub struct S3Blobs(Arc<Inner>);

struct Inner {
    bucket: AmazonS3,
    prefix: Path,
    staging: LocalBlobs,
    cache: BlobCache,
    locks: [RwLock<()>; LOCKS],
    moves: tokio::sync::Semaphore,
}

impl S3Blobs {
    /// Opens the bucket, with uploads below `staging`. `owner` names this Gantry and stays the same over restarts.
    pub async fn open(staging: &FilePath, config: &S3Config, owner: &str) -> Result<Self, BlobError> {
        let staging = {
            let staging = staging.to_owned();
            let open = move || open_staging(&staging);
            tokio::task::spawn_blocking(open).await.map_err(|error| remote("preparing for uploads")(error.into()))??
        };
        let inner = Inner {
            bucket: config.builder().build().map_err(failed("connecting to the bucket"))?,
            prefix: Path::from(config.prefix.as_str()),
            staging,
            cache: BlobCache::new(LocalLimits::default().cache_bytes_max),
            locks: std::array::from_fn(|_| RwLock::new(())),
            moves: tokio::sync::Semaphore::new(MOVES_AT_A_TIME),
        };
        inner.take_ownership(owner).await?;
        Ok(Self(Arc::new(inner)))
    }
}

/// The local side. Whole blobs there are from commits that a crash cut short.
fn open_staging(directory: &FilePath) -> Result<LocalBlobs, BlobError> {
    match std::fs::remove_dir_all(directory.join("blobs")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(BlobError::io("removing what a crash left")(error));
        }
        _ => {}
    }
    LocalBlobs::open(directory, LocalLimits { cache_bytes_max: 0, ..LocalLimits::default() })
}

impl Inner {
    fn key(&self, rest: &str) -> Path {
        if self.prefix.as_ref().is_empty() { Path::from(rest) } else { Path::from(format!("{}/{rest}", self.prefix)) }
    }

    fn blob_key(&self, digest: &Digest) -> Path {
        let hex = digest.hex();
        self.key(&format!("blobs/{}/{}/{hex}", digest.algorithm().as_str(), &hex[..2]))
    }

    fn lock(&self, digest: &Digest) -> &RwLock<()> {
        let byte = digest.hex().bytes().take(2).fold(0_usize, |sum, byte| sum * 31 + usize::from(byte));
        &self.locks[byte % LOCKS]
    }

    async fn take_ownership(&self, owner: &str) -> Result<(), BlobError> {
        let (key, doing) = (self.key("owner"), "asking whose bucket it is");
        match self.bucket.get(&key).await {
            Ok(found) => {
                let found = found.bytes().await.map_err(failed(doing))?;
                let found = String::from_utf8_lossy(&found).trim().to_owned();
                if found == owner { Ok(()) } else { Err(BlobError::OfAnother { key: key.to_string(), owner: found }) }
            }
            Err(object_store::Error::NotFound { .. }) => {
                let put = self.bucket.put(&key, PutPayload::from(owner.as_bytes().to_vec())).await;
                put.map(drop).map_err(failed(doing))
            }
            Err(error) => Err(failed(doing)(error)),
        }
    }

    /// What the bucket says of a blob.
    async fn head(&self, digest: &Digest) -> Result<ObjectMeta, BlobError> {
        self.bucket.head(&self.blob_key(digest)).await.map_err(unknown_or_failed(digest, "looking at a blob"))
    }

    /// Sends a verified file to the bucket under its final name.
    async fn move_to_bucket(&self, digest: &Digest, size: u64) -> Result<(), BlobError> {
        let doing = "sending a blob to the bucket";
        let _turn = self.moves.acquire().await.map_err(|closed| remote(doing)(closed.into()))?;
        let path = self.staging.path_of(digest);
        let key = self.blob_key(digest);
        let mut file = tokio::fs::File::open(&path).await.map_err(BlobError::io(doing))?;
        if size <= PART_SIZE as u64 {
            let mut whole = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
            file.read_to_end(&mut whole).await.map_err(BlobError::io(doing))?;
            self.bucket.put(&key, PutPayload::from(whole)).await.map_err(failed(doing))?;
        } else {
            let upload = self.bucket.put_multipart(&key).await.map_err(failed(doing))?;
            let mut writer = WriteMultipart::new_with_chunk_size(upload, PART_SIZE);
            let sent = async {
                let mut left = size;
                while left > 0 {
                    writer.wait_for_capacity(PARTS_AT_A_TIME).await.map_err(failed(doing))?;
                    let mut part = vec![0; PART_SIZE.min(usize::try_from(left).unwrap_or(PART_SIZE))];
                    file.read_exact(&mut part).await.map_err(BlobError::io(doing))?;
                    left -= part.len() as u64;
                    writer.put(part.into());
                }
                Ok::<(), BlobError>(())
            };
            match sent.await {
                Ok(()) => drop(writer.finish().await.map_err(failed(doing))?),
                Err(error) => {
                    // Parts of an unfinished object cost space that nobody sees.
                    if let Err(error) = writer.abort().await {
                        tracing::warn!(%digest, %error, "parts of a failed upload are left in the bucket");
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Moves a damaged blob aside, unless somebody has replaced it since `seen`. Gives the error to answer with.
    async fn quarantine(&self, digest: &Digest, seen: &ObjectMeta) -> BlobError {
        let _alone = self.lock(digest).write().await;
        let key = self.blob_key(digest);
        if self
            .bucket
            .head(&key)
            .await
            .is_ok_and(|now| now.e_tag == seen.e_tag && now.last_modified == seen.last_modified)
        {
            self.cache.remove(digest);
            let aside = self.key(&format!("quarantine/{}-{}", digest.algorithm().as_str(), digest.hex()));
            let copied = self.bucket.copy(&key, &aside).await.is_ok();
            let removed = self.bucket.delete(&key).await.is_ok();
            tracing::error!(%digest, copied, removed, "blob is damaged; set aside so that it is pushed again");
        }
        BlobError::Damaged(digest.clone())
    }
}

#[async_trait]
impl BlobStore for S3Blobs {
    async fn stat(&self, digest: &Digest) -> Result<BlobStat, BlobError> {
        Ok(stat_from(digest.clone(), &self.0.head(digest).await?))
    }

    async fn get(&self, digest: &Digest, size: u64, range: Option<Range<u64>>) -> Result<BlobStream, BlobError> {
        let inner = &self.0;
        let range = range.unwrap_or(0..size);
        if let Some(bytes) = inner.cache.get(digest) {
            return super::slice(&bytes, digest, size, &range);
        }
        let doing = "reading a blob from the bucket";
        if range.is_empty() || range.end > size {
            // Nothing to read, but it must be there.
            let found = inner.head(digest).await?;
            if found.size != size || range.end > size {
                return Err(inner.quarantine(digest, &found).await);
            }
            return Ok(BlobStream::from_bytes(Bytes::new()));
        }
        let whole = inner.cache.takes(size);
        let wanted = if whole { 0..size } else { range.clone() };
        let options = GetOptions { range: Some(GetRange::Bounded(wanted.clone())), ..GetOptions::default() };
        let found = match inner.bucket.get_opts(&inner.blob_key(digest), options).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Err(BlobError::Unknown(digest.clone())),
            Err(error) => {
                // A range the object does not have is refused by some services: then it is too short.
                let seen = inner.head(digest).await?;
                if seen.size != size {
                    return Err(inner.quarantine(digest, &seen).await);
                }
                return Err(failed(doing)(error));
            }
        };
        if found.meta.size != size || found.range != wanted {
            return Err(inner.quarantine(digest, &found.meta).await);
        }
        if !whole {
            let stream = found.into_stream().map_err(std::io::Error::other).boxed();
            return Ok(BlobStream::from_stream(stream, range.end - range.start));
        }
        let meta = found.meta.clone();
        let bytes = found.bytes().await.map_err(failed(doing))?;
        if Digest::of_with(digest.algorithm(), &bytes) != *digest {
            return Err(inner.quarantine(digest, &meta).await);
        }
        inner.cache.insert(digest, &bytes);
        super::slice(&bytes, digest, size, &range)
    }

    async fn put(&self, digest: &Digest, bytes: Bytes) -> Result<(), BlobError> {
        let inner = &self.0;
        let _together = inner.lock(digest).read().await;
        let put = inner.bucket.put(&inner.blob_key(digest), PutPayload::from(bytes.clone())).await;
        put.map_err(failed("sending a small blob to the bucket"))?;
        inner.cache.insert(digest, &bytes);
        Ok(())
    }

    async fn delete(&self, digest: &Digest) -> Result<bool, BlobError> {
        let inner = &self.0;
        inner.cache.remove(digest);
        match inner.head(digest).await {
            Err(BlobError::Unknown(_)) => Ok(false),
            found => {
                found?;
                let deleted = inner.bucket.delete(&inner.blob_key(digest)).await;
                deleted.map(|()| true).map_err(failed("deleting a blob"))
            }
        }
    }

    async fn list(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<BlobStat>, BlobError> {
        let inner = &self.0;
        let prefix = inner.key("blobs");
        let objects = match after {
            Some(after) => inner.bucket.list_with_offset(Some(&prefix), &inner.blob_key(after)),
            None => inner.bucket.list(Some(&prefix)),
        };
        // Objects of others are left alone.
        let blobs = objects.try_filter_map(|object| async move { Ok(blob_of(&object)) });
        blobs.take(limit).try_collect().await.map_err(failed("listing the bucket"))
    }

    async fn verify(&self, digest: &Digest) -> Result<(), BlobError> {
        let inner = &self.0;
        let doing = "reading a blob to check it";
        let found = inner.bucket.get(&inner.blob_key(digest)).await.map_err(unknown_or_failed(digest, doing))?;
        let meta = found.meta.clone();
        let (mut hasher, mut stream) = (Hasher::new(digest.algorithm()), found.into_stream());
        while let Some(chunk) = stream.try_next().await.map_err(failed(doing))? {
            hasher.update(&chunk);
        }
        if hasher.finish() == *digest { Ok(()) } else { Err(inner.quarantine(digest, &meta).await) }
    }

    async fn upload_start(&self, scope: &str, algorithm: Algorithm) -> Result<String, BlobError> {
        self.0.staging.upload_start(scope, algorithm).await
    }

    async fn upload_open(&self, scope: &str, id: &str, mode: WriteMode) -> Result<Box<dyn Upload>, BlobError> {
        let staged = self.0.staging.upload_open(scope, id, mode).await?;
        Ok(Box::new(S3Upload { store: self.clone(), staged }))
    }

    async fn uploads_drop(&self, scope: &str) -> Result<(), BlobError> {
        self.0.staging.uploads_drop(scope).await
    }

    async fn uploads_expire(&self, idle: Duration) -> Result<usize, BlobError> {
        self.0.staging.uploads_expire(idle).await
    }
}

/// An upload on the local disk that ends in the bucket.
struct S3Upload {
    store: S3Blobs,
    staged: Box<dyn Upload>,
}

#[async_trait]
impl Upload for S3Upload {
    fn offset(&self) -> u64 {
        self.staged.offset()
    }

    fn parts(&self) -> Parts {
        self.staged.parts()
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), BlobError> {
        self.staged.write(chunk).await
    }

    async fn acknowledge(&mut self) -> Result<u64, BlobError> {
        self.staged.acknowledge().await
    }

    async fn commit(self: Box<Self>, digest: &Digest) -> Result<u64, BlobError> {
        let (Self { store, staged }, digest) = (*self, digest.clone());
        // To its end whatever becomes of the request: a dropped one must not leave half a move behind.
        let commit = async move {
            let inner = &store.0;
            // Two commits of one digest share the local copy, so they take turns.
            let _alone = inner.lock(&digest).write().await;
            let size = staged.commit(&digest).await?;
            let moved = inner.move_to_bucket(&digest, size).await;
            if let Err(error) = inner.staging.delete(&digest).await {
                tracing::warn!(%digest, error = &error as &dyn std::error::Error, "a local copy of a blob is left until the next start");
            }
            moved.map(|()| size)
        };
        tokio::spawn(commit).await.unwrap_or_else(|error| Err(remote("sending a blob to the bucket")(error.into())))
    }

    async fn cancel(self: Box<Self>) -> Result<(), BlobError> {
        self.staged.cancel().await
    }
}

fn stat_from(digest: Digest, found: &ObjectMeta) -> BlobStat {
    BlobStat { digest, size: found.size, committed_at: SystemTime::from(found.last_modified) }
}

/// The blob an object is; none for any other object.
fn blob_of(object: &ObjectMeta) -> Option<BlobStat> {
    let parts: Vec<&str> = object.location.as_ref().rsplit('/').take(3).collect();
    let [hex, fan_out, algorithm] = parts.as_slice() else { return None };
    let digest: Digest = format!("{algorithm}:{hex}").parse().ok().filter(|_| hex.starts_with(fan_out))?;
    Some(stat_from(digest, object))
}

fn failed(doing: &'static str) -> impl Fn(object_store::Error) -> BlobError {
    move |error| remote(doing)(error.into())
}

fn unknown_or_failed(digest: &Digest, doing: &'static str) -> impl Fn(object_store::Error) -> BlobError {
    move |error| match error {
        object_store::Error::NotFound { .. } => BlobError::Unknown(digest.clone()),
        error => failed(doing)(error),
    }
}

fn remote(doing: &'static str) -> impl Fn(Box<dyn std::error::Error + Send + Sync>) -> BlobError {
    move |error| BlobError::Io { doing, source: std::io::Error::other(error) }
}
