//! What a container asks of the kernel: capabilities, devices, tmpfs, swap, limits, sysctls, security options.

use std::collections::BTreeSet;

use gantry_api::ecs::{Device, IpcMode, LinuxParameters, NetworkMode, Tmpfs};
use gantry_domain::limits::SWAPPINESS;

use super::container::has_no_nul;
use crate::task_definition::document::{Container, list, text};
use crate::task_definition::invalid::Invalid;

/// Names without `CAP_`, as the service knows them.
const CAPABILITIES: &[&str] = &[
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "SYSLOG",
    "WAKE_ALARM",
];

const TMPFS_OPTIONS: &[&str] = &[
    "defaults",
    "ro",
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "sync",
    "async",
    "dirsync",
    "remount",
    "mand",
    "nomand",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "bind",
    "rbind",
    "unbindable",
    "runbindable",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
];

/// Options that carry a value: `mode=1777`.
const TMPFS_VALUE_OPTIONS: &[&str] = &["mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"];

/// System controls of the IPC namespace.
const IPC_CONTROLS: &[&str] = &[
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

pub(super) fn check(container: Container<'_>) -> Result<(), Invalid> {
    if let Some(linux) = &container.definition.linux_parameters {
        check_linux_parameters(container, linux)?;
    }
    check_ulimits(container)?;
    check_system_controls(container)?;
    let options = list(&container.definition.docker_security_options);
    container.ensure(options.iter().all(|option| is_security_option(option)), "dockerSecurityOptions")
}

fn is_security_option(option: &str) -> bool {
    let with_value = |prefix: &str| option.strip_prefix(prefix).is_some_and(|value| !value.is_empty());
    // Docker takes the value behind either sign.
    let privileges = option.strip_prefix("no-new-privileges");
    privileges.is_some_and(|rest| matches!(rest, "" | ":true" | ":false" | "=true" | "=false"))
        || ["apparmor:", "label:", "credentialspec:"].into_iter().any(with_value)
}

fn check_linux_parameters(container: Container<'_>, linux: &LinuxParameters) -> Result<(), Invalid> {
    let capabilities = linux.capabilities.as_ref();
    let known =
        |names: Option<&Vec<String>>| names.into_iter().flatten().all(|name| CAPABILITIES.contains(&name.as_str()));
    container.ensure(known(capabilities.and_then(|both| both.add.as_ref())), "capabilities.add")?;
    container.ensure(known(capabilities.and_then(|both| both.drop.as_ref())), "capabilities.drop")?;
    container.ensure(list(&linux.devices).iter().all(is_device), "devices")?;
    container.ensure(list(&linux.tmpfs).iter().all(is_tmpfs), "tmpfs")?;
    container.ensure(linux.shared_memory_size.is_none_or(|mib| mib >= 0), "sharedMemorySize")?;
    container.ensure(linux.max_swap.is_none_or(|mib| mib >= 0), "maxSwap")?;
    container.ensure(linux.swappiness.is_none_or(|value| SWAPPINESS.contains(&value)), "swappiness")
}

fn is_device(device: &Device) -> bool {
    is_absolute(text(&device.host_path)) && device.container_path.as_deref().is_none_or(is_absolute)
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/') && has_no_nul(path)
}

fn is_tmpfs(tmpfs: &Tmpfs) -> bool {
    is_absolute(text(&tmpfs.container_path))
        && tmpfs.size.is_some_and(|mib| mib > 0)
        && list(&tmpfs.mount_options).iter().all(|option| is_mount_option(option))
}

fn is_mount_option(option: &str) -> bool {
    match option.split_once('=') {
        None => TMPFS_OPTIONS.contains(&option),
        // A comma would smuggle in a second option.
        Some((name, value)) => {
            TMPFS_VALUE_OPTIONS.contains(&name) && !value.is_empty() && !value.contains([',', '\0', ' '])
        }
    }
}

fn check_ulimits(container: Container<'_>) -> Result<(), Invalid> {
    let mut names = BTreeSet::new();
    for ulimit in list(&container.definition.ulimits) {
        // -1 is no limit at all.
        let rank = |value: Option<i32>| match value {
            Some(-1) => Some(i64::MAX),
            Some(value) if value >= 0 => Some(i64::from(value)),
            _ => None,
        };
        let fine = rank(ulimit.soft_limit).zip(rank(ulimit.hard_limit)).is_some_and(|(soft, hard)| soft <= hard);
        container.ensure(fine, "ulimits")?;
        let name = ulimit.name.as_ref().map(|name| name.as_str()).unwrap_or_default();
        if !names.insert(name) {
            return Err(Invalid::DuplicateUlimit { name: name.to_owned() });
        }
    }
    Ok(())
}

fn check_system_controls(container: Container<'_>) -> Result<(), Invalid> {
    for control in list(&container.definition.system_controls) {
        let name = text(&control.namespace);
        let value = text(&control.value);
        container.ensure(!name.is_empty() && !value.is_empty() && has_no_nul(value), "systemControls")?;
        check_system_control(container, name)?;
    }
    Ok(())
}

fn check_system_control(container: Container<'_>, name: &str) -> Result<(), Invalid> {
    let named = |prefix: &str| name.strip_prefix(prefix).is_some_and(is_control_path);
    let (network, ipc) = (named("net."), IPC_CONTROLS.contains(&name) || named("fs.mqueue."));
    if !network && !ipc {
        return Err(Invalid::SystemControl { name: name.to_owned() });
    }
    let document = container.document;
    let refused = |mode| Err(Invalid::SystemControlMode { name: name.to_owned(), mode });
    if network && *document.network_mode() == NetworkMode::Host {
        return refused("networkMode=host");
    }
    if ipc && document.task.ipc_mode == Some(IpcMode::Host) { refused("ipcMode=host") } else { Ok(()) }
}

/// The name becomes a path under /proc/sys: nothing in it may climb.
fn is_control_path(rest: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    rest.split(['.', '/']).all(|part| !part.is_empty() && part.bytes().all(allowed))
}
