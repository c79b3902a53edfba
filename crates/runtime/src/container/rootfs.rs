//! The starting process's own mount namespace: root filesystem, scratch space, a view without control groups.
//!
//! Everything mounted here lives exactly as long as the container's own namespace, which is copied from it. There is
//! nothing to unmount afterwards, whoever dies how.

use std::{
    fs,
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags},
    mount::{MountFlags, MountPropagationFlags},
    thread::UnshareFlags,
};

use super::message::Failure;
use crate::image::Rootfs;

/// Leaves the host's mount namespace for a copy whose changes stay in it.
pub(super) fn enter_private_namespace() -> Result<(), Failure> {
    let failure = |error: rustix::io::Errno| Failure::io("making a mount namespace", &error.into());
    #[expect(deprecated, reason = "its replacement is unsafe only for CLONE_FILES, which is not used")]
    rustix::thread::unshare(UnshareFlags::NEWNS).map_err(failure)?;
    rustix::mount::mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC).map_err(failure)
}

/// Mounts a small tmpfs on `directory`, for files that only this start needs.
pub(super) fn mount_scratch(directory: &Path) -> Result<(), Failure> {
    fs::create_dir_all(directory)
        .and_then(|()| {
            let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            Ok(rustix::mount::mount("tmpfs", directory, "tmpfs", flags, c"mode=700,size=16m")?)
        })
        .map_err(|error| Failure::io(format!("mounting a tmpfs on {}", directory.display()), &error))
}

/// Mounts the container's root filesystem on its mount point, which only this mount namespace sees.
pub(super) fn mount_root(rootfs: &Rootfs) -> Result<(), Failure> {
    let failure = |error: io::Error| Failure::io("mounting the root filesystem", &error);
    prepare_directories(rootfs).map_err(failure)?;
    fs::create_dir_all(&rootfs.mount_point).map_err(failure)?;
    if takes_layers_one_by_one() {
        let mount = volatile_if_possible(|volatile| new_overlay(rootfs, volatile)).map_err(failure)?;
        let flags = rustix::mount::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        return rustix::mount::move_mount(mount.as_fd(), "", CWD, &rootfs.mount_point, flags)
            .map_err(|error| failure(error.into()));
    }
    volatile_if_possible(|volatile| mount_by_options(rootfs, volatile)).map_err(failure)
}

/// The container's root filesystem as a mount that is nowhere yet. On kernels before 6.8 this leaves the calling process
/// in a mount namespace of its own.
pub(super) fn detached_root(rootfs: &Rootfs) -> Result<OwnedFd, Failure> {
    let failure = |error: io::Error| Failure::io("mounting the root filesystem", &error);
    if takes_layers_one_by_one() {
        prepare_directories(rootfs).map_err(failure)?;
        return volatile_if_possible(|volatile| new_overlay(rootfs, volatile)).map_err(failure);
    }
    enter_private_namespace()?;
    mount_root(rootfs)?;
    let flags = rustix::mount::OpenTreeFlags::OPEN_TREE_CLONE | rustix::mount::OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(CWD, &rootfs.mount_point, flags).map_err(|error| failure(error.into()))
}

fn prepare_directories(rootfs: &Rootfs) -> io::Result<()> {
    fs::create_dir_all(&rootfs.upper_dir)?;
    fs::create_dir_all(&rootfs.work_dir)?;
    // Left by a mount that did not sync. We only mount a writable layer again to restart its container on a host that
    // has not gone down since, when everything written is still to be seen.
    let _ = fs::remove_dir_all(rootfs.work_dir.join("work/incompat"));
    Ok(())
}

/// `volatile` because a writable layer never outlives its task: without it every fsync of the container, and the unmount,
/// waits for the disk. Kernels before 5.10 do not know it.
fn volatile_if_possible<T>(mount: impl Fn(bool) -> io::Result<T>) -> io::Result<T> {
    mount(true).or_else(|error| match error.raw_os_error() {
        Some(libc::EINVAL) => mount(false),
        _ => Err(error),
    })
}

/// Linux 6.8.
fn takes_layers_one_by_one() -> bool {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(|number| number.parse::<u32>());
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= (6, 8))
}

/// Neither the page that mount options have to fit in nor a colon in a path limits how many layers an image may have.
fn new_overlay(rootfs: &Rootfs, volatile: bool) -> io::Result<OwnedFd> {
    let filesystem = rustix::mount::fsopen("overlay", rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC)?;
    let filesystem = filesystem.as_fd();
    for directory in &rootfs.lower_dirs {
        rustix::mount::fsconfig_set_string(filesystem, "lowerdir+", directory.as_os_str().as_bytes())?;
    }
    rustix::mount::fsconfig_set_string(filesystem, "upperdir", escape(&rootfs.upper_dir, b"\\"))?;
    rustix::mount::fsconfig_set_string(filesystem, "workdir", escape(&rootfs.work_dir, b"\\"))?;
    if volatile {
        rustix::mount::fsconfig_set_flag(filesystem, "volatile")?;
    }
    rustix::mount::fsconfig_create(filesystem)?;
    Ok(rustix::mount::fsmount(
        filesystem,
        rustix::mount::FsMountFlags::FSMOUNT_CLOEXEC,
        rustix::mount::MountAttrFlags::empty(),
    )?)
}

