//! The mounts of an image that is still being fetched: a FUSE file system that nobody sees, an EROFS image in it, and
//! the change to the image's own file when that is whole.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::CWD,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create, fsconfig_set_flag,
        fsconfig_set_string, fsmount, fsopen, move_mount, unmount,
    },
};

use super::fuse;
use crate::image::{erofs, unpack::IMAGE};

/// Opens a connection to the kernel and makes a file system of it, which is nowhere in the tree of mounts. It is there
/// for as long as somebody has the mount or a file in it.
pub(super) fn make_fuse() -> io::Result<(File, OwnedFd)> {
    let connection = File::options().read(true).write(true).open("/dev/fuse")?;
    let filesystem = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in [
        ("source", "gantry"),
        ("subtype", "gantry-image"),
        ("fd", connection.as_raw_fd().to_string().as_str()),
        ("rootmode", "40000"),
        ("user_id", "0"),
        ("group_id", "0"),
    ] {
        fsconfig_set_string(filesystem.as_fd(), key, value)?;
    }
    // Whoever reads a container's files reads this one, as whatever user.
    fsconfig_set_flag(filesystem.as_fd(), "allow_other")?;
    fsconfig_create(filesystem.as_fd())?;
    let attributes =
        MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let mount = fsmount(filesystem.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    Ok((connection, mount))
}

/// Mounts the image that is the file of `fuse` on `fs` in the layer's directory. Reads the image, so somebody has to be
/// answering.
pub(super) fn mount_image(fuse: BorrowedFd<'_>, directory: BorrowedFd<'_>) -> io::Result<()> {
    erofs::mount(&in_directory(fuse, fuse::FILE), &in_directory(directory, "fs"))
}

/// Puts the image's own file in the place of what is mounted on `fs`, so that there is no moment without either.
/// Whoever uses the former mount keeps it. When nothing is mounted there, nothing will be.
pub(super) fn switch_to_file(directory: BorrowedFd<'_>) -> io::Result<()> {
    let target = in_directory(directory, "fs");
    let filesystem = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let image = in_directory(directory, IMAGE);
    fsconfig_set_string(filesystem.as_fd(), "source", &image)?;
    fsconfig_set_flag(filesystem.as_fd(), "ro")?;
    fsconfig_create(filesystem.as_fd())?;
    let attributes =
        MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let mount = fsmount(filesystem.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    // Beneath the other one, which is then taken off.
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_BENEATH;
    move_mount(mount.as_fd(), "", CWD, &target, flags)?;
    Ok(unmount(&target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?)
}

/// A path to `name` in `directory` (to itself, when that is empty) that stays right when the directory is renamed.
pub(super) fn in_directory(directory: BorrowedFd<'_>, name: &str) -> PathBuf {
    let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string());
    if name.is_empty() { path } else { path.join(name) }
}
