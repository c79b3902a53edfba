//! Mounts that are nowhere yet: made from an entry of the plan, attached by descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    fs::CWD,
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags},
};

use super::super::{
    rootfs,
    spec::mounts::MountEntry,
    sys::{MountAttributes, mount_attribute, set_mount_attributes},
};

/// Mount options sorted by who takes them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options<'a> {
    /// Of this mount.
    attributes: MountAttributes,
    /// Of this mount and everything below it.
    recursive: MountAttributes,
    /// Bind what is mounted below the source, too.
    with_submounts: bool,
    /// For the file system.
    data: Vec<&'a str>,
}

impl<'a> Options<'a> {
    pub(super) fn parse(options: &'a [String]) -> Self {
        let mut parsed = Self::default();
        for option in options {
            let attributes = &mut parsed.attributes;
            let (flag, on) = match option.as_str() {
                "ro" => (mount_attribute::RDONLY, true),
                "rw" => (mount_attribute::RDONLY, false),
                "nosuid" => (mount_attribute::NOSUID, true),
                "suid" => (mount_attribute::NOSUID, false),
                "nodev" => (mount_attribute::NODEV, true),
                "dev" => (mount_attribute::NODEV, false),
                "noexec" => (mount_attribute::NOEXEC, true),
                "exec" => (mount_attribute::NOEXEC, false),
                "nodiratime" => (mount_attribute::NODIRATIME, true),
                "diratime" => (mount_attribute::NODIRATIME, false),
                "noatime" | "strictatime" | "relatime" => {
                    // Changing it means clearing the whole field; the relative way is its zero.
                    attributes.clear |= mount_attribute::ATIME_MASK;
                    attributes.set &= !mount_attribute::ATIME_MASK;
                    attributes.set |= match option.as_str() {
                        "noatime" => mount_attribute::NOATIME,
                        "strictatime" => mount_attribute::STRICTATIME,
                        _ => 0,
                    };
                    continue;
                }
                "rro" => {
                    parsed.recursive.set |= mount_attribute::RDONLY;
                    continue;
                }
                "rbind" => {
                    parsed.with_submounts = true;
                    continue;
                }
                "bind" | "defaults" | "atime" | "norelatime" | "nostrictatime" => continue,
                other => {
                    match propagation(other) {
                        Some((kind, true)) => parsed.recursive.propagation = kind,
                        Some((kind, false)) => attributes.propagation = kind,
                        None => parsed.data.push(other),
                    }
                    continue;
                }
            };
            attributes.set = if on { attributes.set | flag } else { attributes.set & !flag };
        }
        parsed
    }

    /// What concerns the mount itself.
    pub(super) fn attributes(&self) -> MountAttributes {
        self.attributes
    }
}

/// `MS_…` of a propagation type, and whether it goes down.
fn propagation(option: &str) -> Option<(u64, bool)> {
    let plain = |option: &str| match option {
        "private" => Some(libc::MS_PRIVATE),
        "slave" => Some(libc::MS_SLAVE),
        "shared" => Some(libc::MS_SHARED),
        "unbindable" => Some(libc::MS_UNBINDABLE),
        _ => None,
    };
    let recursive = option.strip_prefix('r').and_then(plain).map(|kind| (kind, true));
    recursive.or_else(|| plain(option).map(|kind| (kind, false)))
}

/// Makes the mount of an entry of any kind but `cgroup`.
pub(super) fn make(entry: &MountEntry) -> rustix::io::Result<OwnedFd> {
    let options = Options::parse(&entry.options);
    let mount = if entry.kind == "bind" {
        match &entry.below {
            Some(path) => private(rootfs::clone_directory_in(&entry.source, path)?)?,
            None => clone_tree(&entry.source, options.with_submounts)?,
        }
    } else {
        new_filesystem(entry.kind, &entry.source, &options.data)?
    };
    apply(mount.as_fd(), options.attributes, false)?;
    apply(mount.as_fd(), options.recursive, true)?;
    Ok(mount)
}

/// A copy of what is mounted at `source`, which nothing mounted or unmounted there later reaches.
pub(super) fn clone_tree(source: impl rustix::path::Arg, with_submounts: bool) -> rustix::io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if with_submounts {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    private(rustix::mount::open_tree(CWD, source, flags)?)
}

fn private(tree: OwnedFd) -> rustix::io::Result<OwnedFd> {
    apply(tree.as_fd(), MountAttributes { propagation: libc::MS_PRIVATE, ..MountAttributes::default() }, true)?;
    Ok(tree)
}

/// A new instance of a file system.
pub(in crate::container) fn new_filesystem(kind: &str, source: &str, data: &[&str]) -> rustix::io::Result<OwnedFd> {
    let filesystem = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    let filesystem = filesystem.as_fd();
    rustix::mount::fsconfig_set_string(filesystem, "source", source)?;
    for option in data {
        match option.split_once('=') {
            Some((name, value)) => rustix::mount::fsconfig_set_string(filesystem, name, value)?,
            None => rustix::mount::fsconfig_set_flag(filesystem, *option)?,
        }
    }
    rustix::mount::fsconfig_create(filesystem)?;
    rustix::mount::fsmount(filesystem, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// Changes attributes, if there is anything to change.
pub(super) fn apply(mount: BorrowedFd<'_>, attributes: MountAttributes, recursive: bool) -> rustix::io::Result<()> {
    if attributes == MountAttributes::default() {
        return Ok(());
    }
    set_mount_attributes(mount, attributes, recursive)
        .map_err(|error| rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::INVAL))
}

/// Puts a mount on what `target` is open on.
pub(super) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", target, "", flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> (u64, u64, u64, u64, bool, Vec<String>) {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let parsed = Options::parse(&options);
        let data = parsed.data.iter().map(|option| (*option).to_owned()).collect();
        (
            parsed.attributes.set,
            parsed.attributes.clear,
            parsed.recursive.set,
            parsed.recursive.propagation,
            parsed.with_submounts,
            data,
        )
    }

    #[test]
    fn options_are_sorted_by_who_takes_them() {
        assert_eq!(
            parse(&["nosuid", "strictatime", "mode=755", "size=65536k"]),
            (2 | 0x20, 0x70, 0, 0, false, vec!["mode=755".to_owned(), "size=65536k".to_owned()])
        );
        assert_eq!(parse(&["rbind", "rprivate", "ro", "rro"]), (1, 0, 1, libc::MS_PRIVATE, true, vec![]));
    }

    #[test]
    fn the_last_word_of_a_pair_counts() {
        assert_eq!(parse(&["noexec", "nodev", "exec"]).0, 4);
        assert_eq!(parse(&["noatime", "relatime"]).0, 0);
    }

    #[test]
    fn words_of_the_file_system_are_left_to_it() {
        assert_eq!(parse(&["newinstance", "sync"]).5, ["newinstance", "sync"]);
    }
}