/// All options in one page. Layers are named relative to the directory that most images have them all in, which about
/// doubles how many fit.
fn mount_by_options(rootfs: &Rootfs, volatile: bool) -> io::Result<()> {
    const OPTIONS_BYTES_MAX: usize = 4095;
    let parent = rootfs.lower_dirs.first().and_then(|directory| directory.parent()).unwrap_or(Path::new("/"));
    let lower: Vec<Vec<u8>> = rootfs
        .lower_dirs
        .iter()
        .map(|directory| escape(directory.strip_prefix(parent).unwrap_or(directory), b"\\:,"))
        .collect();
    let mut options = [b"lowerdir=".as_slice(), &lower.join(&b':')].concat();
    options.extend([b",upperdir=".as_slice(), &escape(&rootfs.upper_dir, b"\\,")].concat());
    options.extend([b",workdir=".as_slice(), &escape(&rootfs.work_dir, b"\\,")].concat());
    if volatile {
        options.extend(b",volatile");
    }
    if options.len() > OPTIONS_BYTES_MAX {
        return Err(io::Error::other("the image has more layers than this kernel can mount"));
    }
    let options = std::ffi::CString::new(options)?;
    std::env::set_current_dir(parent)?;
    let mounted =
        rustix::mount::mount("overlay", &rootfs.mount_point, "overlay", MountFlags::empty(), options.as_c_str());
    std::env::set_current_dir("/")?;
    Ok(mounted?)
}

/// Puts a backslash before each of `special`, as overlayfs wants it in option strings.
fn escape(path: &Path, special: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        if special.contains(byte) {
            escaped.push(b'\\');
        }
        escaped.push(*byte);
    }
    escaped
}

/// Opens a path below `root`, with `root` as the root of every link in it.
pub(super) fn open_in(root: BorrowedFd<'_>, path: &str, flags: OFlags, resolve: ResolveFlags) -> io::Result<OwnedFd> {
    let relative = path.trim_start_matches('/');
    let relative = if relative.is_empty() { "." } else { relative };
    let resolve = resolve | ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    Ok(rustix::fs::openat2(root, relative, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
}

/// Opens a directory to be the root of [`open_in`].
pub(super) fn open_root(root: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// A small text file of the image (/etc/passwd); empty when it has none.
pub(super) fn read_in(root: BorrowedFd<'_>, path: &str) -> String {
    const BYTES_MAX: u64 = 4 << 20;
    let mut text = Vec::new();
    if let Ok(file) = open_in(root, path, OFlags::RDONLY | OFlags::NONBLOCK, ResolveFlags::empty()) {
        let _ = fs::File::from(file).take(BYTES_MAX).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Makes the directory `path` below `root` with its parents.
pub(super) fn create_directory_in(root: BorrowedFd<'_>, path: &str) -> io::Result<()> {
    let open = |path: &str| open_in(root, path, OFlags::PATH | OFlags::DIRECTORY, ResolveFlags::empty());
    if open(path).is_ok() {
        return Ok(());
    }
    let mut parent = String::from("/");
    for component in path.split('/').filter(|component| !component.is_empty() && *component != ".") {
        let directory = open(&parent)?;
        match rustix::fs::mkdirat(&directory, component, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        parent = format!("{}/{component}", parent.trim_end_matches('/'));
    }
    // A file in its place shows here.
    open(path).map(drop)
}

/// Makes the empty file `path` below `root` with its parents, unless there is something.
pub(super) fn create_file_in(root: BorrowedFd<'_>, path: &str) -> io::Result<()> {
    if open_in(root, path, OFlags::PATH, ResolveFlags::empty()).is_ok() {
        return Ok(());
    }
    let (parent, name) = path.rsplit_once('/').unwrap_or(("/", path));
    create_directory_in(root, parent)?;
    let parent = open_in(root, parent, OFlags::PATH | OFlags::DIRECTORY, ResolveFlags::empty())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644))?;
    Ok(())
}

/// A copy of the mount of the directory `path` in `directory`, wherever links lead, as long as that is in it. It is
/// opened once and copied by its descriptor: who can write there cannot move it aside in between.
pub(super) fn clone_directory_in(directory: impl rustix::path::Arg, path: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::openat(CWD, directory, flags, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let found = rustix::fs::openat2(&top, path, flags, Mode::empty(), resolve)?;
    let flags = rustix::mount::OpenTreeFlags::OPEN_TREE_CLONE | rustix::mount::OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(&found, "", flags | rustix::mount::OpenTreeFlags::AT_EMPTY_PATH)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths_that_mean_something_to_overlayfs_are_escaped() {
        assert_eq!(escape(Path::new("/a:b\\c"), b"\\:"), b"/a\\:b\\\\c");
        assert_eq!(escape(Path::new("/a:b"), b"\\"), b"/a:b");
    }

    #[test]
    fn links_do_not_lead_out_of_the_root() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/secret"), "inside").unwrap();
        std::os::unix::fs::symlink("/etc/secret", root.path().join("link")).unwrap();
        std::os::unix::fs::symlink("/../../../../etc", root.path().join("out")).unwrap();
        let handle = open_root(root.path()).unwrap();
        assert_eq!(read_in(handle.as_fd(), "/link"), "inside");
        assert_eq!(read_in(handle.as_fd(), "out/secret"), "inside");
        assert_eq!(read_in(handle.as_fd(), "/etc/shadow"), "");
        create_directory_in(handle.as_fd(), "/out/deep/er").unwrap();
        create_file_in(handle.as_fd(), "/out/deep/file").unwrap();
        create_file_in(handle.as_fd(), "/out/deep/file").unwrap();
        assert!(root.path().join("etc/deep/file").is_file());
        assert!(create_directory_in(handle.as_fd(), "/out/secret/below").is_err());
        assert!(root.path().join("etc/deep/er").is_dir());
    }
}
