//! The store's file as redb sees it: one open file, locked for as long as the store is open.
//!
//! redb refuses everything after one failed write until the database is opened again. The file and its lock therefore
//! live here, outside redb, and each opening gets a [`DiskFile`] of its own that can be *retired*: a database that is
//! being replaced, but is still held by a reader, can no longer write.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::OpenError;

/// One opening of the file.
#[derive(Debug, Clone)]
pub(super) struct DiskFile {
    file: Arc<File>,
    state: Arc<DiskState>,
}

#[derive(Debug, Default)]
struct DiskState {
    retired: AtomicBool,
    write_failed: AtomicBool,
    sync_failed: AtomicBool,
}

impl DiskFile {
    pub(super) fn new(file: Arc<File>) -> Self {
        Self { file, state: Arc::default() }
    }

    /// From now on nothing can be written through this opening.
    pub(super) fn retire(&self) {
        self.state.retired.store(true, Ordering::SeqCst);
    }

    /// Whether the kernel failed to write something that it had taken. What is on the disk is unknown then, and asking
    /// again may wrongly succeed, so only a restart (which reads what is there) helps.
    pub(super) fn sync_failed(&self) -> bool {
        self.state.sync_failed.load(Ordering::SeqCst)
    }

    /// Whether a write failed, so that redb refuses everything and the writer is about to open the file again.
    pub(super) fn write_failed(&self) -> bool {
        self.state.write_failed.load(Ordering::SeqCst)
    }

    fn note_write<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|_| self.state.write_failed.store(true, Ordering::SeqCst))
    }

    fn check_retired(&self) -> io::Result<()> {
        if self.state.retired.load(Ordering::SeqCst) {
            return Err(io::Error::other("this opening of the store's file has ended"));
        }
        Ok(())
    }
}

impl redb::StorageBackend for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_retired()?;
        self.note_write(self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check_retired()?;
        let synced = self.file.sync_data().inspect_err(|_| self.state.sync_failed.store(true, Ordering::SeqCst));
        self.note_write(synced)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check_retired()?;
        self.note_write(self.file.write_all_at(data, offset))
    }
}

/// Opens the file and takes its lock.
pub(super) fn open_locked(path: &Path) -> Result<Arc<File>, OpenError> {
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(|error| failure(path, error))?;
    lock(path, file)
}

/// Creates the file under the name it has until it is whole, and takes its lock.
pub(super) fn create_unnamed(path: &Path) -> Result<Arc<File>, OpenError> {
    let unnamed = unfinished(path);
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(unnamed);
    let file = lock(path, options.map_err(|error| failure(path, error))?)?;
    // What a process that was killed left of its own.
    file.set_len(0).map_err(|error| failure(path, error))?;
    Ok(file)
}

/// Gives a file of [`create_unnamed`] its name, durably.
pub(super) fn name(path: &Path) -> Result<(), OpenError> {
    let (here, flags) = (rustix::fs::CWD, rustix::fs::RenameFlags::NOREPLACE);
    match rustix::fs::renameat_with(here, unfinished(path), here, path, flags) {
        // Somebody else made one at the same moment.
        Err(rustix::io::Errno::EXIST) => return Err(OpenError::Locked { path: path.to_owned() }),
        named => named.map_err(|error| failure(path, error.into()))?,
    }
    sync_directory_of(path).map_err(|error| failure(path, error))
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn lock(path: &Path, file: File) -> Result<Arc<File>, OpenError> {
    match file.try_lock() {
        Ok(()) => Ok(Arc::new(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(failure(path, error)),
    }
}

fn failure(path: &Path, source: io::Error) -> OpenError {
    match is_no_space(&source) {
        true => OpenError::NoSpace { path: path.to_owned() },
        false => OpenError::Io { path: path.to_owned(), source },
    }
}

/// Whether the error says that the disk, or our share of it, is full.
pub(super) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Bytes that can still be written to the disk that holds `path`.
pub(super) fn free_bytes(path: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(path)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}
