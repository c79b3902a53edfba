//! What a session printed, on disk until the control plane has it: a file per session, readable by root alone.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
};

use gantry_domain::limits::EXEC_TRANSCRIPT_BYTES_MAX;

use crate::host::Dirs;

/// More of a session is not kept.
const BYTES_MAX: u64 = EXEC_TRANSCRIPT_BYTES_MAX as u64;
/// The end of one that the host could not keep to its end.
const BROKEN_OFF: &str = "\r\n[The rest of the session could not be kept on its host.]\r\n";
/// Handed over at a time.
const CHUNK_BYTES: usize = 32 * 1024;

/// The transcript of a session.
pub(super) struct Transcript {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// It could not be written: what comes now would follow a gap.
    broken_off: bool,
}

fn directory(dirs: &Dirs) -> PathBuf {
    dirs.root.join("sessions")
}

impl Transcript {
    /// Opens it; what an earlier agent wrote stays.
    pub(super) fn open(dirs: &Dirs, session_id: &str) -> io::Result<Self> {
        let directory = directory(dirs);
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let path = directory.join(session_id);
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path, file, bytes, broken_off: false })
    }

    /// Adds output, as far as there is room for it. After an error, which is told once, nothing is added any more.
    pub(super) fn add(&mut self, output: &[u8]) -> io::Result<()> {
        if self.broken_off {
            return Ok(());
        }
        let room = usize::try_from(BYTES_MAX.saturating_sub(self.bytes)).unwrap_or(usize::MAX);
        let output = output.get(..output.len().min(room)).unwrap_or_default();
        let added = self.file.write_all(output);
        self.broken_off = added.is_err();
        self.bytes += output.len() as u64;
        added
    }

    /// Reads it from its beginning; whoever reads is told when it broke off.
    pub(super) fn read(&self) -> io::Result<Pieces> {
        Ok(Pieces { file: File::open(&self.path)?, last: if self.broken_off { BROKEN_OFF } else { "" } })
    }
}

/// A transcript, piece by piece.
pub(super) struct Pieces {
    file: File,
    /// What is said behind it.
    last: &'static str,
}

impl Pieces {
    /// The next piece; empty at the end.
    pub(super) fn next(&mut self) -> io::Result<Vec<u8>> {
        let mut piece = Vec::with_capacity(CHUNK_BYTES);
        (&mut self.file).take(CHUNK_BYTES as u64).read_to_end(&mut piece)?;
        if piece.is_empty() {
            piece.extend_from_slice(std::mem::take(&mut self.last).as_bytes());
        }
        Ok(piece)
    }
}

/// Removes transcripts of sessions that nobody asks for any more.
pub(super) fn forget_others(dirs: &Dirs, wanted: impl Fn(&str) -> bool) -> io::Result<()> {
    let entries = match fs::read_dir(directory(dirs)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries.flatten() {
        if !entry.file_name().to_str().is_some_and(&wanted) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_transcript_outlives_its_agent_and_goes_with_its_session() {
        let folder = tempfile::tempdir().unwrap();
        let dirs = Dirs::new(folder.path());
        forget_others(&dirs, |_| false).unwrap();
        Transcript::open(&dirs, "a").unwrap().add(&[b'x'; 40_000]).unwrap();
        Transcript::open(&dirs, "b").unwrap();
        let again = Transcript::open(&dirs, "a").unwrap();
        let mut pieces = again.read().unwrap();
        let lengths = [(); 3].map(|()| pieces.next().unwrap().len());
        assert_eq!(lengths, [32 * 1024, 40_000 - 32 * 1024, 0]);
        let mode = fs::metadata(directory(&dirs).join("a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        forget_others(&dirs, |id| id == "a").unwrap();
        let left: Vec<_> = fs::read_dir(directory(&dirs)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["a"]);
    }

    #[test]
    fn no_more_than_the_bound_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut transcript = Transcript::open(&Dirs::new(folder.path()), "a").unwrap();
        transcript.bytes = BYTES_MAX - 3;
        transcript.add(b"12345").unwrap();
        transcript.add(b"6").unwrap();
        assert_eq!(fs::read(&transcript.path).unwrap(), b"123");
    }

    #[test]
    fn a_transcript_that_broke_off_keeps_what_it_has_and_takes_nothing_behind_the_gap() {
        let folder = tempfile::tempdir().unwrap();
        let mut transcript = Transcript::open(&Dirs::new(folder.path()), "a").unwrap();
        transcript.add(b"one").unwrap();
        let reading = File::open(&transcript.path).unwrap();
        let writing = std::mem::replace(&mut transcript.file, reading);
        transcript.add(b"two").unwrap_err();
        transcript.file = writing;
        transcript.add(b"three").unwrap();
        let mut pieces = transcript.read().unwrap();
        let pieces = [(); 3].map(|()| pieces.next().unwrap());
        assert_eq!(pieces, [b"one".to_vec(), BROKEN_OFF.into(), Vec::new()]);
    }
}
