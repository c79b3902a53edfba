//! What a container needs for its devices, in our words.

use std::{path::PathBuf, time::Duration};

use super::document::{self, ContainerEdits};
use crate::container::{ContainerSpec, Device, DeviceFacts, Hook, Mount, MountSource};

/// A hook without a time of its own gets this long.
const HOOK_TIMEOUT: Duration = Duration::from_secs(60);

/// Words of a bind mount.
const MOUNT_OPTIONS: [&str; 21] = [
    "bind",
    "rbind",
    "ro",
    "rw",
    "rro",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "private",
    "rprivate",
];

/// What a container needs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Edits {
    env: Vec<(String, String)>,
    devices: Vec<Device>,
    mounts: Vec<Mount>,
    hooks: Vec<Hook>,
    groups: Vec<u32>,
}

impl Edits {
    /// In our words; the error names what we cannot do.
    pub(super) fn of(edits: &ContainerEdits) -> Result<Self, String> {
        if edits.intel_rdt.is_some() {
            return Err("intelRdt is not supported".to_owned());
        }
        if let Some(device) = edits.net_devices.first() {
            return Err(format!("the network device {} is not supported", device.host_interface_name));
        }
        Ok(Self {
            env: edits.env.iter().map(|entry| variable(entry)).collect::<Result<_, _>>()?,
            devices: edits.device_nodes.iter().map(device).collect::<Result<_, _>>()?,
            mounts: edits.mounts.iter().map(mount).collect::<Result<_, _>>()?,
            hooks: edits.hooks.iter().map(hook).collect::<Result<_, _>>()?,
            // The specification has 0 ignored.
            groups: edits.additional_gids.iter().copied().filter(|group| *group != 0).collect(),
        })
    }

    /// Adds what is not there yet: devices of one host have much in common. Of variables the last one counts.
    pub(super) fn add(&mut self, other: &Self) {
        fn extend<T: Clone + PartialEq>(into: &mut Vec<T>, from: &[T]) {
            for one in from {
                if !into.contains(one) {
                    into.push(one.clone());
                }
            }
        }
        for (name, value) in &other.env {
            set(&mut self.env, name, value);
        }
        extend(&mut self.devices, &other.devices);
        extend(&mut self.mounts, &other.mounts);
        extend(&mut self.hooks, &other.hooks);
        extend(&mut self.groups, &other.groups);
    }

    /// The device files, by which a device is told from another.
    pub(super) fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// Sets a variable.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        set(&mut self.env, name, value);
    }

    /// Gives it all to a container. Its variables win over those that the container has.
    pub fn apply(self, spec: &mut ContainerSpec) {
        for (name, value) in self.env {
            let is_it = |entry: &String| entry.split('=').next() == Some(name.as_str());
            spec.env.retain(|entry| !is_it(entry));
            spec.env.push(format!("{name}={value}"));
        }
        spec.devices.extend(self.devices);
        spec.mounts.extend(self.mounts);
        spec.hooks.extend(self.hooks);
        spec.additional_groups.extend(self.groups);
    }
}

fn set(variables: &mut Vec<(String, String)>, name: &str, value: &str) {
    match variables.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => value.clone_into(old),
        None => variables.push((name.to_owned(), value.to_owned())),
    }
}

fn variable(entry: &str) -> Result<(String, String), String> {
    match entry.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("the variable {entry:?} has no name")),
    }
}

fn absolute(path: &str, what: &str) -> Result<(), String> {
    if path.starts_with('/') { Ok(()) } else { Err(format!("the path {path:?} of a {what} is not absolute")) }
}

fn device(node: &document::DeviceNode) -> Result<Device, String> {
    let host_path = node.host_path.as_ref().filter(|path| !path.is_empty()).unwrap_or(&node.path);
    absolute(&node.path, "device")?;
    absolute(host_path, "device")?;
    let permissions = node.permissions.clone().unwrap_or_default();
    if !permissions.chars().all(|letter| "rwm".contains(letter)) {
        return Err(format!("the permissions {permissions:?} of the device {} are not known", node.path));
    }
    if let Some(kind) = node.r#type.as_deref().filter(|kind| !matches!(*kind, "" | "c" | "u" | "b")) {
        return Err(format!("the type {kind:?} of the device {} is not supported", node.path));
    }
    let number = |number: Option<i64>| match number.map(u32::try_from) {
        None => Ok(None),
        Some(Ok(number)) => Ok(Some(number)),
        Some(Err(_)) => Err(format!("a number of the device {} is negative", node.path)),
    };
    let minor = number(node.minor)?;
    // Files leave out a 0. Without a driver the host's file says which device it is.
    let major = number(node.major)?.filter(|major| *major != 0);
    Ok(Device {
        host_path: PathBuf::from(host_path),
        container_path: node.path.clone(),
        permissions,
        facts: DeviceFacts {
            block: node.r#type.as_deref().filter(|kind| !kind.is_empty()).map(|kind| kind == "b"),
            major,
            minor: major.map(|_| minor.unwrap_or(0)),
            mode: node.file_mode,
            uid: node.uid,
            gid: node.gid,
            of_program: true,
        },
    })
}

fn mount(mount: &document::Mount) -> Result<Mount, String> {
    absolute(&mount.host_path, "mount")?;
    absolute(&mount.container_path, "mount")?;
    if let Some(kind) = mount.r#type.as_deref().filter(|kind| !matches!(*kind, "" | "bind" | "none")) {
        return Err(format!("the type {kind:?} of the mount on {} is not supported", mount.container_path));
    }
    if let Some(option) = mount.options.iter().find(|option| !MOUNT_OPTIONS.contains(&option.as_str())) {
        return Err(format!("the option {option:?} of the mount on {} is not supported", mount.container_path));
    }
    Ok(Mount {
        readonly: mount.options.iter().any(|option| option == "ro"),
        source: MountSource::BindWith { source: PathBuf::from(&mount.host_path), options: mount.options.clone() },
        target: mount.container_path.clone(),
    })
}

fn hook(hook: &document::Hook) -> Result<Hook, String> {
    absolute(&hook.path, "hook")?;
    if hook.hook_name != "createContainer" {
        return Err(format!("the hook {} ({}) is not supported", hook.hook_name, hook.path));
    }
    Ok(Hook {
        path: PathBuf::from(&hook.path),
        args: hook.args.clone(),
        env: hook.env.clone(),
        timeout: hook.timeout.filter(|seconds| *seconds > 0).map_or(HOOK_TIMEOUT, Duration::from_secs),
    })
}
