//! The mounts of a container, in order.

use std::path::Path;

use serde_json::{Value, json};

use super::super::{ContainerSpec, Mount, MountSource, Namespace, message::Failure};

/// Docker's default.
const SHM_BYTES_DEFAULT: u64 = 64 << 20;

/// One mount, in the words of an OCI configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::container) struct MountEntry {
    /// Absolute path in the container.
    pub(in crate::container) destination: String,
    /// A file system of the kernel, `bind`, or `cgroup` for the container's own control groups.
    pub(in crate::container) kind: &'static str,
    pub(in crate::container) source: String,
    /// Of a `bind`: a path in `source` that is shown instead of it.
    pub(in crate::container) below: Option<String>,
    pub(in crate::container) options: Vec<String>,
}

impl MountEntry {
    fn new(source: &str, destination: &str, kind: &'static str, options: &[&str]) -> Self {
        Self {
            destination: destination.to_owned(),
            kind,
            source: source.to_owned(),
            below: None,
            options: options.iter().map(|option| (*option).to_owned()).collect(),
        }
    }

    pub(super) fn oci(&self) -> Value {
        json!({"destination": self.destination, "type": self.kind, "source": self.source, "options": self.options})
    }
}

/// What about the host decides on mounts.
#[derive(Debug, Clone, Copy)]
pub(in crate::container) struct MountFacts<'a> {
    /// The other container's /dev/shm when the ipc namespace is shared: a path to bind.
    pub(in crate::container) shared_shm: Option<&'a Path>,
    /// Whether the host has /dev/mqueue mounted.
    pub(in crate::container) host_has_mqueue: bool,
}

/// All of them, parents first.
pub(in crate::container) fn mounts(spec: &ContainerSpec, facts: MountFacts<'_>) -> Result<Vec<MountEntry>, Failure> {
    let access = if spec.privileged { "rw" } else { "ro" };
    let mut mounts = vec![
        MountEntry::new("proc", "/proc", "proc", &["nosuid", "noexec", "nodev"]),
        MountEntry::new("tmpfs", "/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        MountEntry::new(
            "devpts",
            "/dev/pts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        MountEntry::new("sysfs", "/sys", "sysfs", &["nosuid", "noexec", "nodev", access]),
        MountEntry::new("cgroup", "/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", access]),
    ];
    mounts.extend(ipc_mounts(spec, facts));
    // Parents before what is mounted in them.
    let mut given_mounts: Vec<&Mount> = spec.mounts.iter().collect();
    given_mounts.sort_by_key(|given| Path::new(&given.target).components().count());
    for given in given_mounts {
        let mount = given_mount(given)?;
        // What the caller mounts on a standard place replaces the standard mount.
        mounts.retain(|standard| standard.destination != mount.destination);
        mounts.push(mount);
    }
    Ok(mounts)
}

/// Shared memory follows the ipc namespace.
fn ipc_mounts(spec: &ContainerSpec, facts: MountFacts<'_>) -> [MountEntry; 2] {
    let bind = |path: &str, destination: &str| {
        MountEntry::new(path, destination, "bind", &["rbind", "nosuid", "noexec", "nodev"])
    };
    let mqueue = MountEntry::new("mqueue", "/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]);
    let size = format!("size={}", spec.shm_bytes.unwrap_or(SHM_BYTES_DEFAULT));
    let own_shm = MountEntry::new("shm", "/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", &size]);
    match (&spec.ipc, facts.shared_shm) {
        (Namespace::Host, _) if facts.host_has_mqueue => {
            [bind("/dev/mqueue", "/dev/mqueue"), bind("/dev/shm", "/dev/shm")]
        }
        (Namespace::Host, _) => [mqueue, bind("/dev/shm", "/dev/shm")],
        (_, Some(shm)) => [mqueue, bind(&shm.to_string_lossy(), "/dev/shm")],
        (_, None) => [mqueue, own_shm],
    }
}

fn text(source: &Path) -> Result<&str, Failure> {
    source.to_str().ok_or_else(|| Failure::Spec(format!("mount source {} is not valid UTF-8", source.display())))
}

fn given_mount(given: &Mount) -> Result<MountEntry, Failure> {
    if !given.target.starts_with('/') {
        return Err(Failure::Spec(format!("invalid mount target {:?}: must be an absolute path", given.target)));
    }
    Ok(match &given.source {
        MountSource::BindWith { source, options } => {
            let mut entry = MountEntry::new(text(source)?, &given.target, "bind", &["bind"]);
            entry.options.extend(options.iter().cloned());
            entry
        }
        MountSource::Bind(source) | MountSource::Below { directory: source, .. } => {
            // A read-only volume is read-only all the way down, also what is mounted below it on the host.
            let options: &[&str] =
                if given.readonly { &["rbind", "rprivate", "ro", "rro"] } else { &["rbind", "rprivate", "rw"] };
            let source = text(source)?;
            let below = match &given.source {
                MountSource::Below { path, .. } => Some(path.clone()),
                _ => None,
            };
            MountEntry { below, ..MountEntry::new(source, &given.target, "bind", options) }
        }
        MountSource::Tmpfs { bytes, options } => {
            let access = if given.readonly { "ro" } else { "rw" };
            let size = format!("size={bytes}");
            let mut entry =
                MountEntry::new("tmpfs", &given.target, "tmpfs", &["nosuid", "nodev", "noexec", access, &size]);
            for option in options {
                // The last word of a pair counts: `exec` after `noexec` lifts it.
                let opposite = option.strip_prefix("no").map_or_else(|| format!("no{option}"), str::to_owned);
                entry.options.retain(|known| *known != opposite && known != option);
                entry.options.push(option.clone());
            }
            entry
        }
    })
}
