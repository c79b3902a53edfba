//! Where tasks go: which instances may take a task, and which of them is best.
//!
//! Pure: the same instances, needs and seed give the same answer. What must hold: no instance is given more than it has
//! free, no constraint is broken, and among the instances that may take the task none is better by the strategies. An
//! instance that may not take it has a [`Rejection`] that says why.
//!
//! Every instance is looked at once per request ([`place`]); after that an index that each task placed brings up to date
//! says which ones are best. `oracle`, in the tests, looks at every instance for every task, and gives the same answer.

mod conditions;
mod groups;
mod index;
mod instance;
#[cfg(test)]
mod oracle;
mod strategy;

use std::collections::BTreeSet;

pub use conditions::Conditions;
pub use groups::{GroupKey, Groups};
use index::Index;
pub use instance::{Attributes, Instance};
pub use strategy::{Field, Resource, Strategy};

use crate::{
    limits::RESERVED_HOST_PORTS_MAX,
    query::Expression,
    task_definition::{Protocol, RequiredAttribute, TaskResources},
};

/// What a task needs of an instance.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// CPU, memory, ports, GPUs, disk.
    pub resources: TaskResources,
    /// Attributes it must have.
    pub attributes: Vec<RequiredAttribute>,
    /// The task's group: the scope of `distinctInstance` and of spreading.
    pub group: String,
    /// Binding.
    pub constraints: Vec<Constraint>,
    /// Best effort, in this order; none means any instance will do.
    pub strategies: Vec<Strategy>,
}

/// A binding rule.
#[derive(Debug, Clone)]
pub enum Constraint {
    /// No two tasks of the group on one instance.
    DistinctInstance,
    /// The expression must be true of the instance.
    MemberOf(Expression),
}

/// Why an instance may not take a task. Ordered as they are looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// The agent is not connected.
    Agent,
    /// A critical daemon, which tasks must wait for.
    Daemon,
    /// CPU units.
    Cpu,
    /// Memory.
    Memory,
    /// GPUs.
    Gpu,
    /// Disk, for volumes.
    Disk,
    /// A TCP port, or too many reserved ones.
    Ports,
    /// A UDP port.
    UdpPorts,
    /// An attribute, by name.
    Attribute(String),
    /// A `memberOf` expression is not true.
    MemberOf,
    /// A task of the group is there already.
    DistinctInstance,
}

/// An instance that was not chosen because it may not take the task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The index of the instance in the input.
    pub instance: usize,
    /// The first thing it lacks.
    pub lack: Lack,
    /// How many things it lacks: the instance with the fewest comes closest.
    pub lacks: usize,
}

/// Where tasks go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "a placement changes nothing until it is committed"]
pub struct Placement {
    /// One entry per task placed: the index of its instance in the input.
    pub chosen: Vec<usize>,
    /// How many tasks found no place.
    pub unplaced: usize,
    /// Why, per instance; empty when all were placed, or when there is no instance at all.
    pub rejections: Vec<Rejection>,
}

impl Placement {
    /// The rejected instance that comes closest.
    pub fn closest(&self) -> Option<&Rejection> {
        self.rejections.iter().min_by_key(|rejection| rejection.lacks)
    }
}

/// Places `count` tasks one after the other, each seeing what the ones before took. `seed` decides between instances
/// that are equally good. The instances are changed: what the tasks take is subtracted.
pub fn place(needs: &Needs, instances: &mut [Instance<'_>], count: usize, seed: u64) -> Placement {
    let mut placement = Placement::default();
    let mut random = Random(seed);
    let mut index = Index::new(needs, instances);
    for placed in 0..count {
        let Some(chosen) = index.pick(&mut random) else {
            placement.unplaced = count - placed;
            placement.rejections = rejections(needs, instances);
            break;
        };
        instances[chosen].take(&needs.resources, &needs.group);
        index.placed(chosen, &instances[chosen]);
        placement.chosen.push(chosen);
    }
    placement
}

fn rejections(needs: &Needs, instances: &[Instance<'_>]) -> Vec<Rejection> {
    let reject = |(index, instance)| {
        let lacks = lacks(needs, instance);
        let count = lacks.len();
        lacks.into_iter().next().map(|lack| Rejection { instance: index, lack, lacks: count })
    };
    instances.iter().enumerate().filter_map(reject).collect()
}

/// What of its needs an instance does not meet.
pub fn lacks(needs: &Needs, instance: &Instance<'_>) -> Vec<Lack> {
    let mut lacks = resource_lacks(needs, instance);
    for constraint in &needs.constraints {
        match constraint {
            Constraint::DistinctInstance if instance.tasks_in_group(GroupKey::new(&needs.group)) > 0 => {
                lacks.push(Lack::DistinctInstance);
            }
            Constraint::MemberOf(expression) if !expression.matches(instance) => lacks.push(Lack::MemberOf),
            Constraint::DistinctInstance | Constraint::MemberOf(_) => {}
        }
    }
    lacks
}

/// What an instance lacks apart from constraints: StartTask names its instances and skips constraints.
pub fn resource_lacks(needs: &Needs, instance: &Instance<'_>) -> Vec<Lack> {
    let TaskResources { cpu_units, memory_mib, tcp_ports, udp_ports, gpus, volume_gib } = &needs.resources;
    let mut lacks = Vec::new();
    if !instance.agent_connected {
        lacks.push(Lack::Agent);
    }
    if instance.held_back {
        lacks.push(Lack::Daemon);
    }
    if *cpu_units > instance.cpu_free {
        lacks.push(Lack::Cpu);
    }
    if *memory_mib > instance.memory_free {
        lacks.push(Lack::Memory);
    }
    if *gpus > instance.gpus_free {
        lacks.push(Lack::Gpu);
    }
    if *volume_gib > instance.volume_gib_free {
        lacks.push(Lack::Disk);
    }
    if ports_lack(instance, Protocol::Tcp, tcp_ports) {
        lacks.push(Lack::Ports);
    }
    if ports_lack(instance, Protocol::Udp, udp_ports) {
        lacks.push(Lack::UdpPorts);
    }
    let missing = needs.attributes.iter().filter(|attribute| !has_attribute(instance, attribute));
    lacks.extend(missing.map(|attribute| Lack::Attribute(attribute.name.clone())));
    lacks
}

fn ports_lack(instance: &Instance<'_>, protocol: Protocol, ports: &[u16]) -> bool {
    !ports.is_empty()
        && (ports.iter().any(|port| instance.port_taken(protocol, *port))
            || instance.ports_reserved(protocol) + ports.len() > RESERVED_HOST_PORTS_MAX)
}

fn has_attribute(instance: &Instance<'_>, required: &RequiredAttribute) -> bool {
    match (instance.attribute(&required.name), &required.value) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(value), Some(wanted)) => value == Some(wanted.as_str()),
    }
}

/// SplitMix64: small, and the same everywhere, so that a placement can be replayed from its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `length`; none when there is no such number.
    fn below(&mut self, length: usize) -> Option<usize> {
        let length = u64::try_from(length).ok().filter(|length| *length > 0)?;
        usize::try_from(self.next() % length).ok()
    }
}

/// Ports an instance was given during one placement.
type Taken = BTreeSet<(Protocol, u16)>;

#[cfg(test)]
mod tests;
