//! Copies trees with owners, modes, attributes and times.

use std::{
    collections::HashMap,
    ffi::CStr,
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink},
    path::{Path, PathBuf},
};

use nix::sched::{CloneFlags, unshare};
use rustix::{
    fs::{self as sys, AtFlags, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, XattrFlags},
    io::Errno,
    mount::{MountPropagationFlags, mount_change},
};

use super::overlay::mount_read_only;

/// Copies the content of `path` inside the image made of `lower_dirs` (topmost first) into `target`, and the
/// directory's own attributes onto it. A path that is no directory of the image copies nothing.
///
/// The image is mounted in a mount namespace that only a thread of ours has and that ends with it: nothing can be
/// left mounted. `scratch` is an empty directory of ours.
pub(super) fn copy_from_image(lower_dirs: &[PathBuf], path: &str, scratch: &Path, target: &Path) -> io::Result<()> {
    std::thread::scope(|scope| {
        let copier = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS)?;
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
            let image = mount_image(lower_dirs, scratch)?;
            let root = sys::open(&image, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let inside = match path.trim_start_matches('/') {
                "" => ".",
                inside => inside,
            };
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            let directory = match sys::openat2(&root, inside, flags, Mode::empty(), resolve) {
                Ok(directory) => directory,
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            use std::os::fd::AsRawFd;
            let source = PathBuf::from(format!("/proc/self/fd/{}/.", directory.as_raw_fd()));
            Copier::default().content(&source, target)?;
            copy_attributes(&source, target)
        });
        copier.join().unwrap_or_else(|_| Err(io::Error::other("the copying thread failed")))
    })
}

/// Mounts through short relative names, because the options must fit into one page.
fn mount_image(lower_dirs: &[PathBuf], scratch: &Path) -> io::Result<PathBuf> {
    let (image, empty) = (scratch.join("image"), scratch.join("empty"));
    fs::create_dir(&image)?;
    fs::create_dir(&empty)?;
    let mut names = Vec::new();
    // overlayfs wants two lower directories when there is no upper one.
    for (index, lower) in lower_dirs.iter().chain([&empty]).enumerate() {
        let name = index.to_string();
        symlink(lower, scratch.join(&name))?;
        names.push(PathBuf::from(name));
    }
    std::env::set_current_dir(scratch)?;
    mount_read_only(&names, &image)?;
    std::env::set_current_dir("/")?;
    Ok(image)
}

/// Owner, mode, attributes and times of `source` onto `target`, both directories.
pub(super) fn copy_attributes(source: &Path, target: &Path) -> io::Result<()> {
    let meta = fs::metadata(source)?;
    chown(target, Some(meta.uid()), Some(meta.gid()))?;
    fs::set_permissions(target, fs::Permissions::from_mode(meta.mode() & 0o7777))?;
    copy_xattrs(source, target)?;
    set_times(target, &meta)
}

#[derive(Default)]
struct Copier {
    /// First copy of files with several names.
    linked: HashMap<(u64, u64), PathBuf>,
}

impl Copier {
    fn content(&mut self, source: &Path, target: &Path) -> io::Result<()> {
        for entry in fs::read_dir(source)? {
            let entry = entry?;
            self.entry(&entry.path(), &target.join(entry.file_name()))?;
        }
        Ok(())
    }

    fn entry(&mut self, source: &Path, target: &Path) -> io::Result<()> {
        let meta = fs::symlink_metadata(source)?;
        let kind = meta.file_type();
        if kind.is_dir() {
            fs::create_dir(target)?;
            self.content(source, target)?;
            return copy_attributes(source, target);
        }
        if kind.is_socket() {
            return Ok(());
        }
        if meta.nlink() > 1 {
            if let Some(first) = self.linked.get(&(meta.dev(), meta.ino())) {
                return fs::hard_link(first, target);
            }
            self.linked.insert((meta.dev(), meta.ino()), target.to_owned());
        }
        if kind.is_symlink() {
            symlink(fs::read_link(source)?, target)?;
        } else if kind.is_file() {
            let mut file = fs::File::create_new(target)?;
            io::copy(&mut fs::File::open(source)?, &mut file)?;
        } else {
            let kind = FileType::from_raw_mode(meta.mode());
            sys::mknodat(sys::CWD, target, kind, Mode::empty(), meta.rdev())?;
        }
        lchown(target, Some(meta.uid()), Some(meta.gid()))?;
        if !kind.is_symlink() {
            fs::set_permissions(target, fs::Permissions::from_mode(meta.mode() & 0o7777))?;
            copy_xattrs(source, target)?;
        }
        set_times(target, &meta)
    }
}

fn copy_xattrs(source: &Path, target: &Path) -> io::Result<()> {
    let mut names = Vec::with_capacity(1024);
    match sys::llistxattr(source, rustix::buffer::spare_capacity(&mut names)) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(()),
        Ok(_) => {}
        // More than a kilobyte of names: ask for the real length.
        Err(Errno::RANGE) => {
            names.reserve(64 << 10);
            sys::llistxattr(source, rustix::buffer::spare_capacity(&mut names))?;
        }
        Err(error) => return Err(error.into()),
    }
    for name in names.split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        if name.to_bytes().starts_with(b"trusted.overlay.") {
            continue;
        }
        let mut value = Vec::with_capacity(64 << 10);
        sys::lgetxattr(source, name, rustix::buffer::spare_capacity(&mut value))?;
        match sys::lsetxattr(target, name, &value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::NOTSUP | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn set_times(target: &Path, meta: &fs::Metadata) -> io::Result<()> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: meta.atime(), tv_nsec: meta.atime_nsec() },
        last_modification: Timespec { tv_sec: meta.mtime(), tv_nsec: meta.mtime_nsec() },
    };
    sys::utimensat(sys::CWD, target, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}
