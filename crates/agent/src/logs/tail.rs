//! Reading a log file that is being written and rotated: `path`, `path.1` (newest) … `path.N`.
//!
//! A position is the file's inode and an offset. As inodes are used again, the first bytes of the file, which hold a
//! time in nanoseconds, are kept with it.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// How much is read at a time, and so about how much of a container's output is in memory.
const CHUNK_BYTES: usize = 256 << 10;
/// A line longer than this is cut; the shim writes at most 16 KiB of text, escaped.
const LINE_BYTES_MAX: usize = CHUNK_BYTES;
/// How much of a file's beginning identifies it.
const HEAD_BYTES: usize = 64;

/// A place in one of the files that a [`Tail`] has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    /// How many files were opened before: inodes come back, this number does not.
    pub(crate) nth_file: u64,
    pub(crate) offset: u64,
}

/// A place in a file, to be found again by another process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    inode: u64,
    offset: u64,
    head: String,
}

/// A line without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawLine {
    pub(crate) bytes: Vec<u8>,
    /// Behind the line.
    pub(crate) end: Mark,
}

pub(crate) struct Tail {
    path: PathBuf,
    max_files: u32,
    resume: Option<Position>,
    current: Option<Open>,
    /// The current file and those before it that a batch may still end in.
    identities: VecDeque<Identity>,
    files_opened: u64,
}

struct Identity {
    nth_file: u64,
    inode: u64,
    head: String,
}

struct Open {
    file: File,
    nth_file: u64,
    inode: u64,
    offset: u64,
}

impl Tail {
    /// Starts at `resume`, or at the oldest file there is.
    pub(crate) fn new(path: PathBuf, max_files: u32, resume: Option<Position>) -> Self {
        Self { path, max_files, resume, current: None, identities: VecDeque::new(), files_opened: 0 }
    }

    /// The next lines; empty when nothing more is there now. `ended` says that nothing more will be written, so that
    /// a last line without an end is one.
    pub(crate) fn read(&mut self, ended: bool) -> io::Result<Vec<RawLine>> {
        loop {
            if self.current.is_none() && !self.open_first()? {
                return Ok(Vec::new());
            }
            // Asked before reading: a file that was replaced by then is complete, as the shim writes to one at a time.
            let newer = self.newer()?;
            let Some(current) = &mut self.current else { return Ok(Vec::new()) };
            let lines = current.read(ended || newer.is_some())?;
            if !lines.is_empty() {
                return Ok(lines);
            }
            match newer {
                Some((file, inode)) => self.enter(file, inode, 0)?,
                None => return Ok(Vec::new()),
            }
        }
    }

    /// Makes a mark findable for the next process.
    pub(crate) fn position(&mut self, mark: &Mark) -> Option<Position> {
        let at = self.identities.iter().position(|file| file.nth_file == mark.nth_file)?;
        // Earlier files are done with.
        self.identities.drain(..at);
        let file = self.identities.front()?;
        Some(Position { inode: file.inode, offset: mark.offset, head: file.head.clone() })
    }

    fn open_first(&mut self) -> io::Result<bool> {
        let files = self.files()?;
        let resume = self.resume.take();
        for (file, inode) in &files {
            if let Some(position) = resume.as_ref().filter(|position| position.inode == *inode)
                && head(file)? == position.head
            {
                self.enter(file.try_clone()?, *inode, position.offset)?;
                return Ok(true);
            }
        }
        match files.into_iter().next_back() {
            Some((file, inode)) => {
                self.enter(file, inode, 0)?;
                Ok(true)
            }
            None => {
                self.resume = resume;
                Ok(false)
            }
        }
    }

    fn enter(&mut self, file: File, inode: u64, offset: u64) -> io::Result<()> {
        let nth_file = self.files_opened;
        self.files_opened += 1;
        self.identities.push_back(Identity { nth_file, inode, head: head(&file)? });
        self.current = Some(Open { file, nth_file, inode, offset });
        Ok(())
    }

