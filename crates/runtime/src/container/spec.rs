//! From our [`ContainerSpec`] to an OCI runtime configuration: a pure function over the specification and what was
//! found out about image and host.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{ContainerSpec, Hook, Namespace, message::Failure, user::Identity};

pub(super) mod capabilities;
pub(super) mod devices;
pub(super) mod mounts;

use devices::DeviceNode;
use mounts::{MountEntry, MountFacts};

/// What the specification does not say: facts about the image and the host, and what an OCI binary is to enforce.
pub(super) struct Facts {
    /// The user, looked up in the image.
    pub(super) identity: Identity,
    /// Nodes to create beyond the standard ones.
    pub(super) devices: Vec<DeviceNode>,
    /// The other container's /dev/shm when the ipc namespace is shared: a path to bind.
    pub(super) shared_shm: Option<std::path::PathBuf>,
    /// Whether the host has /dev/mqueue mounted.
    pub(super) host_has_mqueue: bool,
    /// The container's capabilities, without `CAP_`.
    pub(super) capabilities: BTreeSet<String>,
    /// Absolute, below each hierarchy's mount point.
    pub(super) cgroups_path: String,
    /// `linux.resources`.
    pub(super) resources: Value,
    /// `linux.seccomp`; none for privileged containers.
    pub(super) seccomp: Option<Value>,
}

/// What of the kernel's files a container does not see, unless it is privileged.
pub(super) const MASKED_PATHS: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// What it sees but cannot write.
pub(super) const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// `config.json` of a container whose root filesystem is mounted at its mount point.
pub(super) fn oci_configuration(spec: &ContainerSpec, facts: &Facts) -> Result<Value, Failure> {
    let (masked, readonly): (&[&str], &[&str]) =
        if spec.privileged { (&[], &[]) } else { (&MASKED_PATHS, &READONLY_PATHS) };
    let mut linux = json!({
        "namespaces": namespaces(spec),
        "maskedPaths": masked,
        "readonlyPaths": readonly,
        "devices": facts.devices.iter().map(DeviceNode::oci).collect::<Vec<_>>(),
        "sysctl": spec.sysctls,
        "rootfsPropagation": "private",
        "cgroupsPath": facts.cgroups_path,
        "resources": facts.resources,
    });
    if let Some(seccomp) = &facts.seccomp {
        linux["seccomp"] = seccomp.clone();
    }
    let mount_facts = MountFacts { shared_shm: facts.shared_shm.as_deref(), host_has_mqueue: facts.host_has_mqueue };
    let mounts = mounts::mounts(spec, mount_facts)?;
    let mut configuration = json!({
        "ociVersion": "1.0.2",
        "root": {"path": spec.rootfs.mount_point, "readonly": spec.readonly_rootfs},
        "process": process(spec, facts)?,
        "mounts": mounts.iter().map(MountEntry::oci).collect::<Vec<_>>(),
        "linux": linux,
    });
    if !spec.hooks.is_empty() {
        configuration["hooks"]["createContainer"] = spec.hooks.iter().map(hook).collect();
    }
    if let Some(hostname) = &spec.hostname {
        configuration["hostname"] = json!(hostname);
    }
    Ok(configuration)
}

fn hook(hook: &Hook) -> Value {
    json!({"path": hook.path, "args": hook.args, "env": hook.env, "timeout": hook.timeout.as_secs().max(1)})
}

/// `process` of a configuration; with other arguments also what `exec --process` of OCI binaries takes.
pub(super) fn process(spec: &ContainerSpec, facts: &Facts) -> Result<Value, Failure> {
    let identity = &facts.identity;
    // The binary wants a program; a pause container has none, and its init is what is executed.
    let pause = vec!["pause".to_owned()];
    Ok(json!({
        "terminal": spec.terminal,
        "user": {"uid": identity.uid, "gid": identity.gid, "additionalGids": identity.groups},
        "args": if spec.args.is_empty() { &pause } else { &spec.args },
        "env": environment(spec, identity),
        "cwd": working_directory(spec),
        "capabilities": capability_sets(facts),
        "rlimits": resource_limits(spec)?,
        "noNewPrivileges": spec.no_new_privileges,
        // Not the shim's, which is protected.
        "oomScoreAdj": 0,
    }))
}

/// `/` when the specification names none.
pub(super) fn working_directory(spec: &ContainerSpec) -> &str {
    if spec.working_dir.is_empty() { "/" } else { &spec.working_dir }
}

/// The environment with what every program may count on: PATH, HOME, and TERM on a terminal.
pub(super) fn environment(spec: &ContainerSpec, identity: &Identity) -> Vec<String> {
    let mut environment = spec.env.clone();
    let mut default = |name: &str, value: &str| {
        if !spec.env.iter().any(|entry| entry.split('=').next() == Some(name)) {
            environment.push(format!("{name}={value}"));
        }
    };
    default("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    default("HOME", &identity.home);
    if spec.terminal {
        default("TERM", "xterm");
    }
    environment
}

fn capability_sets(facts: &Facts) -> Value {
    let bounding: Vec<String> = facts.capabilities.iter().map(|name| format!("CAP_{name}")).collect();
    // What `execve` leaves a user other than root: nothing.
    let effective = if facts.identity.uid == 0 { bounding.as_slice() } else { &[] };
    json!({"bounding": bounding, "effective": effective, "permitted": effective, "inheritable": [], "ambient": []})
}

fn resource_limits(spec: &ContainerSpec) -> Result<Vec<Value>, Failure> {
    check_ulimits(spec)?;
    let value = |limit: i64| u64::try_from(limit).unwrap_or(u64::MAX);
    let limit = |(name, (soft, hard)): (&String, &(i64, i64))| json!({"type": format!("RLIMIT_{}", name.to_uppercase()), "soft": value(*soft), "hard": value(*hard)});
    Ok(spec.ulimits.iter().map(limit).collect())
}

/// Refuses limits that do not exist or contradict themselves, in Docker's words.
pub(super) fn check_ulimits(spec: &ContainerSpec) -> Result<(), Failure> {
    for (name, (soft, hard)) in &spec.ulimits {
        if !capabilities::ULIMITS.contains(&name.as_str()) {
            return Err(Failure::Spec(format!("invalid ulimit type: {name}")));
        }
        let value = |limit: i64| u64::try_from(limit).unwrap_or(u64::MAX);
        if value(*soft) > value(*hard) {
            return Err(Failure::Spec(format!(
                "ulimit soft limit must be less than or equal to hard limit: {name}: {soft} > {hard}"
            )));
        }
    }
    Ok(())
}

fn namespaces(spec: &ContainerSpec) -> Vec<Value> {
    let mut namespaces = vec![json!({"type": "mount"}), json!({"type": "uts"}), json!({"type": "cgroup"})];
    for (kind, namespace) in [("network", &spec.network), ("pid", &spec.pid), ("ipc", &spec.ipc)] {
        match namespace {
            Namespace::Host => {}
            Namespace::Private => namespaces.push(json!({"type": kind})),
            Namespace::Path(path) => namespaces.push(json!({"type": kind, "path": path})),
        }
    }
    namespaces
}

#[cfg(test)]
pub(super) mod tests;
