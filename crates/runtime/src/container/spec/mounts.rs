//! The mounts of a container, in order.

use serde_json::{Value, json};

use super::{
    super::{ContainerSpec, Mount, MountSource, Namespace, message::Failure},
    Facts,
};

/// Docker's default.
const SHM_BYTES_DEFAULT: u64 = 64 << 20;

pub(super) fn mounts(spec: &ContainerSpec, facts: &Facts) -> Result<Vec<Value>, Failure> {
    let sys_access = if spec.privileged { "rw" } else { "ro" };
    let mut mounts = vec![
        mount("proc", "/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("tmpfs", "/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "devpts",
            "/dev/pts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("sysfs", "/sys", "sysfs", &["nosuid", "noexec", "nodev", sys_access]),
    ];
    mounts.extend(facts.cgroup_mounts.iter().cloned());
    mounts.extend(ipc_mounts(spec, facts));
    // Parents before what is mounted in them.
    let mut given_mounts: Vec<&Mount> = spec.mounts.iter().collect();
    given_mounts.sort_by_key(|given| std::path::Path::new(&given.target).components().count());
    for given in given_mounts {
        let mount = given_mount(given)?;
        // What the caller mounts on a standard place replaces the standard mount.
        mounts.retain(|standard| standard["destination"] != mount["destination"]);
        mounts.push(mount);
    }
    Ok(mounts)
}

fn mount(source: &str, destination: &str, kind: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": kind, "source": source, "options": options})
}

/// Shared memory follows the ipc namespace.
fn ipc_mounts(spec: &ContainerSpec, facts: &Facts) -> [Value; 2] {
    let bind =
        |path: &str, destination: &str| mount(path, destination, "bind", &["rbind", "nosuid", "noexec", "nodev"]);
    let mqueue = mount("mqueue", "/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]);
    let size = format!("size={}", spec.shm_bytes.unwrap_or(SHM_BYTES_DEFAULT));
    let own_shm = mount("shm", "/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", &size]);
    match (&spec.ipc, &facts.shared_shm) {
        (Namespace::Host, _) if facts.host_has_mqueue => {
            [bind("/dev/mqueue", "/dev/mqueue"), bind("/dev/shm", "/dev/shm")]
        }
        (Namespace::Host, _) => [mqueue, bind("/dev/shm", "/dev/shm")],
        (_, Some(shm)) => [mqueue, bind(&shm.to_string_lossy(), "/dev/shm")],
        (_, None) => [mqueue, own_shm],
    }
}

fn given_mount(given: &Mount) -> Result<Value, Failure> {
    if !given.target.starts_with('/') {
        return Err(Failure::Spec(format!("invalid mount target {:?}: must be an absolute path", given.target)));
    }
    let access = if given.readonly { "ro" } else { "rw" };
    Ok(match &given.source {
        MountSource::Bind(source) => json!({
            "destination": given.target,
            "type": "bind",
            "source": source,
            // A read-only volume is read-only all the way down, also what is mounted below it on the host.
            "options": if given.readonly { vec!["rbind", "rprivate", "ro", "rro"] } else { vec!["rbind", "rprivate", "rw"] },
        }),
        MountSource::Tmpfs { bytes, options } => {
            let mut all = vec!["nosuid".to_owned(), "nodev".to_owned(), "noexec".to_owned(), access.to_owned()];
            all.push(format!("size={bytes}"));
            for option in options {
                // The last word of a pair counts: `exec` after `noexec` lifts it.
                let opposite = option.strip_prefix("no").map_or_else(|| format!("no{option}"), str::to_owned);
                all.retain(|known| *known != opposite && known != option);
                all.push(option.clone());
            }
            json!({"destination": given.target, "type": "tmpfs", "source": "tmpfs", "options": all})
        }
    })
}
