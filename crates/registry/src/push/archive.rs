//! A tar file read in place: where each of its files begins and how long it is.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tar::EntryType;

use super::PushError;
use super::prepared::Content;

/// Links followed before an archive is taken for a trick.
const LINKS_FOLLOWED_MAX: usize = 8;

pub(super) struct Archive {
    path: PathBuf,
    entries: HashMap<String, Entry>,
    /// Where the tar lies when the archive was compressed; removed with this.
    unpacked: Option<Arc<tempfile::TempPath>>,
}

enum Entry {
    File { offset: u64, length: u64 },
    Link(String),
}

impl Archive {
    /// Reads the headers of an archive, compressed with gzip or not. Blocking.
    pub(super) fn open(path: &Path) -> Result<Self, PushError> {
        let read = |source| PushError::Read { path: path.to_owned(), source };
        let unpacked = unpack_gzip(path).map_err(read)?.map(Arc::new);
        let tar_path = unpacked.as_ref().map_or(path, |unpacked| unpacked.as_ref());
        let not_an_archive = |_| PushError::NotAnImage { path: path.to_owned() };
        let mut tar = tar::Archive::new(File::open(tar_path).map_err(read)?);
        let mut entries = HashMap::new();
        for entry in tar.entries_with_seek().map_err(not_an_archive)? {
            let entry = entry.map_err(not_an_archive)?;
            let Some(name) = plain_name(&entry.path_bytes()) else { continue };
            let found = match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                    Entry::File { offset: entry.raw_file_position(), length: entry.size() }
                }
                EntryType::Symlink | EntryType::Link => {
                    let target = entry.link_name_bytes().unwrap_or_default();
                    let target = String::from_utf8_lossy(&target).into_owned();
                    let is_symlink = entry.header().entry_type() == EntryType::Symlink;
                    let parent = Path::new(&name).parent().filter(|_| is_symlink).unwrap_or(Path::new(""));
                    match plain_name(parent.join(target).as_os_str().as_encoded_bytes()) {
                        Some(target) => Entry::Link(target),
                        None => continue,
                    }
                }
                _ => continue,
            };
            entries.insert(name, found);
        }
        Ok(Self { path: path.to_owned(), entries, unpacked })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Where a file's bytes are.
    pub(super) fn content(&self, name: &str) -> Option<Content> {
        let (offset, length) = self.find(name)?;
        Some(Content::File { path: self.tar_path().to_owned(), offset, length })
    }

    /// A small file whole; none when there is none or it is longer than `length_max`.
    pub(super) fn read(&self, name: &str, length_max: u64) -> io::Result<Option<Bytes>> {
        let Some((offset, length)) = self.find(name).filter(|(_, length)| *length <= length_max) else {
            return Ok(None);
        };
        let mut file = File::open(self.tar_path())?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes)?;
        Ok(Some(Bytes::from(bytes)))
    }

    /// Keeps an unpacked copy alive for as long as its contents are used.
    pub(super) fn keep(&self) -> Option<Arc<tempfile::TempPath>> {
        self.unpacked.clone()
    }

    fn tar_path(&self) -> &Path {
        self.unpacked.as_ref().map_or(self.path.as_path(), |unpacked| unpacked.as_ref())
    }

    fn find(&self, name: &str) -> Option<(u64, u64)> {
        let mut name = name;
        for _ in 0..LINKS_FOLLOWED_MAX {
            match self.entries.get(name)? {
                Entry::File { offset, length } => return Some((*offset, *length)),
                Entry::Link(target) => name = target,
            }
        }
        None
    }
}

/// A name without `.`, `..` and leading slashes; none when it leads out of the archive.
fn plain_name(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut parts = Vec::new();
    for component in Path::new(text).components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::ParentDir => drop(parts.pop()?),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Some(parts.join("/"))
}

/// A compressed archive is unpacked into a temporary file: its parts are read twice and in any order.
fn unpack_gzip(path: &Path) -> io::Result<Option<tempfile::TempPath>> {
    let mut file = File::open(path)?;
    let mut magic = [0; 2];
    match file.read_exact(&mut magic) {
        Ok(()) if magic == [0x1f, 0x8b] => {}
        Ok(()) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    file.seek(SeekFrom::Start(0))?;
    let mut unpacked = tempfile::NamedTempFile::new()?;
    io::copy(&mut flate2::read::MultiGzDecoder::new(file), unpacked.as_file_mut())?;
    Ok(Some(unpacked.into_temp_path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside_the_archive() {
        let cases = [
            ("a/b", Some("a/b")),
            ("./a/./b", Some("a/b")),
            ("/a", Some("a")),
            ("x/../a", Some("a")),
            ("../a", None),
            ("a/../../b", None),
        ];
        for (name, expected) in cases {
            assert_eq!(plain_name(name.as_bytes()).as_deref(), expected, "{name}");
        }
    }
}
