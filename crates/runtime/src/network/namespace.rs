//! Network namespaces kept alive by a bind mount.
//!
//! The mount is the last step of making one: a crash before it leaves nothing, because a namespace that nobody holds
//! takes its interfaces with it.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    path::Path,
};

use gantry_domain::task_definition::Proxy;
use nix::sched::{CloneFlags, setns, unshare};
use rustix::mount::{UnmountFlags, mount_bind, unmount};

use super::{
    netlink::{Family, Netlink},
    nftables::Table,
};

const NSFS_MAGIC: rustix::fs::FsWord = 0x6e73_6673;

/// A namespace that exists as long as this value does, unless it is kept.
pub(super) struct Namespace {
    file: File,
    /// Opened inside.
    pub(super) netlink: Netlink,
}

impl Namespace {
    /// Makes one, with the way to the tasks' endpoint in its packet filter, which takes the kernel about ten
    /// milliseconds.
    pub(super) fn create() -> io::Result<Self> {
        on_own_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            set_defaults()?;
            Table::new("gantry").redirect_endpoint()?;
            Ok(Self { file: File::open("/proc/thread-self/ns/net")?, netlink: Netlink::open(Family::Route)? })
        })
    }

    /// Leads connections to the task's proxy.
    pub(super) fn redirect_to_proxy(&self, proxy: &Proxy) -> io::Result<()> {
        inside(self.as_fd(), || Table::new("gantry-proxy").redirect_to_proxy(proxy))
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Makes the namespace outlive this process.
    pub(super) fn keep(self, path: &Path) -> io::Result<()> {
        match File::create_new(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        mount_bind(format!("/proc/self/fd/{}", self.file.as_raw_fd()), path)?;
        Ok(())
    }
}

/// What Docker sets for every container: unprivileged users may open any port and ping, and there is no IPv6 as long
/// as there are no addresses for it.
fn set_defaults() -> io::Result<()> {
    fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")?;
    fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647")?;
    // Absent in a kernel without IPv6.
    match fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1") {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether a namespace is mounted on `path`.
pub(super) fn is_mounted(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|stat| stat.f_type == NSFS_MAGIC)
}

/// Lets go of the namespace on `path`; no error when there is none. The kernel takes its interfaces down when the
/// last process has left, many namespaces at a time, which nobody has to wait for.
pub(super) fn release(path: &Path) -> io::Result<()> {
    while is_mounted(path) {
        unmount(path, UnmountFlags::DETACH)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Runs `work` on a thread inside the network namespace at `path`. Sockets that it opens stay there.
///
/// # Errors
/// Those of `work`, and of entering the namespace.
pub fn in_namespace<T: Send>(path: &Path, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    inside(File::open(path)?.as_fd(), work)
}

fn inside<T: Send>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    on_own_thread(|| {
        setns(namespace, CloneFlags::CLONE_NEWNET)?;
        work()
    })
}

/// A thread that changes its namespace must not be used for anything else afterwards.
fn on_own_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(512 << 10).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("a namespace thread failed")))
    })
}
