//! Finds out about image and host what a configuration needs and a specification does not say.

use std::{
    collections::BTreeSet,
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{FileTypeExt, MetadataExt},
    },
    path::Path,
};

use rustix::mount::{MoveMountFlags, OpenTreeFlags};

use super::{
    ContainerSpec, Device, DeviceFacts, MountSource, Namespace,
    message::Failure,
    rootfs,
    spec::{
        capabilities,
        devices::{DeviceKind, DeviceNode},
    },
    user::{self, Identity},
};

/// The user of a container, looked up in its root filesystem.
pub(super) fn identity(user: &str, root: BorrowedFd<'_>) -> Result<Identity, Failure> {
    let passwd = rootfs::read_in(root, "/etc/passwd");
    let group = rootfs::read_in(root, "/etc/group");
    user::identify(user, &passwd, &group).map_err(|error| Failure::Spec(error.to_string()))
}

/// The same with the root by its path.
pub(super) fn identity_at(user: &str, root: &Path) -> Result<Identity, Failure> {
    let root = rootfs::open_root(root).map_err(|error| Failure::io("opening the root filesystem", &error))?;
    identity(user, root.as_fd())
}

/// Capabilities that we can give: those that we have ourselves.
pub(super) fn available_capabilities() -> BTreeSet<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    capabilities::from_mask(mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0))
}

/// Refuses mounts whose source is missing, in Docker's words.
pub(super) fn check_mount_sources(spec: &ContainerSpec) -> Result<(), Failure> {
    for mount in &spec.mounts {
        if let MountSource::Bind(source)
        | MountSource::BindWith { source, .. }
        | MountSource::Below { directory: source, .. } = &mount.source
            && !source.exists()
        {
            return Err(Failure::Spec(format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {}",
                source.display()
            )));
        }
    }
    Ok(())
}

/// The container's devices; all of the host's for a privileged one.
pub(super) fn devices(spec: &ContainerSpec) -> Result<Vec<DeviceNode>, Failure> {
    let mut nodes = Vec::new();
    if spec.privileged {
        collect_host_devices(Path::new("/dev"), &mut nodes);
    }
    for device in &spec.devices {
        let failure = |detail: &dyn std::fmt::Display| {
            Failure::Spec(format!(
                "error gathering device information while adding custom device {:?}: {detail}",
                device.host_path.display().to_string()
            ))
        };
        let mut found = Vec::new();
        if let Some(node) = stated(device) {
            found.push(node);
        } else if device.host_path.is_dir() {
            collect_host_devices(&device.host_path, &mut found);
        } else {
            found.extend(node(&device.host_path).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => failure(&"no such file or directory"),
                _ => failure(&error),
            })?);
        }
        if found.is_empty() {
            return Err(failure(&"not a device node"));
        }
        if found.iter().any(|node| contradicts(&device.facts, node)) {
            return Err(failure(&"its type or number is not what was said of it"));
        }
        for mut node in found {
            let below = node.path.strip_prefix(&*device.host_path.to_string_lossy()).unwrap_or_default().to_owned();
            node.path = format!("{}{below}", device.container_path);
            node.access = if device.permissions.is_empty() { "rwm".to_owned() } else { device.permissions.clone() };
            let facts = &device.facts;
            node.mode = facts.mode.map_or(node.mode, |mode| mode & 0o7777);
            (node.uid, node.gid) = (facts.uid.unwrap_or(node.uid), facts.gid.unwrap_or(node.gid));
            node.of_program = (facts.of_program && facts.uid.is_none(), facts.of_program && facts.gid.is_none());
            nodes.retain(|known: &DeviceNode| known.path != node.path);
            nodes.push(node);
        }
    }
    Ok(nodes)
}

/// A device of which everything is said: there need not be a file of it on the host.
fn stated(device: &Device) -> Option<DeviceNode> {
    let facts = &device.facts;
    Some(DeviceNode {
        path: device.host_path.to_string_lossy().into_owned(),
        kind: if facts.block? { DeviceKind::Block } else { DeviceKind::Char },
        major: facts.major?,
        minor: facts.minor?,
        mode: 0o666,
        uid: 0,
        gid: 0,
        access: String::new(),
        of_program: (false, false),
    })
}

/// Whether a device of the host is another than was said.
fn contradicts(facts: &DeviceFacts, node: &DeviceNode) -> bool {
    facts.block.is_some_and(|block| block != (node.kind == DeviceKind::Block))
        || facts.major.is_some_and(|major| major != node.major)
        || facts.minor.is_some_and(|minor| minor != node.minor)
}

fn node(path: &Path) -> io::Result<Option<DeviceNode>> {
    let metadata = fs::metadata(path)?;
    let kind = match metadata.file_type() {
        kind if kind.is_char_device() => DeviceKind::Char,
        kind if kind.is_block_device() => DeviceKind::Block,
        _ => return Ok(None),
    };
    Ok(Some(DeviceNode {
        path: path.to_string_lossy().into_owned(),
        kind,
        major: libc::major(metadata.rdev()),
        minor: libc::minor(metadata.rdev()),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        access: "rwm".to_owned(),
        of_program: (false, false),
    }))
}

