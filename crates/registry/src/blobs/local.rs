//! Blobs on a local disk.
//!
//! ```text
//! ROOT/blobs/sha256/9f/9f86d0…        a blob
//! ROOT/uploads/SCOPE/ID               an upload; SCOPE is a hash of the scope's name
//! ROOT/uploads/put/ID                 a small blob being written; leftovers are removed at start
//! ROOT/trash/ID                       a deleted blob whose space is being given back; the same
//! ROOT/quarantine/sha256-9f86d0…      bytes that did not match their name, for the operator to look at
//! ```
//!
//! A commit is: sync the file, rename it to its name, sync the directory. A crash leaves a stray upload or a blob
//! nobody links, never half a blob. Renaming over an identical blob is harmless and repairs a damaged one, so
//! commits never look first. Files are only named by checked digests and ids we made: no text of a client's becomes
//! part of a path.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::session::{ActiveSession, Session, hash_file};
use super::sync::DirectorySync;
use super::{BlobCache, BlobError, BlobStat, BlobStore, BlobStream, Upload, WriteMode, slice};
use crate::digest::{Algorithm, Digest};

mod files;
mod upload;

use files::{list_blobs, unreadable_as_unknown};
use upload::LocalUpload;

/// Locks that order renames of one digest; more would only save memory nobody misses.
const RENAME_LOCKS: usize = 64;

/// Bounds of a [`LocalBlobs`].
#[derive(Debug, Clone)]
pub struct LocalLimits {
    /// Uploads that may be open at once, over all scopes.
    pub open_uploads_max: usize,
    /// Memory for small blobs, in bytes.
    pub cache_bytes_max: usize,
    /// Free space below which nothing more is written, in bytes: metadata and deletes must still work on a full disk.
    pub reserve_bytes: u64,
    /// How long a request waits for another one to let go of the same upload: long enough for a dropped connection to
    /// be noticed and its last bytes written, short enough to answer a client that really writes twice.
    pub busy_wait: Duration,
}

impl Default for LocalLimits {
    fn default() -> Self {
        Self {
            open_uploads_max: 4096,
            cache_bytes_max: 8 * 1024 * 1024,
            reserve_bytes: 64 * 1024 * 1024,
            busy_wait: Duration::from_secs(2),
        }
    }
}

/// The content store in a directory. Clones share it; one process at a time.
#[derive(Clone)]
pub struct LocalBlobs(Arc<Inner>);

struct Inner {
    root: PathBuf,
    limits: LocalLimits,
    sessions: Mutex<HashMap<SessionKey, Arc<tokio::sync::Mutex<Session>>>>,
    open_uploads: AtomicUsize,
    directory_sync: DirectorySync,
    rename_locks: [Mutex<()>; RENAME_LOCKS],
    cache: BlobCache,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct SessionKey {
    scope_directory: String,
    id: String,
}

impl LocalBlobs {
    /// Opens the content store under `root`, creating it if need be. Blocking; called once at start.
    pub fn open(root: &Path, limits: LocalLimits) -> Result<Self, BlobError> {
        let prepare = || -> std::io::Result<usize> {
            for leftovers in ["uploads/put", "trash"] {
                match fs::remove_dir_all(root.join(leftovers)) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => fs::create_dir_all(root.join(leftovers))?,
                }
            }
            fs::create_dir_all(root.join("quarantine"))?;
            for algorithm in Algorithm::ALL {
                fs::create_dir_all(root.join("blobs").join(algorithm.as_str()))?;
            }
            for directory in ["blobs", "uploads", "."] {
                fs::File::open(root.join(directory))?.sync_all()?;
            }
            files::count_uploads(&root.join("uploads"))
        };
        let open_uploads = prepare().map_err(BlobError::io("opening the content store"))?;
        Ok(Self(Arc::new(Inner {
            root: root.to_owned(),
            cache: BlobCache::new(limits.cache_bytes_max),
            limits,
            sessions: Mutex::default(),
            open_uploads: AtomicUsize::new(open_uploads),
            directory_sync: DirectorySync::default(),
            rename_locks: std::array::from_fn(|_| Mutex::new(())),
        })))
    }

