//! The open database: opening, reading, and opening again after a full disk.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableError};

use super::codec::FORMAT;
use super::file::{self, DiskFile, is_no_space};
use super::rows::{LEASE_KEYS, LEASES, LOG, META, META_FORMAT, ROWS};
use crate::{OpenError, Revision, StoreError};

/// How long closing waits for readers before it takes the file away from them.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// How often, every millisecond, a reader looks whether the writer has begun to open the database again. The opening
/// itself holds the lock, so this only has to cover the moment before.
const REOPEN_POLLS: usize = 1000;

/// The file and the database in it, shared by readers and the writer.
#[derive(Debug)]
pub(super) struct Db {
    path: PathBuf,
    file: Arc<File>,
    cache_bytes: usize,
    open: RwLock<Opening>,
}

#[derive(Debug)]
enum Opening {
    Open(Arc<Database>, DiskFile),
    /// Could not be opened again yet.
    Full,
    /// See [`StoreError::Disk`].
    Failed(String),
    Closed,
}

impl Db {
    /// Opens or creates the file. Blocks.
    pub(super) fn open(path: &Path, cache_bytes: usize) -> Result<Self, OpenError> {
        let existing = path.exists();
        let file = if existing { file::open_locked(path)? } else { file::create_unnamed(path)? };
        let (database, disk) = open_database(path, &file, cache_bytes)?;
        prepare(path, &database)?;
        if !existing {
            // A process that is killed before this leaves nothing that the next start takes for a damaged database.
            file::name(path)?;
        }
        let open = RwLock::new(Opening::Open(Arc::new(database), disk));
        Ok(Self { path: path.to_owned(), file, cache_bytes, open })
    }