    /// The file that follows the current one, when it was rotated away.
    fn newer(&mut self) -> io::Result<Option<(File, u64)>> {
        let Some(current) = &self.current else { return Ok(None) };
        let inode = current.inode;
        match std::fs::metadata(&self.path) {
            Ok(metadata) if metadata.ino() == inode => {
                // The head of a file that was empty when it was opened.
                if let Some(file) = self.identities.back_mut().filter(|file| file.head.len() < 2 * HEAD_BYTES) {
                    file.head = head(&current.file)?;
                }
                return Ok(None);
            }
            Ok(_) => {}
            // Between the two steps of a rotation: the file may have been followed by others before.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut files = self.files()?;
        match files.iter().position(|(_, other)| *other == inode) {
            Some(at) if at > 0 => Ok(Some(files.swap_remove(at - 1))),
            Some(_) => Ok(None),
            // Rotated out of existence; the oldest that is left follows.
            None => Ok(files.pop()),
        }
    }

    /// What exists, newest first.
    fn files(&self) -> io::Result<Vec<(File, u64)>> {
        let mut files: Vec<(File, u64)> = Vec::new();
        for nth in 0..=self.max_files {
            let path = if nth == 0 { self.path.clone() } else { numbered(&self.path, nth) };
            match File::open(path) {
                Ok(file) => {
                    let inode = file.metadata()?.ino();
                    // A rotation in between shows one file twice.
                    if files.iter().all(|(_, other)| *other != inode) {
                        files.push((file, inode));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(files)
    }
}

impl Open {
    /// Whole lines from the offset on. `complete` makes a line of what has no end.
    fn read(&mut self, complete: bool) -> io::Result<Vec<RawLine>> {
        self.file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::with_capacity(CHUNK_BYTES);
        Read::by_ref(&mut self.file).take(CHUNK_BYTES as u64).read_to_end(&mut bytes)?;
        let mut lines = Vec::new();
        let mut from = 0;
        while let Some(length) = bytes[from..].iter().position(|byte| *byte == b'\n') {
            self.line(&bytes[from..from + length], 1, &mut lines);
            from += length + 1;
        }
        let rest = &bytes[from..];
        let too_long = lines.is_empty() && rest.len() >= LINE_BYTES_MAX;
        let at_end = bytes.len() < CHUNK_BYTES;
        if !rest.is_empty() && (too_long || (complete && at_end)) {
            self.line(rest, 0, &mut lines);
        }
        Ok(lines)
    }

    fn line(&mut self, bytes: &[u8], end_bytes: u64, lines: &mut Vec<RawLine>) {
        self.offset += bytes.len() as u64 + end_bytes;
        lines.push(RawLine { bytes: bytes.to_vec(), end: Mark { nth_file: self.nth_file, offset: self.offset } });
    }
}

fn head(file: &File) -> io::Result<String> {
    let mut bytes = [0; HEAD_BYTES];
    let length = std::os::unix::fs::FileExt::read_at(file, &mut bytes, 0)?;
    Ok(hex::encode(&bytes[..length]))
}

pub(crate) fn numbered(path: &Path, nth: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{nth}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    struct Shim {
        dir: TempDir,
        max_files: u32,
        written: u32,
    }

    impl Shim {
        fn new() -> Self {
            Self { dir: TempDir::new().unwrap(), max_files: 4, written: 0 }
        }

        fn path(&self) -> PathBuf {
            self.dir.path().join("x.log")
        }

        fn line(&mut self) {
            let mut file = File::options().append(true).create(true).open(self.path()).unwrap();
            // Long enough that the number is within the head.
            writeln!(file, "line {:08} {}", self.written, "-".repeat(80)).unwrap();
            self.written += 1;
        }

        fn rotate(&self) {
            for nth in (1..self.max_files - 1).rev() {
                drop(std::fs::rename(numbered(&self.path(), nth), numbered(&self.path(), nth + 1)));
            }
            drop(std::fs::rename(self.path(), numbered(&self.path(), 1)));
        }

        fn tail(&self, resume: Option<Position>) -> Tail {
            Tail::new(self.path(), self.max_files, resume)
        }
    }

    fn numbers(lines: &[RawLine]) -> Vec<u32> {
        lines.iter().map(|line| String::from_utf8_lossy(&line.bytes)[5..13].parse().unwrap()).collect()
    }

    proptest! {
        /// Writes, rotations (few enough that nothing is lost), reads and restarts of the reader in any order: every
        /// line is read once.
        #[test]
        fn every_line_is_read_once(steps in proptest::collection::vec(0..6_u8, 1..60)) {
            let mut shim = Shim::new();
            let mut tail = shim.tail(None);
            let mut seen = Vec::new();
            let mut unread_rotations = 0;
            for step in steps {
                match step {
                    0..=2 => shim.line(),
                    3 if unread_rotations < 2 => { shim.rotate(); unread_rotations += 1; }
                    4 => {
                        let lines = tail.read(false).unwrap();
                        seen.extend(numbers(&lines));
                        if lines.is_empty() { unread_rotations = 0; }
                    }
                    5 => {
                        // Another process goes on where the last delivered line ended.
                        let lines = tail.read(false).unwrap();
                        seen.extend(numbers(&lines));
                        if let Some(line) = lines.last() {
                            let position = tail.position(&line.end).unwrap();
                            tail = shim.tail(Some(position));
                        }
                    }
                    _ => {}
                }
            }
            loop {
                let lines = tail.read(true).unwrap();
                if lines.is_empty() { break; }
                seen.extend(numbers(&lines));
            }
            prop_assert_eq!(seen, (0..shim.written).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_reused_inode_is_not_mistaken() {
        let mut shim = Shim::new();
        shim.line();
        let mut tail = shim.tail(None);
        let first = tail.read(false).unwrap();
        let mut position = tail.position(&first[0].end).unwrap();
        std::fs::remove_file(shim.path()).unwrap();
        shim.line();
        // What the kernel may well do by itself.
        position.inode = std::fs::metadata(shim.path()).unwrap().ino();
        assert_eq!(numbers(&shim.tail(Some(position)).read(false).unwrap()), [1]);
    }

    #[test]
    fn an_unfinished_line_waits_until_the_end() {
        let shim = Shim::new();
        std::fs::write(shim.path(), "line 00000000\nline 00000001").unwrap();
        let mut tail = shim.tail(None);
        assert_eq!(tail.read(false).unwrap().len(), 1);
        assert_eq!(tail.read(false).unwrap().len(), 0);
        assert_eq!(tail.read(true).unwrap().len(), 1);
    }

    #[test]
    fn a_line_without_end_is_cut_at_the_bound() {
        let shim = Shim::new();
        std::fs::write(shim.path(), vec![b'x'; 3 * CHUNK_BYTES]).unwrap();
        let mut tail = shim.tail(None);
        assert_eq!(tail.read(false).unwrap()[0].bytes.len(), CHUNK_BYTES);
    }
}
