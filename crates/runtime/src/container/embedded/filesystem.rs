//! The container's file system: what is mounted into its root, its devices, and how it becomes the root.
//!
//! The image is not trusted: every path in it is resolved with the image's root as the root (`openat2`), and what is
//! mounted goes on the file that was opened, not on a path that could have become another since.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::fs::{FileType, Gid, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, Uid};

use super::{
    super::{
        ContainerSpec,
        cgroup::{Cgroup, Version},
        facts,
        message::Failure,
        rootfs, skeleton,
        spec::{
            MASKED_PATHS, READONLY_PATHS,
            devices::{DeviceKind, DeviceNode},
            mounts::{self, MountEntry, MountFacts},
        },
        sys::{MountAttributes, mount_attribute},
        user::Identity,
    },
    mount,
};

/// Files of /proc that programs which simulate them (lxcfs) may cover; nothing else of it can be mounted over.
const COVERABLE: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// Of every container's /dev: name, major, minor, all readable and writable by all.
const STANDARD_DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const STANDARD_LINKS: [(&str, &str); 6] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("/proc/kcore", "core"),
    ("pts/ptmx", "ptmx"),
];

/// What of the host a container's file system is made of, as mounts that are nowhere yet.
pub(super) struct Parts {
    root: OwnedFd,
    entries: Vec<(MountEntry, Part)>,
    devices: Vec<DeviceNode>,
}

enum Part {
    /// A new file system, made where the container's namespaces are.
    New,
    /// A copy of a mount of the host or of another container, and whether it is a file.
    Copy { mount: OwnedFd, is_file: bool },
    /// The container's own control groups: (name below the mount point, copy of the directory).
    Cgroups(Vec<(Option<String>, OwnedFd)>),
}

impl Parts {
    /// Collects them, while the host's files are still there to be seen.
    pub(super) fn collect(spec: &ContainerSpec, cgroup: &Cgroup, skeletons: &Path) -> Result<Self, Failure> {
        let devices = facts::devices(spec)?;
        let mut shared_shm = facts::shared_shm(spec)?;
        let facts = MountFacts { shared_shm: None, host_has_mqueue: facts::host_has_mqueue() };
        let mut entries = Vec::new();
        for entry in mounts::mounts(spec, facts)? {
            let failure =
                |error: rustix::io::Errno| Failure::io(format!("mounting {}", entry.destination), &error.into());
            let part = match entry.kind {
                "cgroup" => Part::Cgroups(cgroup_views(cgroup).map_err(failure)?),
                "bind" => {
                    check_source(&entry)?;
                    let is_file = !Path::new(&entry.source).is_dir();
                    Part::Copy { mount: mount::make(&entry).map_err(failure)?, is_file }
                }
                _ => match shared_shm.take_if(|_| entry.source == "shm") {
                    Some(mount) => Part::Copy { mount, is_file: false },
                    None => Part::New,
                },
            };
            entries.push((entry, part));
        }
        let mut rootfs = spec.rootfs.clone();
        rootfs.lower_dirs.insert(0, skeleton::layer(skeletons, spec));
        let root = rootfs::detached_root(&rootfs)?;
        Ok(Self { root, entries, devices })
    }

    /// Leaves the host's mounts for a namespace with nothing but an empty directory in it (see `empty.rs`) and puts the
    /// container's root filesystem on that. From here on nothing of the host has a path.
    pub(super) fn enter(self, empty: OwnedFd) -> Result<Root, Failure> {
        let failure = |error: io::Error| Failure::io("changing the root", &error);
        super::empty::enter(empty.as_fd()).map_err(failure)?;
        let flags = rustix::mount::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(&self.root, "", rustix::fs::CWD, "/", flags)
            .map_err(|error| failure(error.into()))?;
        // Not `pivot_root`: there is no old root to get rid of, and unmounting it would wait for an RCU grace period.
        nix::unistd::fchdir(self.root.as_raw_fd()).map_err(|error| failure(error.into()))?;
        nix::unistd::chroot(".").map_err(|error| failure(error.into()))?;
        Ok(Root { root: self.root, entries: self.entries, devices: self.devices })
    }
}