    /// The file of a blob, for a store that keeps its blobs elsewhere and only makes them here.
    pub(super) fn path_of(&self, digest: &Digest) -> PathBuf {
        self.0.blob_path(digest)
    }

    /// Runs file work where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, BlobError> + Send + 'static,
    ) -> Result<T, BlobError> {
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&inner)).await.unwrap_or_else(|error| {
            Err(BlobError::Io { doing: "working on a blob", source: std::io::Error::other(error) })
        })
    }
}

#[async_trait]
impl BlobStore for LocalBlobs {
    async fn stat(&self, digest: &Digest) -> Result<BlobStat, BlobError> {
        let digest = digest.clone();
        self.blocking(move |inner| {
            let metadata = fs::metadata(inner.blob_path(&digest)).map_err(unreadable_as_unknown(&digest))?;
            files::stat_from(digest, &metadata)
        })
        .await
    }

    async fn get(&self, digest: &Digest, size: u64, range: Option<Range<u64>>) -> Result<BlobStream, BlobError> {
        let range = range.unwrap_or(0..size);
        if let Some(bytes) = self.0.cache.get(digest) {
            return slice(&bytes, digest, size, &range);
        }
        let digest = digest.clone();
        self.blocking(move |inner| {
            let file = fs::File::open(inner.blob_path(&digest)).map_err(unreadable_as_unknown(&digest))?;
            let metadata = file.metadata().map_err(BlobError::io("looking at a blob"))?;
            if metadata.len() != size {
                return Err(inner.quarantine(&digest, &metadata));
            }
            if inner.cache.takes(size) {
                let bytes = inner.read_checked(&digest, &file, &metadata)?;
                return slice(&bytes, &digest, size, &range);
            }
            // Only a hint; a file system that does not know it serves the bytes all the same.
            let _ = rustix::fs::fadvise(&file, range.start, None, rustix::fs::Advice::Sequential);
            Ok(BlobStream::from_file(file, range))
        })
        .await
    }

    async fn put(&self, digest: &Digest, bytes: Bytes) -> Result<(), BlobError> {
        let digest = digest.clone();
        self.blocking(move |inner| {
            inner.check_space()?;
            let path = inner.root.join("uploads/put").join(uuid::Uuid::new_v4().to_string());
            let written = files::write_new(&path, &bytes).and_then(|()| inner.rename_into_place(&path, &digest));
            if written.is_err() {
                let _ = fs::remove_file(&path);
            }
            written?;
            inner.cache.insert(&digest, &bytes);
            Ok(())
        })
        .await
    }

