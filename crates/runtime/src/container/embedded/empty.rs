//! A mount namespace with nothing in it but an empty read-only directory.
//!
//! Made once by the zygote. A container's first process leaves the host's mount namespace for a copy of this one, so that
//! no mount of the host is ever in the container's namespace: none has to be copied for it, and none has to be unmounted,
//! which would cost milliseconds (each unmount waits for an RCU grace period). What lies below the container's root
//! filesystem, for whoever gets out of it, is this directory.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags},
    mount::{MountFlags, MountPropagationFlags, UnmountFlags},
    pipe::{PipeFlags, pipe_with},
    thread::UnshareFlags,
};

use super::super::sys::{self, MountAttributes, mount_attribute};

/// Makes one. The calling process must have one thread.
pub(in crate::container) fn make() -> io::Result<OwnedFd> {
    // The namespace lives on in the descriptor when the process that made it has ended.
    let (ready, made) = pipe_with(PipeFlags::CLOEXEC)?;
    let (wait, leave) = pipe_with(PipeFlags::CLOEXEC)?;
    match sys::fork()? {
        sys::Forked::Child => {
            drop((ready, leave));
            let code = empty_this_namespace().map_or_else(|error| error.raw_os_error().unwrap_or(libc::EIO), |()| 0);
            let _ = File::from(made).write_all(&code.to_le_bytes());
            let _ = File::from(wait).read(&mut [0]);
            std::process::exit(0)
        }
        sys::Forked::Parent(child) => {
            drop((made, wait));
            let mut code = [0; 4];
            File::from(ready).read_exact(&mut code)?;
            match i32::from_le_bytes(code) {
                0 => Ok(File::open(format!("/proc/{child}/ns/mnt"))?.into()),
                code => Err(io::Error::from_raw_os_error(code)),
            }
        }
    }
}

fn empty_this_namespace() -> io::Result<()> {
    unshare()?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    // Any directory will do that every host has.
    let place = "/proc";
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("tmpfs", place, "tmpfs", flags, c"mode=555,size=4k")?;
    std::env::set_current_dir(place)?;
    nix::unistd::pivot_root(".", ".")?;
    // The host's root now lies on top of the new one, at the same place.
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    std::env::set_current_dir("/")?;
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let read_only = MountAttributes { set: mount_attribute::RDONLY, ..MountAttributes::default() };
    sys::set_mount_attributes(root.as_fd(), read_only, false)
}

/// Moves the calling process into a copy of its own.
pub(super) fn enter(empty: BorrowedFd<'_>) -> io::Result<()> {
    sys::join_namespaces(empty, libc::CLONE_NEWNS)?;
    unshare()
}

fn unshare() -> io::Result<()> {
    #[expect(deprecated, reason = "its replacement is unsafe only for CLONE_FILES, which is not used")]
    rustix::thread::unshare(UnshareFlags::NEWNS)?;
    Ok(())
}
