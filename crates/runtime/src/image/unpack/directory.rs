//! Writes entries into a directory that becomes an overlayfs lower layer.
//!
//! What must hold: nothing outside that directory is ever created, changed or linked to. Every parent directory is
//! opened with openat2 and RESOLVE_IN_ROOT, so that a symbolic link written earlier, absolute or not, resolves inside
//! the layer as it would after a chroot; the last component is always handled by calls that do not follow links.

use std::{
    collections::BTreeSet,
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use rustix::{
    fs::{self as sys, AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags},
    io::Errno,
};

use gantry_layers::{
    LayerError, Tree,
    archive::{Entry, Kind},
    path::LayerPath,
};

/// Paths of directories are remembered until the end, for their times. This bounds the memory of a hostile archive.
const REMEMBERED_BYTES_MAX: usize = 128 << 20;
const OPAQUE: &str = "trusted.overlay.opaque";

pub(super) struct Writer {
    root: OwnedFd,
    /// Where a directory goes that a later entry of the same layer replaces; outside `root`, deleted with it.
    replaced: OwnedFd,
    replaced_count: u64,
    /// The parent of the last entry: archives list a directory's files together.
    parent: Option<(Vec<u8>, OwnedFd)>,
    directory_times: Vec<(Vec<u8>, (i64, u32))>,
    implied: BTreeSet<Vec<u8>>,
    remembered_bytes: usize,
    root_explicit: bool,
    /// The file that is being written.
    file: Option<OwnedFd>,
}

/// What was learned while writing.
pub(super) struct Written {
    /// Directories that no entry described: they exist only because something is in them.
    pub(super) implied: Vec<Vec<u8>>,
    /// An entry described the layer's root directory.
    pub(super) root_explicit: bool,
}

impl Writer {
    /// `root` and `replaced` are existing empty directories on one filesystem.
    pub(super) fn open(root: &Path, replaced: &Path) -> Result<Self, LayerError> {
        let open = |path: &Path| {
            sys::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|error| LayerError::io(format!("open {}", path.display()), error))
        };
        Ok(Self {
            root: open(root)?,
            replaced: open(replaced)?,
            replaced_count: 0,
            parent: None,
            directory_times: Vec::new(),
            implied: BTreeSet::new(),
            remembered_bytes: 0,
            root_explicit: false,
            file: None,
        })
    }

    /// Sets the times of directories, which every later entry inside them had changed.
    pub(super) fn finish(mut self) -> Result<Written, LayerError> {
        self.parent = None;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for (path, mtime) in &self.directory_times {
            let path: &[u8] = if path.is_empty() { b"." } else { path };
            match sys::openat2(&self.root, path, flags, Mode::empty(), resolve()) {
                Ok(directory) => sys::futimens(&directory, &times(*mtime))
                    .map_err(|error| LayerError::io("set directory times", error))?,
                // A later entry replaced it by something else.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => return Err(LayerError::io("set directory times", error)),
            }
        }
        Ok(Written { implied: self.implied.into_iter().collect(), root_explicit: self.root_explicit })
    }

    fn describe_root(&mut self, entry: &Entry) -> Result<(), LayerError> {
        if entry.kind != Kind::Directory {
            return Err(LayerError::corrupt("the layer's root is not a directory"));
        }
        self.root_explicit = true;
        self.remember(b"", entry.mtime)?;
        describe(&self.root, b".", entry).map_err(|error| LayerError::io("set the root directory's owner", error))
    }

    fn create_file(&mut self, name: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.replacing(name, |parent| sys::openat(parent, name, flags, Mode::RUSR | Mode::WUSR))
    }

    fn create_directory(&mut self, path: &LayerPath, name: &[u8], entry: &Entry) -> Result<(), Errno> {
        let parent = self.parent_fd();
        match sys::mkdirat(parent, name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let found = stat(parent, name)?;
                if is_whiteout(&found) {
                    // The layer both removes the lower directory and makes a new one.
                    sys::unlinkat(parent, name, AtFlags::empty())?;
                    sys::mkdirat(parent, name, Mode::RWXU)?;
                    set_opaque(parent, name)?;
                } else if !is_directory(&found) {
                    self.replacing(name, |parent| sys::mkdirat(parent, name, Mode::RWXU))?;
                }
            }
            Err(error) => return Err(error),
        }
        self.implied.remove(path.as_bytes());
        self.remember(path.as_bytes(), entry.mtime).map_err(|_| Errno::NAMETOOLONG)?;
        describe(self.parent_fd(), name, entry)
    }

    fn create_special(&mut self, name: &[u8], entry: &Entry) -> Result<(), Errno> {
        let kind = match entry.kind {
            Kind::Character => FileType::CharacterDevice,
            Kind::Block => FileType::BlockDevice,
            Kind::Fifo => FileType::Fifo,
            _ => FileType::Symlink,
        };
        if kind == FileType::Symlink {
            self.replacing(name, |parent| sys::symlinkat(entry.link.as_slice(), parent, name))?;
            let parent = self.parent_fd();
            sys::chownat(parent, name, Some(owner(entry)), Some(group(entry)), AtFlags::SYMLINK_NOFOLLOW)?;
        } else {
            let device = sys::makedev(entry.device.0, entry.device.1);
            self.replacing(name, |parent| sys::mknodat(parent, name, kind, Mode::empty(), device))?;
            describe(self.parent_fd(), name, entry)?;
        }
        sys::utimensat(self.parent_fd(), name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
    }

    /// The target must be an earlier entry of the same layer; Docker and containerd know no other kind either.
    fn create_hardlink(&mut self, parent: &[u8], name: &[u8], entry: &Entry) -> Result<(), Errno> {
        let target = LayerPath::parse(&entry.link).map_err(|_| Errno::XDEV)?;
        let (target_parent, target_name) = target.split().ok_or(Errno::ISDIR)?;
        let from = self.open_inside(target_parent)?;
        if is_directory(&stat(&from, target_name)?) {
            return Err(Errno::ISDIR);
        }
        if (target_parent, target_name) == (parent, name) {
            return Ok(());
        }
        self.replacing(name, |parent| sys::linkat(&from, target_name, parent, name, AtFlags::empty()))
    }

    /// Runs `create` in the current parent; when the name is taken, moves what has it out of the way first.
    fn replacing<T>(&mut self, name: &[u8], create: impl Fn(BorrowedFd<'_>) -> Result<T, Errno>) -> Result<T, Errno> {
        match create(self.parent_fd()) {
            Err(Errno::EXIST) => {}
            other => return other,
        }
        if is_directory(&stat(self.parent_fd(), name)?) {
            let aside = self.replaced_count.to_string();
            self.replaced_count += 1;
            sys::renameat(self.parent_fd(), name, &self.replaced, aside.as_str())?;
        } else {
            sys::unlinkat(self.parent_fd(), name, AtFlags::empty())?;
        }
        create(self.parent_fd())
    }

    fn parent_fd(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.parent.as_ref().map_or_else(|| self.root.as_fd(), |(_, fd)| fd.as_fd())
    }

    /// Makes the directory `path` the current parent, creating what is missing of it.
    fn enter(&mut self, path: &[u8]) -> Result<(), LayerError> {
        match &self.parent {
            None if path.is_empty() => return Ok(()),
            // It is still the same directory: whatever replaces one is an entry of another parent, which came here.
            Some((current, _)) if current == path => return Ok(()),
            _ => self.parent = None,
        }
        if path.is_empty() {
            return Ok(());
        }
        let fd = match self.open_inside(path) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR) => self.make_directories(path)?,
            Err(error) => return Err(refused_bytes(path, error)),
        };
        self.parent = Some((path.to_vec(), fd));
        Ok(())
    }

    fn open_inside(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let path: &[u8] = if path.is_empty() { b"." } else { path };
        match sys::openat2(&self.root, path, flags, Mode::empty(), resolve() | ResolveFlags::NO_SYMLINKS) {
            Err(Errno::LOOP) => {}
            other => return other,
        }
        // Through symbolic links the real nesting can be deeper than the path is long. The kernel cannot name
        // anything below PATH_MAX, and what it cannot name could not be cleaned up easily either.
        let fd = sys::openat2(&self.root, path, flags, Mode::empty(), resolve())?;
        sys::readlink(proc_path(&fd, b"").as_c_str(), Vec::new())?;
        Ok(fd)
    }

    fn make_directories(&mut self, path: &[u8]) -> Result<OwnedFd, LayerError> {
        let mut parent = self.open_inside(b"").map_err(|error| refused_bytes(path, error))?;
        let mut end = 0;
        while end < path.len() {
            let start = if end == 0 { 0 } else { end + 1 };
            end = path[start..].iter().position(|byte| *byte == b'/').map_or(path.len(), |slash| start + slash);
            let (prefix, name) = (&path[..end], &path[start..end]);
            parent = match self.open_inside(prefix) {
                Ok(fd) => fd,
                Err(Errno::NOENT | Errno::NOTDIR) => {
                    self.make_directory(&parent, prefix, name).map_err(|error| refused_bytes(path, error))?
                }
                Err(error) => return Err(refused_bytes(path, error)),
            };
        }
        Ok(parent)
    }

    fn make_directory(&mut self, parent: &OwnedFd, prefix: &[u8], name: &[u8]) -> Result<OwnedFd, Errno> {
        let mode = Mode::from_raw_mode(0o755);
        let make_opaque = match stat(parent, name) {
            Ok(found) if is_whiteout(&found) => {
                sys::unlinkat(parent, name, AtFlags::empty())?;
                true
            }
            Ok(_) => return Err(Errno::NOTDIR),
            Err(Errno::NOENT) => false,
            Err(error) => return Err(error),
        };
        sys::mkdirat(parent, name, mode)?;
        sys::chmodat(parent, name, mode, AtFlags::empty())?;
        if make_opaque {
            set_opaque(parent, name)?;
        }
        self.remembered_bytes += prefix.len();
        self.implied.insert(prefix.to_vec());
        self.open_inside(prefix)
    }

    fn remember(&mut self, path: &[u8], mtime: (i64, u32)) -> Result<(), LayerError> {
        self.remembered_bytes += path.len() + 48;
        if self.remembered_bytes > REMEMBERED_BYTES_MAX {
            return Err(LayerError::corrupt("too many directories in a layer"));
        }
        self.directory_times.push((path.to_vec(), mtime));
        Ok(())
    }
}