    async fn delete(&self, digest: &Digest) -> Result<bool, BlobError> {
        let digest = digest.clone();
        let aside = self.0.root.join("trash").join(uuid::Uuid::new_v4().to_string());
        let to = aside.clone();
        let removed = self.blocking(move |inner| {
            inner.cache.remove(&digest);
            // Not synced: a blob that comes back after a power cut is unlinked and will be collected again.
            match fs::rename(inner.blob_path(&digest), to) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
                Err(error) => Err(BlobError::io("deleting a blob")(error)),
            }
        });
        let removed = removed.await?;
        if removed {
            // Giving many gigabytes back takes the file system its time, and nobody needs to wait for it. What a crash
            // leaves is removed at start.
            tokio::task::spawn_blocking(move || fs::remove_file(aside));
        }
        Ok(removed)
    }

    async fn list(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<BlobStat>, BlobError> {
        let after = after.cloned();
        self.blocking(move |inner| list_blobs(&inner.root.join("blobs"), after.as_ref(), limit)).await
    }

    async fn verify(&self, digest: &Digest) -> Result<(), BlobError> {
        let digest = digest.clone();
        self.blocking(move |inner| {
            let path = inner.blob_path(&digest);
            let metadata = fs::metadata(&path).map_err(unreadable_as_unknown(&digest))?;
            if hash_file(&path, digest.algorithm())? == digest {
                return Ok(());
            }
            Err(inner.quarantine(&digest, &metadata))
        })
        .await
    }

    async fn upload_start(&self, scope: &str, algorithm: Algorithm) -> Result<String, BlobError> {
        let key = SessionKey { scope_directory: scope_directory(scope), id: uuid::Uuid::new_v4().to_string() };
        self.0.reserve_upload()?;
        // An empty file is made here and not in the blocking pool: it is one fast call into memory, and every small
        // push begins with it. It is not synced: an upload nobody wrote to is no loss.
        let path = self.0.upload_path(&key);
        let created = files::create_upload(&path).and_then(|()| self.0.check_space());
        if let Err(error) = created {
            self.0.open_uploads.fetch_sub(1, Ordering::AcqRel);
            return Err(error);
        }
        let id = key.id.clone();
        self.0.sessions.lock().insert(key, Arc::new(tokio::sync::Mutex::new(Session::new(path, algorithm))));
        Ok(id)
    }

    async fn upload_open(&self, scope: &str, id: &str, mode: WriteMode) -> Result<Box<dyn Upload>, BlobError> {
        let key = SessionKey { scope_directory: scope_directory(scope), id: canonical_id(id)? };
        let session = self.0.session(&key)?;
        let guard = tokio::time::timeout(self.0.limits.busy_wait, session.lock_owned())
            .await
            .map_err(|_| BlobError::UploadBusy)?;
        if guard.gone {
            return Err(BlobError::UploadUnknown);
        }
        Ok(Box::new(LocalUpload::new(self.clone(), key, ActiveSession::new(guard, mode))))
    }

    async fn uploads_drop(&self, scope: &str) -> Result<(), BlobError> {
        let scope_directory = scope_directory(scope);
        self.blocking(move |inner| {
            inner.sessions.lock().retain(|key, _| key.scope_directory != scope_directory);
            let path = inner.root.join("uploads").join(&scope_directory);
            for entry in files::entries(&path)? {
                inner.remove_upload_file(&entry);
            }
            let _ = fs::remove_dir(&path);
            Ok(())
        })
        .await
    }

    async fn uploads_expire(&self, idle: Duration) -> Result<usize, BlobError> {
        self.blocking(move |inner| {
            let mut expired = 0;
            for scope in files::entries(&inner.root.join("uploads"))? {
                for path in files::entries(&scope)? {
                    expired += usize::from(files::is_older(&path, idle) && inner.expire_upload(&scope, &path));
                }
            }
            Ok(expired)
        })
        .await
    }
}

