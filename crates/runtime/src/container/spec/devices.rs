//! Device nodes in a container, and the rules on which devices it may use.

use serde_json::{Value, json};

use super::super::user::Identity;

/// A device node to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::container) struct DeviceNode {
    pub(in crate::container) path: String,
    pub(in crate::container) kind: DeviceKind,
    pub(in crate::container) major: u32,
    pub(in crate::container) minor: u32,
    pub(in crate::container) mode: u32,
    pub(in crate::container) uid: u32,
    pub(in crate::container) gid: u32,
    /// Any of `r`, `w`, `m`.
    pub(in crate::container) access: String,
    /// Whether the owner is to be the program's, and whether the group is.
    pub(in crate::container) of_program: (bool, bool),
}

/// Character or block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::container) enum DeviceKind {
    Char,
    Block,
}

impl DeviceKind {
    fn letter(self) -> &'static str {
        match self {
            Self::Char => "c",
            Self::Block => "b",
        }
    }
}

impl DeviceNode {
    /// As it is for a program of this identity: nothing changes for root.
    pub(in crate::container) fn owned_by(mut self, identity: &Identity) -> Self {
        if self.of_program.0 && identity.uid > 0 {
            self.uid = identity.uid;
        }
        if self.of_program.1 && identity.gid > 0 {
            self.gid = identity.gid;
        }
        self
    }

    pub(super) fn oci(&self) -> Value {
        json!({
            "path": self.path, "type": self.kind.letter(), "major": self.major, "minor": self.minor,
            "fileMode": self.mode, "uid": self.uid, "gid": self.gid,
        })
    }
}

/// One rule: a match allows; what no rule matches is denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::container) struct DeviceRule {
    pub(in crate::container) kind: DeviceKind,
    /// `None` is any.
    pub(in crate::container) major: Option<u32>,
    /// `None` is any.
    pub(in crate::container) minor: Option<u32>,
    pub(in crate::container) access: String,
}

impl DeviceRule {
    /// A line for `devices.allow` of cgroup version 1.
    pub(in crate::container) fn v1_line(&self) -> String {
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        format!("{} {}:{} {}", self.kind.letter(), number(self.major), number(self.minor), self.access)
    }
}

/// Docker's default rules plus the container's own devices. `None` is no restriction, for privileged containers.
pub(in crate::container) fn rules(privileged: bool, devices: &[DeviceNode]) -> Option<Vec<DeviceRule>> {
    if privileged {
        return None;
    }
    let char =
        |major, minor, access: &str| DeviceRule { kind: DeviceKind::Char, major, minor, access: access.to_owned() };
    let mut rules = vec![
        // Making a node gives no access to what it stands for.
        char(None, None, "m"),
        DeviceRule { kind: DeviceKind::Block, major: None, minor: None, access: "m".to_owned() },
        char(Some(1), Some(3), "rwm"), // null
        char(Some(1), Some(5), "rwm"), // zero
        char(Some(1), Some(7), "rwm"), // full
        char(Some(1), Some(8), "rwm"), // random
        char(Some(1), Some(9), "rwm"), // urandom
        char(Some(5), Some(0), "rwm"), // tty
        char(Some(5), Some(1), "rwm"), // console
        char(Some(5), Some(2), "rwm"), // ptmx
        char(Some(136), None, "rwm"),  // pts/*
    ];
    rules.extend(devices.iter().map(|device| DeviceRule {
        kind: device.kind,
        major: Some(device.major),
        minor: Some(device.minor),
        access: device.access.clone(),
    }));
    Some(rules)
}

/// The rules as `linux.resources.devices` of an OCI configuration.
pub(in crate::container) fn oci_rules(rules: Option<&[DeviceRule]>) -> Value {
    let Some(rules) = rules else { return json!([{"allow": true, "access": "rwm"}]) };
    let mut list = vec![json!({"allow": false, "access": "rwm"})];
    for rule in rules {
        let mut entry = json!({"allow": true, "type": rule.kind.letter(), "access": rule.access});
        if let Some(major) = rule.major {
            entry["major"] = json!(major);
        }
        if let Some(minor) = rule.minor {
            entry["minor"] = json!(minor);
        }
        list.push(entry);
    }
    Value::Array(list)
}
