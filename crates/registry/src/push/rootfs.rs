//! A directory as a layer: a tar stream with owners, modes, times, links, devices and extended attributes.
//!
//! The same directory gives the same bytes: entries are sorted, and nothing of the moment goes in. The stream is made
//! twice, once to learn its digest and once to send it; a directory that changes in between fails the push.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

/// Names and values of extended attributes longer than this are not files' but somebody's database.
const ATTRIBUTES_SIZE_MAX: usize = 64 * 1024;

pub(super) fn write_layer(root: &Path, out: &mut dyn Write) -> io::Result<()> {
    let mut layer = Layer { tar: Builder::new(out), links: HashMap::new() };
    layer.tar.sparse(false);
    layer.entry(root, Path::new("./"))?;
    layer.tar.into_inner()?.flush()
}

struct Layer<W: Write> {
    tar: Builder<W>,
    /// Files with several names, by device and inode, and the name each was written under.
    links: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Layer<W> {
    /// Writes the entry `name` and, for a directory, what is in it.
    fn entry(&mut self, path: &Path, name: &Path) -> io::Result<()> {
        let metadata = fs::symlink_metadata(path)?;
        let kind = metadata.file_type();
        if kind.is_socket() {
            return Ok(());
        }
        self.attributes(path)?;
        let mut header = header(&metadata);
        if kind.is_dir() {
            header.set_entry_type(EntryType::Directory);
            self.tar.append_data(&mut header, name, io::empty())?;
            let mut children: Vec<OsString> =
                fs::read_dir(path)?.map(|child| child.map(|child| child.file_name())).collect::<io::Result<_>>()?;
            children.sort();
            for child in children {
                self.entry(&path.join(&child), &name.join(&child))?;
            }
            return Ok(());
        }
        if metadata.nlink() > 1
            && let Some(first) = self.links.get(&(metadata.dev(), metadata.ino()))
        {
            header.set_entry_type(EntryType::Link);
            let first = first.clone();
            return self.tar.append_link(&mut header, name, first);
        }
        self.links.insert((metadata.dev(), metadata.ino()), name.to_owned());
        if kind.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            self.tar.append_link(&mut header, name, fs::read_link(path)?)
        } else if kind.is_file() {
            header.set_entry_type(EntryType::Regular);
            header.set_size(metadata.len());
            self.tar.append_data(&mut header, name, Exactly { file: File::open(path)?, left: metadata.len() })
        } else {
            self.special(header, &metadata, name)
        }
    }

    fn special(&mut self, mut header: Header, metadata: &Metadata, name: &Path) -> io::Result<()> {
        let kind = metadata.file_type();
        header.set_entry_type(match () {
            () if kind.is_char_device() => EntryType::Char,
            () if kind.is_block_device() => EntryType::Block,
            () => EntryType::Fifo,
        });
        if !kind.is_fifo() {
            header.set_device_major(rustix::fs::major(metadata.rdev()))?;
            header.set_device_minor(rustix::fs::minor(metadata.rdev()))?;
        }
        self.tar.append_data(&mut header, name, io::empty())
    }

    /// Extended attributes go before the entry, in the form every unpacker knows.
    fn attributes(&mut self, path: &Path) -> io::Result<()> {
        let attributes = read_attributes(path)?;
        if attributes.is_empty() {
            return Ok(());
        }
        self.tar.append_pax_extensions(attributes.iter().map(|(name, value)| (name.as_str(), value.as_slice())))
    }
}

fn header(metadata: &Metadata) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(metadata.mode() & 0o7777);
    header.set_uid(u64::from(metadata.uid()));
    header.set_gid(u64::from(metadata.gid()));
    header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
    header.set_size(0);
    header
}

fn read_attributes(path: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut names = vec![0; ATTRIBUTES_SIZE_MAX];
    let length = match rustix::fs::llistxattr(path, &mut names) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut attributes = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let Ok(text) = std::str::from_utf8(name) else { continue };
        // SELinux labels are this machine's, not the image's.
        if text == "security.selinux" {
            continue;
        }
        let mut value = vec![0; ATTRIBUTES_SIZE_MAX];
        let length = rustix::fs::lgetxattr(path, std::ffi::OsStr::from_bytes(name), &mut value)?;
        value.truncate(length);
        attributes.push((format!("SCHILY.xattr.{text}"), value));
    }
    attributes.sort();
    Ok(attributes)
}

/// A file that must be as long as it was: a shorter one would shift everything after it.
struct Exactly {
    file: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        match self.file.read(&mut buffer[..wanted])? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a file became shorter while it was read")),
            read => {
                self.left -= read as u64;
                Ok(read)
            }
        }
    }
}
