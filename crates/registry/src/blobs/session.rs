//! One upload to the local disk: the file it grows in, how much of it counts, and the running hash.
//!
//! A session has two ends. *Written* is what reached the file; *acknowledged* is what counts. A request that fails
//! leaves them apart, and the next one begins by cutting the file back. After a restart the file's length is what
//! counts and the hash is unknown: it is made again from the file when it is needed.

use std::fs::{File, OpenOptions};
use std::io::{IoSlice, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::OwnedMutexGuard;

use super::{BlobError, Parts, WriteMode, hashing};
use crate::digest::{Algorithm, Digest, Hasher};

/// How much is written before the kernel is told to begin putting it on the disk. The commit then waits for the last
/// such part only, and a large layer does not fill the memory with what is still to be written.
const WRITE_BACK_EVERY_BYTES: u64 = 8 * 1024 * 1024;
const REHASH_BUFFER_SIZE: usize = 1024 * 1024;

pub(super) struct Session {
    pub(super) path: PathBuf,
    pub(super) acknowledged: u64,
    acknowledged_hash: Option<Hasher>,
    pub(super) written: u64,
    hash: Option<Hasher>,
    pub(super) parts: Parts,
    /// The upload was committed or dropped while somebody waited for it.
    pub(super) gone: bool,
}

impl Session {
    pub(super) fn new(path: PathBuf, algorithm: Algorithm) -> Self {
        let hash = Some(Hasher::new(algorithm));
        Self {
            path,
            acknowledged: 0,
            acknowledged_hash: hash.clone(),
            written: 0,
            hash,
            parts: Parts::default(),
            gone: false,
        }
    }

    /// A session found on disk, `length` bytes long.
    pub(super) fn recovered(path: PathBuf, length: u64) -> Self {
        let mut session = Self::new(path, Algorithm::Sha256);
        if length > 0 {
            (session.acknowledged, session.written) = (length, length);
            (session.acknowledged_hash, session.hash) = (None, None);
        }
        session
    }

    fn acknowledge(&mut self) {
        self.acknowledged = self.written;
        self.acknowledged_hash.clone_from(&self.hash);
    }
}

/// A session in the hands of one request, with its file open once something was written.
pub(super) struct ActiveSession {
    pub(super) session: OwnedMutexGuard<Session>,
    mode: WriteMode,
    file: Option<File>,
    /// Where the part begins that the kernel was not told of yet.
    write_back_from: u64,
}

impl ActiveSession {
    /// Takes a session over. What an aborted request wrote without it being acknowledged no longer counts.
    pub(super) fn new(mut session: OwnedMutexGuard<Session>, mode: WriteMode) -> Self {
        if session.written != session.acknowledged {
            session.written = session.acknowledged;
            session.hash = session.acknowledged_hash.clone();
        }
        let write_back_from = session.written;
        Self { session, mode, file: None, write_back_from }
    }

    /// Appends `chunks`. Blocking.
    pub(super) fn append(&mut self, chunks: &[Bytes]) -> Result<(), BlobError> {
        let length: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        if length == 0 {
            return Ok(());
        }
        self.open()?;
        let hashing = hashing::begin(self.session.hash.take(), chunks, length);
        let written = write_all(self.open()?, chunks);
        // After a failed write the hash stays unknown: it counts bytes that the file does not have.
        self.session.hash = hashing.finish().filter(|_| written.is_ok());
        written.map_err(BlobError::io("writing to an upload"))?;
        self.session.written += length;
        if self.mode == WriteMode::Streaming {
            self.session.acknowledge();
        }
        self.begin_write_back();
        Ok(())
    }

    /// Counts everything written as part of the upload. `part_size` is what this request brought.
    pub(super) fn acknowledge(&mut self, part_size: u64) {
        self.session.acknowledge();
        self.session.parts = self.session.parts.after(part_size);
    }

    /// Checks the digest and makes the file's content durable, ready to be renamed. Blocking.
    pub(super) fn seal(&mut self, expected: &Digest) -> Result<u64, BlobError> {
        let computed = match self.session.hash.take() {
            Some(hash) if hash.algorithm() == expected.algorithm() => hash.finish(),
            _ => hash_file(&self.session.path, expected.algorithm())?,
        };
        if computed != *expected {
            return Err(BlobError::DigestMismatch { expected: expected.clone(), computed });
        }
        // It also reports what went wrong with a write-back begun earlier.
        self.open()?.sync_data().map_err(BlobError::io("syncing an upload"))?;
        Ok(self.session.written)
    }

    /// The file, positioned behind what was written. What a failed or aborted request left beyond that is cut off:
    /// otherwise the blob would keep a tail that was never hashed.
    fn open(&mut self) -> Result<&mut File, BlobError> {
        if self.file.is_none() {
            let written = self.session.written;
            let open = || {
                let mut file = OpenOptions::new().write(true).open(&self.session.path)?;
                if file.metadata()?.len() != written {
                    file.set_len(written)?;
                }
                file.seek(SeekFrom::Start(written))?;
                Ok(file)
            };
            self.file = Some(open().map_err(|error: std::io::Error| match error.kind() {
                std::io::ErrorKind::NotFound => BlobError::UploadUnknown,
                _ => BlobError::io("opening an upload")(error),
            })?);
        }
        Ok(self.file.as_mut().expect("it was just opened"))
    }

    /// Tells the kernel to begin writing back, once enough has come together.
    fn begin_write_back(&mut self) {
        let (from, length) = (self.write_back_from, self.session.written - self.write_back_from);
        if length < WRITE_BACK_EVERY_BYTES {
            return;
        }
        self.write_back_from = self.session.written;
        let (Some(file), Ok(from), Ok(length)) = (&self.file, from.try_into(), length.try_into()) else { return };
        // SAFETY: a system call on an open descriptor with three numbers; it reads and writes no memory of ours.
        #[expect(unsafe_code, reason = "neither std nor rustix has sync_file_range")]
        // Only a hint: whether it worked does not matter.
        let _ = unsafe { libc::sync_file_range(file.as_raw_fd(), from, length, libc::SYNC_FILE_RANGE_WRITE) };
    }
}

fn write_all(file: &mut File, chunks: &[Bytes]) -> std::io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = chunks.iter().map(|chunk| IoSlice::new(chunk)).collect();
    let mut rest = &mut slices[..];
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        let written = file.write_vectored(rest)?;
        if written == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}

/// The digest of a file's content. Blocking.
pub(super) fn hash_file(path: &Path, algorithm: Algorithm) -> Result<Digest, BlobError> {
    let doing = "reading a file to hash it";
    let mut file = File::open(path).map_err(BlobError::io(doing))?;
    let mut hasher = Hasher::new(algorithm);
    let mut buffer = vec![0; REHASH_BUFFER_SIZE];
    loop {
        match file.read(&mut buffer).map_err(BlobError::io(doing))? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&buffer[..read]),
        }
    }
}
