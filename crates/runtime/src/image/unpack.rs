//! Unpacks one layer in one pass: decompress and hash on one thread, read the archive and create files on another.
//!
//! Creating files takes most of the time, so it must not also wait for inflate and SHA-256. Nothing is believed: the
//! layer's uncompressed digest is checked at the end, and the caller makes the directory visible only after that.

mod archive;
mod path;
mod source;
mod writer;

#[cfg(test)]
mod tests;

use std::{io, os::fd::OwnedFd, path::Path};

use self::{
    archive::{Archive, Entry, Kind},
    path::{LayerPath, Meaning},
    writer::Writer,
};
use super::failure::Failure;

/// Bounds for one layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) bytes_max: u64,
    pub(super) entries_max: u64,
}

/// What is worth knowing of an unpacked layer.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Layer {
    /// Uncompressed archive, bytes.
    pub(super) bytes: u64,
    /// Entries in the archive.
    pub(super) entries: u64,
    /// Directories that exist only because something is in them; their owner and mode are a guess.
    pub(super) implied: Vec<String>,
    /// The archive says what owner and mode the root directory has.
    pub(super) root_explicit: bool,
}

/// Unpacks the layer blob `blob` (gzip, zstd or plain tar, told by its first bytes) into the empty directory `root`,
/// using the empty directory `replaced` beside it as scratch space.
pub(super) fn unpack(
    blob: &Path,
    root: &Path,
    replaced: &Path,
    diff_id: &str,
    limits: Limits,
) -> Result<Layer, Failure> {
    let file = std::fs::File::open(blob).map_err(|error| Failure::io(format!("open {}", blob.display()), error))?;
    let mut writer = Writer::open(root, replaced)?;
    let (entries, summary) = source::read(file, diff_id, limits.bytes_max, |reader| {
        let mut archive = Archive::new(reader, limits.entries_max);
        while let Some(entry) = archive.next_entry()? {
            write_entry(&mut archive, &mut writer, &entry)?;
        }
        let entries = archive.headers();
        archive.drain()?;
        Ok(entries)
    })?;
    if summary.digest != diff_id {
        return Err(Failure::corrupt(format!("layer unpacks to {}, expected {diff_id}", summary.digest)));
    }
    let written = writer.finish()?;
    Ok(Layer {
        bytes: summary.bytes,
        entries,
        implied: written.implied.into_iter().filter_map(|path| String::from_utf8(path).ok()).collect(),
        root_explicit: written.root_explicit,
    })
}

fn write_entry<R: io::BufRead>(archive: &mut Archive<R>, writer: &mut Writer, entry: &Entry) -> Result<(), Failure> {
    match path::meaning(&entry.path)? {
        Meaning::Ignored => Ok(()),
        Meaning::Whiteout(path) => writer.whiteout(&path),
        Meaning::Opaque(path) => writer.opaque(&path),
        Meaning::Entry(path) => match writer.create(&path, entry)? {
            Some(file) => write_file(archive, writer, &path, &file, entry),
            None => Ok(()),
        },
    }
}

fn write_file<R: io::BufRead>(
    archive: &mut Archive<R>,
    writer: &Writer,
    path: &LayerPath,
    file: &OwnedFd,
    entry: &Entry,
) -> Result<(), Failure> {
    debug_assert_eq!(entry.kind, Kind::File, "only files have content");
    archive.read_content(|mut piece| {
        while !piece.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::write(file, piece))
                .map_err(|error| Failure::io("write a file of a layer", error))?;
            piece = &piece[written..];
        }
        Ok(())
    })?;
    writer.seal_file(path, file, entry)
}