    /// Whether the disk has room for a commit of `bytes`, as far as one can know beforehand. Asking first keeps the
    /// ordinary full disk away from redb, which has to be opened again after a failed write.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        file::free_bytes(&self.path).map_or(true, |free| free >= bytes)
    }

    /// The database, for the writer.
    pub(super) fn current(&self) -> Result<Arc<Database>, StoreError> {
        match &*self.open.read() {
            Opening::Open(database, _) => Ok(database.clone()),
            Opening::Full => Err(StoreError::NoSpace),
            Opening::Failed(reason) => Err(StoreError::Disk { reason: reason.clone() }),
            Opening::Closed => Err(StoreError::Closed),
        }
    }

    /// Calls `read` with a snapshot. Blocks only on the disk.
    pub(super) fn read<T>(&self, read: impl Fn(&ReadTransaction) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let database = self.current()?;
        match snapshot(&database).and_then(|snapshot| read(&snapshot)) {
            Err(StoreError::Disk { reason }) => {
                let reopened = self.wait_reopened(&database).ok_or(StoreError::Disk { reason })?;
                drop(database);
                snapshot(&reopened).and_then(|snapshot| read(&snapshot))
            }
            done => done,
        }
    }

    /// After a failed read: when the cause was a failed write, the writer is opening the database again.
    fn wait_reopened(&self, failed: &Arc<Database>) -> Option<Arc<Database>> {
        for _ in 0..REOPEN_POLLS {
            match &*self.open.read() {
                Opening::Open(database, _) if !Arc::ptr_eq(database, failed) => return Some(database.clone()),
                Opening::Open(_, disk) if disk.write_failed() => {}
                _ => return None,
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    }

    /// After a failed write: makes reads work again, and writes unless the disk itself failed.
    pub(super) fn recover(&self, error: &StoreError) {
        let mut open = self.open.write();
        if let Opening::Open(_, disk) = &*open {
            disk.retire();
            if disk.sync_failed() || matches!(error, StoreError::Disk { .. } | StoreError::Damaged { .. }) {
                tracing::error!(path = %self.path.display(), %error, "the store's disk failed; restart when it is repaired");
                *open = Opening::Failed(error.to_string());
                return;
            }
        }
        if matches!(&*open, Opening::Failed(_) | Opening::Closed) {
            return;
        }
        *open = match open_database(&self.path, &self.file, self.cache_bytes) {
            Ok((database, disk)) => Opening::Open(Arc::new(database), disk),
            Err(OpenError::NoSpace { .. }) => Opening::Full,
            Err(error) => Opening::Failed(error.to_string()),
        };
    }

    /// Lets go of the file. Blocks until readers are done, but not for ever.
    pub(super) fn close(&self) {
        let was = std::mem::replace(&mut *self.open.write(), Opening::Closed);
        if let Opening::Open(mut database, disk) = was {
            let patience = std::time::Instant::now() + CLOSE_PATIENCE;
            while let Err(still_read) = Arc::try_unwrap(database) {
                database = still_read;
                if std::time::Instant::now() > patience {
                    disk.retire();
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        if let Err(error) = self.file.unlock() {
            tracing::warn!(%error, path = %self.path.display(), "cannot unlock the store's file");
        }
    }
}

/// The last revision in a snapshot.
pub(super) fn revision(snapshot: &ReadTransaction) -> Result<Revision, StoreError> {
    let log = snapshot.open_table(LOG).map_err(failed)?;
    Ok(log.last().map_err(failed)?.map_or(0, |(revision, _)| revision.value()))
}

/// Sorts an engine's error by who has to act on it.
pub(super) fn failed(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Io(error) if is_no_space(&error) => StoreError::NoSpace,
        redb::Error::Corrupted(reason) => StoreError::Damaged { reason },
        redb::Error::DatabaseClosed => StoreError::Closed,
        error => StoreError::Disk { reason: error.to_string() },
    }
}

fn snapshot(database: &Database) -> Result<ReadTransaction, StoreError> {
    database.begin_read().map_err(failed)
}

fn open_database(path: &Path, file: &Arc<File>, cache_bytes: usize) -> Result<(Database, DiskFile), OpenError> {
    let disk = DiskFile::new(file.clone());
    let damaged = |reason: String| OpenError::Damaged { path: path.to_owned(), reason };
    // redb may panic on a file that was tampered with; for us that is one more damaged file.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        redb::Builder::new().set_cache_size(cache_bytes).create_with_backend(disk.clone())
    }));
    match opened {
        Ok(Ok(database)) => Ok((database, disk)),
        Ok(Err(error)) => Err(match failed(error) {
            StoreError::NoSpace => OpenError::NoSpace { path: path.to_owned() },
            StoreError::Damaged { reason } | StoreError::Disk { reason } => damaged(reason),
            error => damaged(error.to_string()),
        }),
        Err(_) => Err(damaged("its pages contradict each other".to_owned())),
    }
}

/// Creates the tables of a new file, checks the format of an old one.
fn prepare(path: &Path, database: &Database) -> Result<(), OpenError> {
    let damaged = |error: StoreError| match error {
        StoreError::NoSpace => OpenError::NoSpace { path: path.to_owned() },
        error => OpenError::Damaged { path: path.to_owned(), reason: error.to_string() },
    };
    match read_format(database).map_err(damaged)? {
        Some(found) if found > FORMAT => Err(OpenError::Format { path: path.to_owned(), found, known: FORMAT }),
        Some(_) => Ok(()),
        None => create_tables(database).map_err(damaged),
    }
}

fn read_format(database: &Database) -> Result<Option<u64>, StoreError> {
    let meta = match snapshot(database)?.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let format = meta.get(META_FORMAT).map_err(failed)?;
    Ok(format.map(|format| format.value()))
}

fn create_tables(database: &Database) -> Result<(), StoreError> {
    let write = database.begin_write().map_err(failed)?;
    write.open_table(ROWS).map_err(failed)?;
    write.open_table(LOG).map_err(failed)?;
    write.open_table(LEASES).map_err(failed)?;
    write.open_table(LEASE_KEYS).map_err(failed)?;
    write.open_table(META).map_err(failed)?.insert(META_FORMAT, FORMAT).map_err(failed)?;
    write.commit().map_err(failed)
}
