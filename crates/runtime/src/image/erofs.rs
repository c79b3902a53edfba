//! Mounts the EROFS images of layers, straight from their files (Linux 6.12 and newer).
//!
//! An image is mounted once, on the host, below the private image directory, and stays: every container that uses the
//! layer then shares one superblock and what the kernel caches of it. An overlay keeps a mount of its own of each of its
//! layers, so unmounting here never takes anything from a container that runs.

use std::{
    ffi::CStr,
    fs, io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use nix::sched::{CloneFlags, unshare};
use rustix::{
    io::Errno,
    mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount_change},
};

use super::{Rootfs, overlay::mount_rootfs};
use crate::mounts::is_mounted;

/// Mounts `image` on the directory `target`, read-only. No error when something is mounted there already.
pub(super) fn mount(image: &Path, target: &Path) -> io::Result<()> {
    if is_mounted(target)? {
        return Ok(());
    }
    // Setuid programs and devices work through the overlay, whose own flags decide; not here.
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    Ok(rustix::mount::mount(image, target, "erofs", flags, None)?)
}

/// Ends what is mounted on `target`, if anything. Whoever uses it keeps using it.
pub(super) fn unmount(target: &Path) -> io::Result<()> {
    while is_mounted(target)? {
        rustix::mount::unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
    }
    Ok(())
}

/// Ends what is mounted on `name` in `directory`.
pub(super) fn unmount_in(directory: &OwnedFd, name: &CStr) -> Result<(), Errno> {
    let path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    let name = std::os::unix::ffi::OsStrExt::from_bytes(name.to_bytes());
    rustix::mount::unmount(path.join::<&std::ffi::OsStr>(name), UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
}

/// Finds out whether this kernel mounts an EROFS image that lies below `scratch` (an empty directory of ours), and an
/// overlay on top of it. What is mounted for that, only a thread of ours sees, and it ends with it.
pub(super) fn probe(scratch: &Path) -> io::Result<()> {
    let image = scratch.join("image");
    gantry_layers::erofs::write_empty(fs::File::create_new(&image)?).map_err(io::Error::other)?;
    let directory = |name: &str| {
        let path = scratch.join(name);
        fs::create_dir(&path).map(|()| path)
    };
    let rootfs = Rootfs {
        lower_dirs: vec![directory("lower")?],
        upper_dir: directory("upper")?,
        work_dir: directory("work")?,
        mount_point: directory("root")?,
    };
    std::thread::scope(|scope| {
        let prober = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS)?;
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
            mount(&image, &rootfs.lower_dirs[0])?;
            mount_rootfs(&rootfs)?;
            fs::read_dir(&rootfs.mount_point).map(drop)
        });
        prober.join().unwrap_or_else(|_| Err(io::Error::other("the probing thread failed")))
    })
}