/// What Docker leaves out: file systems of their own, and what the container gets its own version of.
fn collect_host_devices(directory: &Path, nodes: &mut Vec<DeviceNode>) {
    const OWN: [&str; 10] = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console", "ptmx", "core"];
    const STANDARD: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let own = name.to_str().is_none_or(|name| OWN.contains(&name) || STANDARD.contains(&name));
        match entry.file_type() {
            _ if own => {}
            Ok(kind) if kind.is_dir() => collect_host_devices(&entry.path(), nodes),
            Ok(kind) if kind.is_char_device() || kind.is_block_device() => {
                nodes.extend(node(&entry.path()).ok().flatten());
            }
            _ => {}
        }
    }
}

/// Whether there is something to share with a container in the host's ipc namespace.
pub(super) fn host_has_mqueue() -> bool {
    Path::new("/dev/mqueue").is_dir()
}

/// Refuses kernel parameters that do not exist, by name.
pub(super) fn check_sysctls(spec: &ContainerSpec) -> Result<(), Failure> {
    for name in spec.sysctls.keys() {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        let inside = path.components().all(|component| !matches!(component, std::path::Component::ParentDir));
        if !inside || !path.is_file() {
            return Err(Failure::Spec(format!("open {}: no such file or directory", path.display())));
        }
    }
    Ok(())
}

/// The /dev/shm of the container whose ipc namespace is joined, as a mount that is nowhere yet.
pub(super) fn shared_shm(spec: &ContainerSpec) -> Result<Option<OwnedFd>, Failure> {
    let Namespace::Path(path) = &spec.ipc else { return Ok(None) };
    // `/proc/PID/ns/ipc`; any other path names a namespace but no process whose mounts could be shared.
    let Some(process) = path.parent().and_then(Path::parent).filter(|process| process.starts_with("/proc")) else {
        return Ok(None);
    };
    let failure = |error: io::Error| Failure::io("sharing /dev/shm", &error);
    let theirs = fs::File::open(process.join("ns/mnt")).map_err(failure)?;
    let ours = fs::File::open("/proc/self/ns/mnt").map_err(failure)?;
    let enter = |namespace: &fs::File| super::sys::join_namespaces(namespace.as_fd(), libc::CLONE_NEWNS);
    enter(&theirs).map_err(failure)?;
    let tree = rustix::mount::open_tree(
        rustix::fs::CWD,
        "/dev/shm",
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    );
    // Entering a mount namespace also changes root and directory; coming back restores our own.
    enter(&ours).map_err(failure)?;
    tree.map(Some).map_err(|error| failure(error.into()))
}

/// The same, mounted on `target` in our namespace.
pub(super) fn shared_shm_at(spec: &ContainerSpec, target: &Path) -> Result<Option<std::path::PathBuf>, Failure> {
    let Some(tree) = shared_shm(spec)? else { return Ok(None) };
    let failure = |error: io::Error| Failure::io("sharing /dev/shm", &error);
    fs::create_dir_all(target).map_err(failure)?;
    rustix::mount::move_mount(&tree, "", rustix::fs::CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(|error| failure(error.into()))?;
    Ok(Some(target.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// /dev/null, which is 1:3, with these facts.
    fn null(facts: DeviceFacts) -> Result<DeviceNode, Failure> {
        let mut spec = super::super::spec_for_tests();
        let container_path = "/dev/g".to_owned();
        spec.devices =
            vec![Device { host_path: "/dev/null".into(), container_path, permissions: String::new(), facts }];
        devices(&spec).map(|mut nodes| nodes.remove(0))
    }

    #[test]
    fn what_is_not_said_of_a_device_is_taken_from_the_hosts_and_a_contradiction_is_refused() {
        let facts = |block, major, minor| DeviceFacts { block, major, minor, ..DeviceFacts::default() };
        for said in [facts(None, None, None), facts(Some(false), None, None), facts(None, Some(1), Some(3))] {
            let node = null(said).unwrap();
            assert_eq!((node.kind, node.major, node.minor), (DeviceKind::Char, 1, 3));
        }
        for said in [facts(Some(true), None, None), facts(None, Some(7), None), facts(None, Some(1), Some(4))] {
            assert!(null(said.clone()).is_err(), "{said:?}");
        }
        let node = null(facts(Some(true), Some(7), Some(8))).unwrap();
        assert_eq!((node.kind, node.major, node.minor), (DeviceKind::Block, 7, 8));
    }

    #[test]
    fn a_device_of_the_program_is_its_users_unless_that_is_root_or_its_owner_is_said() {
        let owner = |uid, gid, of_program| {
            let identity = Identity { uid, gid, groups: Vec::new(), home: String::new() };
            let node = null(DeviceFacts { gid: Some(44), of_program, ..DeviceFacts::default() }).unwrap();
            let node = node.owned_by(&identity);
            (node.uid, node.gid)
        };
        let host = fs::metadata("/dev/null").unwrap().uid();
        assert_eq!(owner(1000, 1000, true), (1000, 44));
        assert_eq!(owner(0, 1000, true), (host, 44));
        assert_eq!(owner(1000, 1000, false), (host, 44));
    }
}