fn cgroup_views(cgroup: &Cgroup) -> rustix::io::Result<Vec<(Option<String>, OwnedFd)>> {
    let name = |controllers: &[String]| (cgroup.version() == Version::V1).then(|| controllers.join(","));
    cgroup.views().map(|(controllers, path)| Ok((name(controllers), mount::clone_tree(path, false)?))).collect()
}

/// The container's root filesystem, our root already.
pub(super) struct Root {
    root: OwnedFd,
    entries: Vec<(MountEntry, Part)>,
    devices: Vec<DeviceNode>,
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

impl Root {
    pub(super) fn create_directory(&self, path: &str) -> Result<(), Failure> {
        rootfs::create_directory_in(self.as_fd(), path).map_err(|error| Failure::io(format!("mkdir {path}"), &error))
    }

    /// Mounts everything that a container has.
    pub(super) fn mount_all(&self) -> Result<(), Failure> {
        for (entry, part) in &self.entries {
            let failure =
                |error: rustix::io::Errno| Failure::io(format!("mounting {}", entry.destination), &error.into());
            match part {
                Part::Cgroups(views) => self.mount_cgroups(entry, views).map_err(failure)?,
                Part::Copy { mount, is_file } => {
                    let target = self.target_of(entry, *is_file)?;
                    mount::attach(mount.as_fd(), target.as_fd()).map_err(failure)?;
                }
                Part::New => {
                    let mount = mount::make(entry).map_err(failure)?;
                    let target = self.target_of(entry, false)?;
                    mount::attach(mount.as_fd(), target.as_fd()).map_err(failure)?;
                }
            }
        }
        Ok(())
    }

    /// Opens what an entry is mounted on, made if it is missing.
    fn target_of(&self, entry: &MountEntry, is_file: bool) -> Result<OwnedFd, Failure> {
        let destination = entry.destination.as_str();
        let failure = |error: io::Error| Failure::io(format!("mounting {destination}"), &error);
        if is_file {
            rootfs::create_file_in(self.as_fd(), destination).map_err(failure)?;
        } else {
            rootfs::create_directory_in(self.as_fd(), destination).map_err(failure)?;
        }
        // A link in the image must not decide where the kernel's own files appear.
        let strictly =
            if matches!(entry.kind, "proc" | "sysfs") { ResolveFlags::NO_SYMLINKS } else { ResolveFlags::empty() };
        let target = rootfs::open_in(self.as_fd(), destination, OFlags::PATH, strictly).map_err(failure)?;
        check_target(entry, target.as_fd())?;
        Ok(target)
    }

    /// The container's own control groups and nothing above them; on version 1 each below a directory of its name.
    fn mount_cgroups(&self, entry: &MountEntry, views: &[(Option<String>, OwnedFd)]) -> rustix::io::Result<()> {
        let attributes = mount::Options::parse(&entry.options).attributes();
        let errno = |error: io::Error| rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::INVAL);
        let open = |path: &str| rootfs::open_in(self.as_fd(), path, OFlags::PATH, ResolveFlags::empty()).map_err(errno);
        let destination = entry.destination.as_str();
        let mut top = None;
        for (name, view) in views {
            mount::apply(view.as_fd(), attributes, false)?;
            let Some(name) = name else {
                mount::attach(view.as_fd(), open(destination)?.as_fd())?;
                continue;
            };
            if top.is_none() {
                let directory = mount::new_filesystem("tmpfs", "cgroup", &["mode=755", "size=64k"])?;
                mount::attach(directory.as_fd(), open(destination)?.as_fd())?;
                top = Some(directory);
            }
            if let Some(top) = &top {
                rustix::fs::mkdirat(top, name, Mode::from_raw_mode(0o755))?;
            }
            mount::attach(view.as_fd(), open(&format!("{destination}/{name}"))?.as_fd())?;
        }
        top.map_or(Ok(()), |top| mount::apply(top.as_fd(), attributes, false))
    }

