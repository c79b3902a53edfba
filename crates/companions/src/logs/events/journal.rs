//! The journal: every block of every stream, in the order it came, made durable with one `fdatasync` per group.
//!
//! Segments are written beside it without syncing. When a journal is full a new one is begun, the segments that the
//! old one covers are synced in the background ([`Checkpointer`]), and it is deleted. At the start what is in the
//! journals is written into the segments again where a crash lost it ([`replay`]).

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use super::block::{HEADER_LEN, Header, Kind};
use super::stream::{StreamId, sync_directory};

/// A journal is full at this size: bounds the work of a start after a crash.
pub(super) const JOURNAL_BYTES_MAX: u64 = 32 << 20;

/// Group and stream before each block.
const PREFIX_LEN: usize = 20;

/// The journal being written.
#[derive(Debug)]
pub(super) struct Journal {
    directory: PathBuf,
    number: u64,
    file: File,
    len: u64,
    /// Segments with blocks that only this journal makes durable.
    dirty: BTreeSet<PathBuf>,
}

/// Why a group could not be made durable.
#[derive(Debug)]
pub(super) enum JournalError {
    /// Nothing of it is there.
    NotWritten(io::Error),
    /// It may or may not be there, and the disk cannot be trusted until it has been read again after a restart.
    Unknown(io::Error),
}

/// A full journal, or at the end the last one, and what must be synced before it may go.
#[derive(Debug)]
struct Retired {
    path: PathBuf,
    dirty: BTreeSet<PathBuf>,
}

impl Journal {
    /// Begins an empty journal.
    pub(super) fn create(directory: &Path, number: u64) -> io::Result<Self> {
        let path = path(directory, number);
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        sync_directory(directory)?;
        Ok(Self { directory: directory.to_owned(), number, file, len: 0, dirty: BTreeSet::new() })
    }

    /// Makes a group durable; `segments` are the files its blocks went to.
    pub(super) fn commit(
        &mut self,
        group: &[u8],
        segments: impl IntoIterator<Item = PathBuf>,
    ) -> Result<(), JournalError> {
        // Before anything else: a segment that got a block must be synced even when the group then fails.
        self.dirty.extend(segments);
        if let Err(error) = self.file.write_all_at(group, self.len) {
            self.file.set_len(self.len).map_err(JournalError::Unknown)?;
            return Err(JournalError::NotWritten(error));
        }
        self.file.sync_data().map_err(JournalError::Unknown)?;
        self.len += group.len() as u64;
        Ok(())
    }

    pub(super) fn is_full(&self) -> bool {
        self.len >= JOURNAL_BYTES_MAX
    }

    /// Goes on in a new journal and leaves the old one to `checkpointer`. On failure this one simply grows.
    pub(super) fn rotate(&mut self, checkpointer: &Checkpointer) -> io::Result<()> {
        let next = Self::create(&self.directory, self.number + 1)?;
        checkpointer.retire(std::mem::replace(self, next).retired());
        Ok(())
    }

    /// Syncs everything and removes the journal.
    pub(super) fn finish(self) -> io::Result<()> {
        checkpoint(&self.retired())
    }

    fn retired(self) -> Retired {
        Retired { path: path(&self.directory, self.number), dirty: self.dirty }
    }
}

/// Appends the journal's form of a block to `group`.
pub(super) fn encode(stream: StreamId, block: &[u8], group: &mut Vec<u8>) {
    let mut prefix = [0; PREFIX_LEN];
    prefix[..8].copy_from_slice(&stream.group.to_le_bytes());
    prefix[8..16].copy_from_slice(&stream.stream.to_le_bytes());
    let crc = crc32fast::hash(&prefix[..16]);
    prefix[16..].copy_from_slice(&crc.to_le_bytes());
    group.extend_from_slice(&prefix);
    group.extend_from_slice(block);
}

/// The journals in a directory, oldest first.
pub(super) fn list(directory: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number =
            name.to_str().and_then(|name| name.strip_prefix("journal-")).and_then(|number| number.parse::<u64>().ok());
        found.extend(number);
    }
    found.sort_unstable();
    Ok(found)
}

/// A journal's file.
pub(super) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("journal-{number:010}"))
}

/// Calls `each` with every whole block of a journal. A crash may have cut the last group: what follows the first thing
/// that is no whole block was never answered.
pub(super) fn replay(path: &Path, mut each: impl FnMut(StreamId, &Header, &[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut block = Vec::new();
    loop {
        let mut prefix = [0; PREFIX_LEN];
        block.resize(HEADER_LEN, 0);
        if !read_all(&mut file, &mut prefix)? || !read_all(&mut file, &mut block)? {
            return Ok(());
        }
        let Some(stream) = decode_prefix(&prefix) else { return Ok(()) };
        let Some(header) = Header::decode(&block).filter(|header| header.kind == Kind::Events) else { return Ok(()) };
        // The header's checksum held, so its length is what was written: about a mebibyte at the most.
        block.resize(HEADER_LEN + header.body_len as usize, 0);
        if !read_all(&mut file, &mut block[HEADER_LEN..])? || !header.is_intact(&block[HEADER_LEN..]) {
            return Ok(());
        }
        each(stream, &header, &block)?;
    }
}

fn decode_prefix(prefix: &[u8; PREFIX_LEN]) -> Option<StreamId> {
    let number = |at: usize| u64::from_le_bytes(prefix[at..at + 8].try_into().expect("eight bytes"));
    let crc = u32::from_le_bytes(prefix[16..].try_into().expect("four bytes"));
    (crc32fast::hash(&prefix[..16]) == crc).then(|| StreamId { group: number(0), stream: number(8) })
}

/// Fills `buffer`; false when the file ends before.
fn read_all(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Syncs segments behind the writer's back. At most one journal waits for it: when the disk is slower than the
/// events, the writer waits, and with it the callers.
#[derive(Debug)]
pub(super) struct Checkpointer {
    jobs: mpsc::SyncSender<Retired>,
    thread: JoinHandle<()>,
}

impl Checkpointer {
    pub(super) fn start() -> io::Result<Self> {
        let (jobs, waiting) = mpsc::sync_channel::<Retired>(0);
        let thread = std::thread::Builder::new().name("logs-checkpoint".to_owned()).spawn(move || {
            for job in waiting {
                // The journal stays, and the next start does what could not be done now.
                if let Err(error) = checkpoint(&job) {
                    tracing::error!(%error, journal = %job.path.display(), "log events cannot be synced");
                }
            }
        })?;
        Ok(Self { jobs, thread })
    }

    fn retire(&self, journal: Retired) {
        if let Err(mpsc::SendError(journal)) = self.jobs.send(journal) {
            tracing::error!(journal = %journal.path.display(), "the thread that syncs log events has ended");
        }
    }

    /// Waits for what is under way.
    pub(super) fn stop(self) {
        drop(self.jobs);
        if self.thread.join().is_err() {
            tracing::error!("the thread that syncs log events ended with a panic");
        }
    }
}

fn checkpoint(journal: &Retired) -> io::Result<()> {
    sync_files(&journal.dirty)?;
    fs::remove_file(&journal.path)
}

/// Makes files, and their names up to two directories above, durable. One that is gone needs nothing.
pub(super) fn sync_files(files: &BTreeSet<PathBuf>) -> io::Result<()> {
    let mut directories = BTreeSet::new();
    for file in files {
        match File::open(file) {
            Ok(opened) => opened.sync_data()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        }
        directories.extend(file.ancestors().skip(1).take(3).map(Path::to_owned));
    }
    for directory in directories {
        match sync_directory(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