impl Tree for Writer {
    fn create(&mut self, path: &LayerPath, entry: &Entry) -> Result<bool, LayerError> {
        let Some((parent, name)) = path.split() else {
            return self.describe_root(entry).map(|()| false);
        };
        self.enter(parent)?;
        match entry.kind {
            Kind::File => self.create_file(name).map(|file| self.file = Some(file)),
            Kind::Directory => self.create_directory(path, name, entry),
            Kind::Hardlink => self.create_hardlink(parent, name, entry),
            Kind::Symlink | Kind::Character | Kind::Block | Kind::Fifo => self.create_special(name, entry),
        }
        .map_err(|error| refused(path, error))?;
        Ok(entry.kind == Kind::File)
    }

    fn content(&mut self, mut piece: &[u8]) -> Result<(), LayerError> {
        let Some(file) = &self.file else { return Ok(()) };
        while !piece.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::write(file, piece))
                .map_err(|error| LayerError::io("write a file of a layer", error))?;
            piece = &piece[written..];
        }
        Ok(())
    }

    /// Sets owner, mode, attributes and times in this order: a change of owner clears the setuid bit and file
    /// capabilities.
    fn seal(&mut self, path: &LayerPath, entry: &Entry) -> Result<(), LayerError> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let file = &file;
        let seal = || -> Result<(), Errno> {
            sys::fchown(file, Some(owner(entry)), Some(group(entry)))?;
            sys::fchmod(file, Mode::from_raw_mode(entry.mode))?;
            for (name, value) in wanted_xattrs(entry) {
                tolerate(sys::fsetxattr(file, name, value, XattrFlags::empty()))?;
            }
            sys::futimens(file, &times(entry.mtime))
        };
        seal().map_err(|error| refused(path, error))
    }

    /// Hides `path` of lower layers: overlayfs reads a character device 0:0 as "nothing here".
    fn whiteout(&mut self, path: &LayerPath) -> Result<(), LayerError> {
        let Some((parent, name)) = path.split() else { return Err(LayerError::corrupt("whiteout of the root")) };
        self.enter(parent)?;
        let parent = self.parent_fd();
        match sys::mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0) {
            Ok(()) => Ok(()),
            // The layer itself has the name. A whiteout speaks of lower layers only, whichever comes first in the
            // archive, so what is here stays, and a directory must not show what lies below it.
            Err(Errno::EXIST) => match stat(parent, name) {
                Ok(found) if is_directory(&found) => set_opaque(parent, name),
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        }
        .map_err(|error| refused(path, error))
    }

    /// Hides everything that lower layers have in the directory `path`.
    fn opaque(&mut self, path: &LayerPath) -> Result<(), LayerError> {
        if path.is_root() {
            let fd = proc_path(&self.root, b"");
            return sys::setxattr(fd.as_c_str(), OPAQUE, b"y", XattrFlags::empty())
                .map_err(|error| refused(path, error));
        }
        // Entering it creates it when only its content is in the archive.
        self.enter(path.as_bytes())?;
        let fd = proc_path(self.parent_fd(), b"");
        sys::setxattr(fd.as_c_str(), OPAQUE, b"y", XattrFlags::empty()).map_err(|error| refused(path, error))
    }
}

