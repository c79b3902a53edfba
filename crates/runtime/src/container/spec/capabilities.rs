//! Which capabilities a container has.

use std::collections::BTreeSet;

use super::super::{ContainerSpec, message::Failure};

/// All of them, in the kernel's order: the place is the number.
const ALL: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Docker's default set.
const DEFAULT: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Names of resource limits that a container may have.
pub(super) const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// The container's set, limited to what we ourselves may give (`available`).
pub(in crate::container) fn capabilities(
    spec: &ContainerSpec,
    available: &BTreeSet<String>,
) -> Result<BTreeSet<String>, Failure> {
    for name in spec.capabilities_add.iter().chain(&spec.capabilities_drop) {
        if name != "ALL" && !ALL.contains(&name.as_str()) {
            return Err(Failure::Spec(format!("invalid capability: \"CAP_{name}\"")));
        }
    }
    let has_all = |list: &[String]| list.iter().any(|name| name == "ALL");
    let mut set: BTreeSet<String> = if spec.privileged {
        available.clone()
    } else if has_all(&spec.capabilities_add) {
        available.iter().filter(|name| !spec.capabilities_drop.contains(name)).cloned().collect()
    } else if has_all(&spec.capabilities_drop) {
        spec.capabilities_add.iter().cloned().collect()
    } else {
        default_set()
            .into_iter()
            .filter(|name| !spec.capabilities_drop.contains(name))
            .chain(spec.capabilities_add.iter().cloned())
            .collect()
    };
    set.retain(|name| available.contains(name));
    Ok(set)
}

/// Docker's default set, which nearly every container has.
pub(in crate::container) fn default_set() -> BTreeSet<String> {
    DEFAULT.iter().map(|name| (*name).to_owned()).collect()
}

/// The kernel's bit mask of a set.
pub(in crate::container) fn mask(set: &BTreeSet<String>) -> u64 {
    ALL.iter().enumerate().filter(|(_, name)| set.contains(**name)).fold(0, |mask, (number, _)| mask | 1 << number)
}

/// The set of a bit mask, as in the `CapBnd` line of /proc/self/status.
pub(in crate::container) fn from_mask(mask: u64) -> BTreeSet<String> {
    ALL.iter().enumerate().filter(|(number, _)| mask & 1 << number != 0).map(|(_, name)| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::container::spec::tests::spec;

    fn check(add: &[&str], drop: &[&str], privileged: bool) -> Vec<String> {
        let mut spec = spec();
        spec.capabilities_add = add.iter().map(|name| (*name).to_owned()).collect();
        spec.capabilities_drop = drop.iter().map(|name| (*name).to_owned()).collect();
        spec.privileged = privileged;
        let available = ALL.iter().map(|name| (*name).to_owned()).collect();
        capabilities(&spec, &available).unwrap().into_iter().collect()
    }

    #[test]
    fn adding_and_dropping() {
        assert_eq!(check(&[], &[], false), DEFAULT);
        assert_eq!(check(&["NET_ADMIN"], &["ALL"], false), ["NET_ADMIN"]);
        assert!(check(&["SYS_PTRACE"], &[], false).contains(&"SYS_PTRACE".to_owned()));
        assert!(!check(&[], &["KILL"], false).contains(&"KILL".to_owned()));
        assert_eq!(check(&["ALL"], &["SYS_ADMIN"], false).len(), ALL.len() - 1);
        assert_eq!(check(&[], &["ALL"], true).len(), ALL.len());
        assert!(check(&[], &["ALL"], false).is_empty());
    }

    #[test]
    fn an_unknown_name_is_refused() {
        let mut spec = spec();
        spec.capabilities_add = vec!["FLY".into()];
        assert_eq!(
            capabilities(&spec, &BTreeSet::new()).unwrap_err(),
            Failure::Spec("invalid capability: \"CAP_FLY\"".into())
        );
    }

    #[test]
    fn masks_are_the_kernels() {
        // What Docker's containers show as CapBnd.
        let default = default_set();
        assert_eq!(mask(&default), 0xa804_25fb);
        assert_eq!(from_mask(0xa804_25fb), default);
    }
}
