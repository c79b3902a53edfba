//! Segments on disk: files of JSON lines, each begun by one process and removed as a whole.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

/// Bytes of a file before the next is begun.
const FILE_BYTES: u64 = 4 << 20;

/// A segment as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) account: String,
    pub(super) region: String,
    /// When it came, milliseconds since the epoch.
    pub(super) at: u64,
    pub(super) document: String,
}

/// A file of an earlier process.
#[derive(Debug)]
pub(super) struct OldFile {
    pub(super) number: u64,
    pub(super) bytes: u64,
    /// When it was last changed, milliseconds since the epoch.
    pub(super) changed_at: u64,
}

/// The files of a folder; new lines go to the newest.
pub(super) struct Journal {
    folder: PathBuf,
    number: u64,
    file: File,
    bytes: u64,
}

impl Journal {
    /// Reads what earlier processes wrote, oldest first (file, record), and begins a file; the earlier ones that have
    /// anything are told too. A line that is not whole is the last of a process that was killed before it answered.
    pub(super) fn open(folder: PathBuf, mut each: impl FnMut(u64, Record)) -> io::Result<(Self, Vec<OldFile>)> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "jsonl") {
                numbers.extend(path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok()));
            }
        }
        numbers.sort_unstable();
        let mut old = Vec::new();
        for number in &numbers {
            let metadata = fs::metadata(path(&folder, *number))?;
            // Of a process that was given no segments.
            if metadata.len() == 0 {
                fs::remove_file(path(&folder, *number))?;
                continue;
            }
            let changed = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
            let changed_at = u64::try_from(changed).unwrap_or(u64::MAX);
            old.push(OldFile { number: *number, bytes: metadata.len(), changed_at });
            for line in BufReader::new(File::open(path(&folder, *number))?).split(b'\n') {
                let line = line?;
                match serde_json::from_slice(&line) {
                    Ok(record) => each(*number, record),
                    Err(error) => tracing::warn!(file = number, %error, "a segment cannot be read and is left out"),
                }
            }
        }
        let number = numbers.last().map_or(1, |last| last + 1);
        let file = begin(&folder, number)?;
        Ok((Self { folder, number, file, bytes: 0 }, old))
    }

    /// Appends records, durably; the number of their file, and the bytes of each.
    pub(super) fn append(&mut self, records: &[Record]) -> io::Result<(u64, Vec<u64>)> {
        if self.bytes >= FILE_BYTES {
            self.file = begin(&self.folder, self.number + 1)?;
            self.number += 1;
            self.bytes = 0;
        }
        let (mut lines, mut sizes) = (Vec::new(), Vec::new());
        for record in records {
            let before = lines.len();
            serde_json::to_writer(&mut lines, record)?;
            lines.push(b'\n');
            sizes.push((lines.len() - before) as u64);
        }
        let written = self.file.write_all(&lines).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // What is there of it is nobody's: the next lines begin where these did.
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        self.bytes += lines.len() as u64;
        Ok((self.number, sizes))
    }

    /// Removes a file that is not the newest.
    pub(super) fn remove(&self, number: u64) -> io::Result<()> {
        match fs::remove_file(path(&self.folder, number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The file that is written to.
    pub(super) fn newest(&self) -> u64 {
        self.number
    }
}

fn begin(folder: &Path, number: u64) -> io::Result<File> {
    let file = fs::OpenOptions::new().append(true).create_new(true).mode(0o600).open(path(folder, number))?;
    File::open(folder)?.sync_all()?;
    Ok(file)
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:012}.jsonl"))
}