fn resolve() -> ResolveFlags {
    ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV
}

/// Owner, mode and attributes of something that is not a regular file and not a symbolic link.
fn describe<Fd: std::os::fd::AsFd>(parent: Fd, name: &[u8], entry: &Entry) -> Result<(), Errno> {
    sys::chownat(&parent, name, Some(owner(entry)), Some(group(entry)), AtFlags::SYMLINK_NOFOLLOW)?;
    sys::chmodat(&parent, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())?;
    for (attribute, value) in wanted_xattrs(entry) {
        let path = proc_path(&parent, name);
        tolerate(sys::lsetxattr(path.as_c_str(), attribute, value, XattrFlags::empty()))?;
    }
    Ok(())
}

fn set_opaque<Fd: std::os::fd::AsFd>(parent: Fd, name: &[u8]) -> Result<(), Errno> {
    sys::lsetxattr(proc_path(&parent, name).as_c_str(), OPAQUE, b"y", XattrFlags::empty())
}

/// Attributes of overlayfs itself would let a layer redirect lookups to elsewhere: they are never taken from an
/// archive.
fn wanted_xattrs(entry: &Entry) -> impl Iterator<Item = (&str, &[u8])> {
    entry.xattrs.iter().map(|(name, value)| (name.as_str(), value.as_slice())).filter(|(name, _)| {
        !name.starts_with("trusted.overlay.") && !name.starts_with("user.overlay.") && !name.contains('\0')
    })
}

