//! An instance as placement and the query language see it.

use std::collections::{BTreeMap, BTreeSet};

use super::{GroupKey, Groups, Taken};
use crate::{
    task_definition::{Protocol, TaskResources},
    time::Timestamp,
};

/// Attribute names with their optional values.
pub type Attributes = BTreeMap<String, Option<String>>;

/// An instance: borrowed from wherever it is kept, but for the numbers that placing changes.
#[derive(Debug, Clone)]
pub struct Instance<'a> {
    /// Whether its agent's connection is up.
    pub agent_connected: bool,
    /// Whether tasks must wait for a critical daemon that does not run on it.
    pub held_back: bool,
    /// CPU units nobody has.
    pub cpu_free: u32,
    /// MiB nobody has.
    pub memory_free: u32,
    /// GPUs nobody has.
    pub gpus_free: u32,
    /// GiB of its disk that volumes may still have; `u32::MAX` while its agent does not say.
    pub volume_gib_free: u32,
    /// TCP ports that no task may ask for.
    pub tcp_reserved: &'a BTreeSet<u16>,
    /// UDP ports that no task may ask for.
    pub udp_reserved: &'a BTreeSet<u16>,
    /// TCP ports of tasks.
    pub tcp_taken: &'a BTreeMap<u16, u32>,
    /// UDP ports of tasks.
    pub udp_taken: &'a BTreeMap<u16, u32>,
    /// Custom attributes; they win over the others.
    pub custom_attributes: &'a Attributes,
    /// Attributes as registered.
    pub attributes: &'a Attributes,
    /// Tasks with desired status RUNNING by group.
    pub groups: &'a Groups,
    /// Tasks with last status RUNNING.
    pub running_tasks: u32,
    /// Version of the agent.
    pub agent_version: Option<&'a str>,
    /// `i-…`
    pub ec2_instance_id: Option<&'a str>,
    /// When it registered.
    pub registered_at: Timestamp,
    /// What was given out since it was borrowed.
    pub taken: TakenHere,
}

/// What an instance gave out during the present planning, beyond what its borrowed parts say.
#[derive(Debug, Clone, Default)]
pub struct TakenHere {
    ports: Taken,
    groups: Groups,
}

impl<'a> Instance<'a> {
    /// Whether it takes tasks at all now.
    pub(super) fn takes_tasks(&self) -> bool {
        self.agent_connected && !self.held_back
    }

    /// The attribute of this name, if there is one; an attribute may have no value.
    pub fn attribute(&self, name: &str) -> Option<Option<&'a str>> {
        self.custom_attributes.get(name).or_else(|| self.attributes.get(name)).map(Option::as_deref)
    }

    /// Tasks of a group, wanted or just placed.
    pub fn tasks_in_group(&self, group: GroupKey<'_>) -> u32 {
        self.groups.count(group) + self.taken.groups.count(group)
    }

    /// Whether a host port is in use.
    pub fn port_taken(&self, protocol: Protocol, port: u16) -> bool {
        let (reserved, taken) = self.ports(protocol);
        reserved.contains(&port) || taken.contains_key(&port) || self.taken.ports.contains(&(protocol, port))
    }

    /// How many host ports are in use.
    pub fn ports_reserved(&self, protocol: Protocol) -> usize {
        let (reserved, taken) = self.ports(protocol);
        let here = self.taken.ports.iter().filter(|(of, _)| *of == protocol).count();
        reserved.len() + taken.keys().filter(|port| !reserved.contains(port)).count() + here
    }

    /// Whether anything of group `name` is on the instance (the query language's `task:group`).
    pub fn has_group(&self, name: &str) -> bool {
        self.tasks_in_group(GroupKey::new(name)) > 0
    }

    /// The groups of the tasks on it.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.names().chain(self.taken.groups.names())
    }

    /// Gives a task's resources away, and counts it in its group.
    pub fn take(&mut self, resources: &TaskResources, group: &str) {
        self.cpu_free = self.cpu_free.saturating_sub(resources.cpu_units);
        self.memory_free = self.memory_free.saturating_sub(resources.memory_mib);
        self.gpus_free = self.gpus_free.saturating_sub(resources.gpus);
        self.volume_gib_free = self.volume_gib_free.saturating_sub(resources.volume_gib);
        self.taken.ports.extend(resources.tcp_ports.iter().map(|port| (Protocol::Tcp, *port)));
        self.taken.ports.extend(resources.udp_ports.iter().map(|port| (Protocol::Udp, *port)));
        self.taken.groups.add(group);
    }

    fn ports(&self, protocol: Protocol) -> (&BTreeSet<u16>, &BTreeMap<u16, u32>) {
        match protocol {
            Protocol::Tcp => (self.tcp_reserved, self.tcp_taken),
            Protocol::Udp => (self.udp_reserved, self.udp_taken),
        }
    }
}
