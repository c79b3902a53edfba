//! Deletes directory trees of any depth.
//!
//! A container can nest directories deeper than any path is long, which ends a plain recursive delete by running out
//! of descriptors or stack. Here whatever lies too deep is first moved up into the trash itself.
//! Deleting is slow, so callers rename things into the trash (atomic, quick) and empty it off the critical path.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{self as sys, AtFlags, Dir, FileType, Mode, OFlags},
    io::Errno,
};

use super::erofs;

/// Levels descended at once: a few descriptors and frames.
const DEPTH_MAX: usize = 64;

#[derive(Debug, Clone)]
pub(super) struct Trash(PathBuf);

impl Trash {
    pub(super) fn open(directory: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&directory)?;
        Ok(Self(directory))
    }

    /// Moves `path` here. No error when there is nothing.
    pub(super) fn discard(&self, path: &Path) -> io::Result<()> {
        let name = uuid::Uuid::new_v4().simple().to_string();
        match std::fs::rename(path, self.0.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Deletes everything that was moved here. Several may do so at once.
    pub(super) fn empty(&self) -> io::Result<()> {
        let trash = open_directory(sys::CWD, &self.0)?;
        while clear(&trash, &trash, 0)? {}
        Ok(())
    }
}

fn open_directory<Fd: AsFd, P: rustix::path::Arg>(parent: Fd, name: P) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    sys::openat(parent, name, flags, Mode::empty())
}

/// Empties `directory`; true when something was moved up into `trash` and another round is needed.
fn clear(trash: &OwnedFd, directory: &OwnedFd, depth: usize) -> Result<bool, Errno> {
    let mut again = false;
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let gone = match entry.file_type() {
            FileType::Directory => remove_directory(trash, directory, name, depth, &mut again),
            _ => match sys::unlinkat(directory, name, AtFlags::empty()) {
                // Filesystems may leave the type out.
                Err(Errno::ISDIR) => remove_directory(trash, directory, name, depth, &mut again),
                other => other,
            },
        };
        match gone {
            Ok(()) | Err(Errno::NOENT) => {}
            // Somebody else empties the same trash and moved something up into it.
            Err(Errno::NOTEMPTY) if depth > 0 => again = true,
            Err(error) => return Err(error),
        }
    }
    Ok(again)
}

fn remove_directory(
    trash: &OwnedFd,
    directory: &OwnedFd,
    name: &CStr,
    depth: usize,
    again: &mut bool,
) -> Result<(), Errno> {
    if depth == DEPTH_MAX {
        *again = true;
        return sys::renameat(directory, name, trash, uuid::Uuid::new_v4().simple().to_string());
    }
    let mut child = open_directory(directory, name)?;
    // A layer's image that is still mounted: nothing in it is ours to delete.
    if sys::fstat(&child)?.st_dev != sys::fstat(trash)?.st_dev {
        drop(child);
        erofs::unmount_in(directory, name)?;
        child = open_directory(directory, name)?;
    }
    *again |= clear(trash, &child, depth + 1)?;
    match sys::unlinkat(directory, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY) => {
            *again = true;
            Ok(())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nesting_beyond_any_path_is_deleted() {
        let directory = tempfile::tempdir().unwrap();
        let trash = Trash::open(directory.path().join("trash")).unwrap();
        let doomed = directory.path().join("doomed");
        std::fs::create_dir(&doomed).unwrap();
        std::fs::write(doomed.join("file"), "x").unwrap();
        let mut current = open_directory(sys::CWD, &doomed).unwrap();
        for _ in 0..3000 {
            sys::mkdirat(&current, "d", Mode::RWXU).unwrap();
            sys::symlinkat("/etc", &current, "link").unwrap();
            current = open_directory(&current, "d").unwrap();
        }
        drop(current);
        trash.discard(&doomed).unwrap();
        trash.discard(&doomed).unwrap();
        assert!(!doomed.exists());
        trash.empty().unwrap();
        assert_eq!(std::fs::read_dir(directory.path().join("trash")).unwrap().count(), 0);
        assert!(Path::new("/etc/passwd").exists());
    }
}