    /// Makes the nodes and links of /dev.
    pub(super) fn create_devices(&self, identity: &Identity) -> Result<(), Failure> {
        let failure = |path: &str, error: io::Error| Failure::io(format!("making {path}"), &error);
        let dev = rootfs::open_in(self.as_fd(), "/dev", OFlags::PATH | OFlags::DIRECTORY, ResolveFlags::empty())
            .map_err(|error| failure("/dev", error))?;
        for (target, name) in STANDARD_LINKS {
            existing_is_fine(rustix::fs::symlinkat(target, &dev, name)).map_err(|error| failure(name, error))?;
        }
        let mask = nix::sys::stat::umask(nix::sys::stat::Mode::empty());
        let made = self.devices.iter().try_for_each(|device| {
            let device = device.clone().owned_by(identity);
            self.create_device(&device).map_err(|error| failure(&device.path, error))
        });
        let made = made.and_then(|()| {
            STANDARD_DEVICES.iter().try_for_each(|(name, major, minor)| {
                let number = rustix::fs::makedev(*major, *minor);
                let mode = Mode::from_raw_mode(0o666);
                existing_is_fine(rustix::fs::mknodat(&dev, *name, FileType::CharacterDevice, mode, number))
                    .map_err(|error| failure(name, error))
            })
        });
        nix::sys::stat::umask(mask);
        made
    }

    /// Whether what is mounted or unmounted in a copy of these mounts happens here, too.
    pub(super) fn share_mounts(&self, shared: bool) -> Result<(), Failure> {
        let propagation = if shared { libc::MS_SHARED } else { libc::MS_PRIVATE };
        let attributes = MountAttributes { propagation, ..MountAttributes::default() };
        mount::apply(self.as_fd(), attributes, true)
            .map_err(|error| Failure::io("sharing the container's mounts", &error.into()))
    }