/// A filesystem without some kind of attribute can still hold the image; Docker goes on too.
fn tolerate(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::NOTSUP | Errno::PERM | Errno::INVAL) => Ok(()),
        other => other,
    }
}

/// A path for the calls that take no descriptor. The link under /proc leads to exactly this directory.
fn proc_path<Fd: std::os::fd::AsFd>(directory: Fd, name: &[u8]) -> CString {
    let mut path = format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd()).into_bytes();
    if !name.is_empty() {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    CString::new(path).unwrap_or_default()
}

fn stat<Fd: std::os::fd::AsFd>(parent: Fd, name: &[u8]) -> Result<sys::Stat, Errno> {
    sys::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
}

fn is_directory(stat: &sys::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn is_whiteout(stat: &sys::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn owner(entry: &Entry) -> Uid {
    Uid::from_raw(entry.uid)
}

fn group(entry: &Entry) -> Gid {
    Gid::from_raw(entry.gid)
}

fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

fn refused(path: &LayerPath, error: Errno) -> LayerError {
    refused_bytes(path.as_bytes(), error)
}

/// Tells what the archive's content made impossible from what this host could not do.
fn refused_bytes(path: &[u8], error: Errno) -> LayerError {
    let shown = Path::new(std::ffi::OsStr::from_bytes(path)).display();
    match error {
        Errno::EXIST
        | Errno::NOENT
        | Errno::NOTDIR
        | Errno::ISDIR
        | Errno::LOOP
        | Errno::XDEV
        | Errno::INVAL
        | Errno::MLINK
        | Errno::RANGE
        | Errno::TOOBIG
        | Errno::NAMETOOLONG => LayerError::corrupt(format!("cannot unpack {shown}: {}", io::Error::from(error))),
        _ => LayerError::io(format!("unpack {shown}"), error),
    }
}