impl Inner {
    fn blob_path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        let mut path = self.root.join("blobs");
        path.extend([digest.algorithm().as_str(), &hex[..2], hex]);
        path
    }

    fn upload_path(&self, key: &SessionKey) -> PathBuf {
        let mut path = self.root.join("uploads");
        path.extend([&key.scope_directory, &key.id]);
        path
    }

    /// The session in memory, or the one a former process left on disk.
    fn session(&self, key: &SessionKey) -> Result<Arc<tokio::sync::Mutex<Session>>, BlobError> {
        let mut sessions = self.sessions.lock();
        if let Some(session) = sessions.get(key) {
            return Ok(Arc::clone(session));
        }
        let path = self.upload_path(key);
        let metadata = fs::metadata(&path).map_err(|_| BlobError::UploadUnknown)?;
        let session = Arc::new(tokio::sync::Mutex::new(Session::recovered(path, metadata.len())));
        sessions.insert(key.clone(), Arc::clone(&session));
        Ok(session)
    }

    fn reserve_upload(&self) -> Result<(), BlobError> {
        let limit = self.limits.open_uploads_max;
        self.open_uploads
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| (open < limit).then_some(open + 1))
            .map(drop)
            .map_err(|_| BlobError::TooManyUploads { limit })
    }

    fn check_space(&self) -> Result<(), BlobError> {
        let space =
            rustix::fs::statvfs(&self.root).map_err(|error| BlobError::io("asking for free space")(error.into()))?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        if free < self.limits.reserve_bytes { Err(BlobError::DiskFull) } else { Ok(()) }
    }

    /// Forgets an upload: from memory, from disk, from the count.
    fn end_upload(&self, key: &SessionKey, path: &Path) {
        self.sessions.lock().remove(key);
        self.remove_upload_file(path);
    }

    fn remove_upload_file(&self, path: &Path) {
        if fs::remove_file(path).is_ok() {
            self.open_uploads.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn expire_upload(&self, scope: &Path, path: &Path) -> bool {
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let key = SessionKey { scope_directory: name(scope), id: name(path) };
        let session = self.sessions.lock().get(&key).cloned();
        if let Some(session) = session {
            // A session in somebody's hands is not idle, whatever its file's time says.
            let Ok(mut session) = session.try_lock() else { return false };
            session.gone = true;
        }
        self.end_upload(&key, path);
        true
    }

    /// Gives a synced file its name as a blob, durably.
    fn rename_into_place(&self, from: &Path, digest: &Digest) -> Result<(), BlobError> {
        let to = self.blob_path(digest);
        let directory = to.parent().expect("a blob lies in a directory");
        {
            let _ordered = self.rename_lock(digest).lock();
            match fs::rename(from, &to) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    files::create_directory_durably(directory)?;
                    fs::rename(from, &to).map_err(|error| match error.kind() {
                        ErrorKind::NotFound => BlobError::UploadUnknown,
                        _ => BlobError::io("naming a blob")(error),
                    })?;
                }
                outcome => outcome.map_err(BlobError::io("naming a blob"))?,
            }
        }
        self.directory_sync.sync(directory).map_err(BlobError::io("syncing a directory of blobs"))
    }

    fn rename_lock(&self, digest: &Digest) -> &Mutex<()> {
        let byte = digest.hex().bytes().take(2).fold(0_usize, |sum, byte| sum * 31 + usize::from(byte));
        &self.rename_locks[byte % RENAME_LOCKS]
    }

    /// Reads a small blob whole, checks it and remembers it.
    fn read_checked(&self, digest: &Digest, file: &fs::File, metadata: &fs::Metadata) -> Result<Bytes, BlobError> {
        let bytes = Bytes::from(files::read_all(file, metadata.len())?);
        if Digest::of_with(digest.algorithm(), &bytes) != *digest {
            return Err(self.quarantine(digest, metadata));
        }
        self.cache.insert(digest, &bytes);
        Ok(bytes)
    }

    /// Moves a damaged blob aside, unless somebody has replaced it since `seen`. Gives the error to answer with.
    fn quarantine(&self, digest: &Digest, seen: &fs::Metadata) -> BlobError {
        let path = self.blob_path(digest);
        let _ordered = self.rename_lock(digest).lock();
        if fs::metadata(&path).is_ok_and(|now| now.ino() == seen.ino()) {
            self.cache.remove(digest);
            let aside = format!("{}-{}", digest.algorithm().as_str(), digest.hex());
            let moved = fs::rename(&path, self.root.join("quarantine").join(aside));
            tracing::error!(%digest, moved = moved.is_ok(), "blob is damaged; set aside so that it is pushed again");
        }
        BlobError::Damaged(digest.clone())
    }
}

fn scope_directory(scope: &str) -> String {
    Digest::of(scope.as_bytes()).hex()[..32].to_owned()
}

/// Upload ids are UUIDs we made; nothing else can name a file.
fn canonical_id(id: &str) -> Result<String, BlobError> {
    let id = uuid::Uuid::try_parse(id).map_err(|_| BlobError::UploadUnknown)?;
    Ok(id.hyphenated().to_string())
}