    fn create_device(&self, device: &DeviceNode) -> io::Result<()> {
        let (parent, name) = device.path.rsplit_once('/').unwrap_or(("/", &device.path));
        rootfs::create_directory_in(self.as_fd(), parent)?;
        let parent = rootfs::open_in(self.as_fd(), parent, OFlags::PATH | OFlags::DIRECTORY, ResolveFlags::empty())?;
        let kind = match device.kind {
            DeviceKind::Char => FileType::CharacterDevice,
            DeviceKind::Block => FileType::BlockDevice,
        };
        let number = rustix::fs::makedev(device.major, device.minor);
        rustix::fs::mknodat(&parent, name, kind, Mode::from_raw_mode(device.mode), number)?;
        let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
        Ok(rustix::fs::chownat(&parent, name, Some(uid), Some(gid), rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

fn existing_is_fine(made: rustix::io::Result<()>) -> io::Result<()> {
    match made {
        Err(error) if error != rustix::io::Errno::EXIST => Err(error.into()),
        _ => Ok(()),
    }
}

/// Refuses to put anything but the kernel's own files on /proc, in runc's words.
fn check_source(entry: &MountEntry) -> Result<(), Failure> {
    let destination = entry.destination.as_str();
    if !destination.split('/').filter(|part| !part.is_empty()).eq(["proc"]) {
        return Ok(());
    }
    match rustix::fs::statfs(entry.source.as_str()) {
        Ok(stat) if stat.f_type == PROC_SUPER_MAGIC => Ok(()),
        _ => Err(Failure::Spec(format!("{destination:?} cannot be mounted because it is not of type proc"))),
    }
}

/// Refuses mounts over files of the kernel, whatever links lead there.
fn check_target(entry: &MountEntry, target: BorrowedFd<'_>) -> Result<(), Failure> {
    let destination = entry.destination.as_str();
    let stat =
        rustix::fs::fstatfs(target).map_err(|error| Failure::io(format!("mounting {destination}"), &error.into()))?;
    if stat.f_type == PROC_SUPER_MAGIC && !COVERABLE.contains(&destination) {
        return Err(Failure::Spec(format!("{destination:?} cannot be mounted because it is inside /proc")));
    }
    Ok(())
}

/// Writes kernel parameters, in the container's own /proc and not through anything mounted on it.
pub(super) fn set_sysctls(sysctls: &BTreeMap<String, String>) -> Result<(), Failure> {
    if sysctls.is_empty() {
        return Ok(());
    }
    let failure = |name: &str, error: io::Error| Failure::io(format!("setting sysctl {name}"), &error);
    let proc = open_proc().map_err(|error| failure("", error))?;
    for (name, value) in sysctls {
        let path = format!("sys/{}", name.replace('.', "/"));
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        let file = rustix::fs::openat2(&proc, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), resolve)
            .map_err(|error| failure(name, error.into()))?;
        rustix::io::write(&file, value.as_bytes()).map_err(|error| failure(name, error.into()))?;
    }
    Ok(())
}

fn open_proc() -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let proc = rustix::fs::open("/proc", flags, Mode::empty())?;
    if rustix::fs::fstatfs(&proc)?.f_type == PROC_SUPER_MAGIC {
        Ok(proc)
    } else {
        Err(io::Error::other("/proc is something else"))
    }
}

/// The container's own /dev/null, by its device number.
fn open_null(flags: OFlags) -> io::Result<OwnedFd> {
    let null = rustix::fs::open("/dev/null", flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let stat = rustix::fs::fstat(&null)?;
    let is_null =
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == rustix::fs::makedev(1, 3);
    if is_null { Ok(null) } else { Err(io::Error::other("/dev/null is something else")) }
}

/// Standard input is the host's /dev/null until here.
pub(super) fn replace_null_input() -> Result<(), Failure> {
    let failure = |error: io::Error| Failure::io("opening /dev/null", &error);
    let null = open_null(OFlags::RDWR).map_err(failure)?;
    nix::unistd::dup2(null.as_raw_fd(), 0).map(drop).map_err(|error| failure(error.into()))
}

/// Read-only root, read-only and masked kernel files.
pub(super) fn restrict(spec: &ContainerSpec) -> Result<(), Failure> {
    let failure = |path: &str| {
        let path = path.to_owned();
        move |error: rustix::io::Errno| Failure::io(format!("restricting {path}"), &error.into())
    };
    if spec.readonly_rootfs {
        let read_only = MountAttributes { set: mount_attribute::RDONLY, ..MountAttributes::default() };
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(failure("/"))?;
        mount::apply(root.as_fd(), read_only, false).map_err(failure("/"))?;
    }
    if spec.privileged {
        return Ok(());
    }
    for path in READONLY_PATHS {
        missing_is_fine(make_read_only(path)).map_err(failure(path))?;
    }
    let null = open_null(OFlags::PATH).map_err(|error| Failure::io("opening /dev/null", &error))?;
    for path in MASKED_PATHS {
        missing_is_fine(mask(path, null.as_fd())).map_err(failure(path))?;
    }
    Ok(())
}

fn missing_is_fine(done: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match done {
        Err(rustix::io::Errno::NOENT) => Ok(()),
        other => other,
    }
}

fn make_read_only(path: &str) -> rustix::io::Result<()> {
    let target = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let tree = mount::clone_tree(path, true)?;
    let set = mount_attribute::RDONLY | mount_attribute::NOSUID | mount_attribute::NODEV | mount_attribute::NOEXEC;
    mount::apply(tree.as_fd(), MountAttributes { set, ..MountAttributes::default() }, false)?;
    mount::attach(tree.as_fd(), target.as_fd())
}

/// An empty read-only directory over a directory, the null device over a file.
fn mask(path: &str, null: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let target = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let is_directory = FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode) == FileType::Directory;
    let cover = if is_directory {
        let cover = mount::new_filesystem("tmpfs", "tmpfs", &[])?;
        let read_only = MountAttributes { set: mount_attribute::RDONLY, ..MountAttributes::default() };
        mount::apply(cover.as_fd(), read_only, false)?;
        cover
    } else {
        let flags = rustix::mount::OpenTreeFlags::OPEN_TREE_CLONE
            | rustix::mount::OpenTreeFlags::OPEN_TREE_CLOEXEC
            | rustix::mount::OpenTreeFlags::AT_EMPTY_PATH;
        rustix::mount::open_tree(null, "", flags)?
    };
    mount::attach(cover.as_fd(), target.as_fd())
}
