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
    ContainerSpec, Device, MountSource, Namespace,
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
