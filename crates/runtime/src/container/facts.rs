//! Finds out about image and host what a configuration needs and a specification does not say.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use serde_json::{Value, json};

use super::{
    ContainerSpec, MountSource, Namespace,
    cgroup::{Cgroup, Version},
    message::Failure,
    rootfs,
    spec::{
        capabilities,
        devices::{DeviceKind, DeviceNode},
    },
    user::{self, Identity},
};

/// The user of a container, looked up in its root filesystem.
pub(super) fn identity(user: &str, root: &Path) -> Result<Identity, Failure> {
    // The usual case costs no file: root by number in images that we know nothing of.
    let passwd = rootfs::read_in_root(root, "/etc/passwd");
    let group = rootfs::read_in_root(root, "/etc/group");
    user::identify(user, &passwd, &group).map_err(|error| Failure::Spec(error.to_string()))
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
        if let MountSource::Bind(source) = &mount.source
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
        if device.host_path.is_dir() {
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
            nodes.retain(|known: &DeviceNode| known.path != node.path);
            nodes.push(node);
        }
    }
    Ok(nodes)
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

/// The container's own control groups as mounts below its /sys/fs/cgroup. On version 1 each is first bound below
/// `scratch`, under names that say nothing to a library that looks for control groups.
pub(super) fn cgroup_mounts(spec: &ContainerSpec, cgroup: &Cgroup, scratch: &Path) -> Result<Vec<Value>, Failure> {
    let access = if spec.privileged { "rw" } else { "ro" };
    if cgroup.version() == Version::V2 {
        return Ok(vec![json!({
            "destination": "/sys/fs/cgroup", "type": "cgroup2", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", access],
        })]);
    }
    // A directory with the mount points in it, so that it can be read-only from the start.
    let top = scratch.join("cgroup");
    let mut mounts = vec![bind(&top, "/sys/fs/cgroup", access)];
    for (number, (controllers, directory)) in cgroup.views().enumerate() {
        let name = controllers.join(",");
        let bound = scratch.join(format!("view{number}"));
        std::fs::create_dir_all(top.join(&name)).map_err(|error| Failure::io("preparing a mount point", &error))?;
        rootfs::bind_directory(directory, &bound)?;
        mounts.push(bind(&bound, &format!("/sys/fs/cgroup/{name}"), access));
    }
    Ok(mounts)
}

/// Whether there is something to share with a container in the host's ipc namespace.
pub(super) fn host_has_mqueue() -> bool {
    Path::new("/dev/mqueue").is_dir()
}

fn bind(source: &Path, destination: &str, access: &str) -> Value {
    json!({
        "destination": destination, "type": "bind", "source": source,
        "options": ["bind", "nosuid", "noexec", "nodev", access],
    })
}

/// Refuses kernel parameters that do not exist, before the library does so without naming them.
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

/// The /dev/shm of the container whose ipc namespace is joined, mounted on `target` in our namespace.
pub(super) fn shared_shm(spec: &ContainerSpec, target: &Path) -> Result<Option<std::path::PathBuf>, Failure> {
    let Namespace::Path(path) = &spec.ipc else { return Ok(None) };
    // `/proc/PID/ns/ipc`; any other path names a namespace but no process whose mounts could be shared.
    let Some(process) = path.parent().and_then(Path::parent).filter(|process| process.starts_with("/proc")) else {
        return Ok(None);
    };
    let failure = |error: io::Error| Failure::io("sharing /dev/shm", &error);
    let theirs = fs::File::open(process.join("ns/mnt")).map_err(failure)?;
    let ours = fs::File::open("/proc/self/ns/mnt").map_err(failure)?;
    let enter = |namespace: &fs::File| {
        use std::os::fd::AsFd;
        super::sys::join_namespaces(namespace.as_fd(), libc::CLONE_NEWNS)
    };
    fs::create_dir_all(target).map_err(failure)?;
    let target_fd = fs::File::open(target).map_err(failure)?;
    enter(&theirs).map_err(failure)?;
    let tree = rustix::mount::open_tree(
        rustix::fs::CWD,
        "/dev/shm",
        rustix::mount::OpenTreeFlags::OPEN_TREE_CLONE | rustix::mount::OpenTreeFlags::OPEN_TREE_CLOEXEC,
    );
    // Entering a mount namespace also changes root and directory; coming back restores our own.
    enter(&ours).map_err(failure)?;
    let tree = tree.map_err(|error| failure(error.into()))?;
    rustix::mount::move_mount(
        &tree,
        "",
        &target_fd,
        "",
        rustix::mount::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | rustix::mount::MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )
    .map_err(|error| failure(error.into()))?;
    Ok(Some(target.to_owned()))
}
