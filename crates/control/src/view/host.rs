//! A container instance with the tasks on it, of whatever cluster, and what they take from it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gantry_domain::{arn::TaskId, placement::Groups, task::DesiredStatus};
use gantry_store::Revision;

use super::{Counts, TaskRow};
use crate::{
    keys::ClusterKey,
    records::{InstanceRecord, LaunchType, SharedRow, TaskRecord},
};

/// How many tasks hold each port: during a change two rows may name the same one.
pub type PortCounts = BTreeMap<u16, u32>;

/// A task on a host, with its cluster.
pub type HostedTask = (Arc<ClusterKey>, Arc<TaskRow>);

/// One host.
#[derive(Debug, Default)]
pub struct Host {
    /// The instance; none when its tasks outlived its record.
    pub row: Option<SharedRow<InstanceRecord>>,
    /// What a placement must compare with; 0 before the first.
    pub placements_revision: Revision,
    /// Sessions of ECS Exec that its agent is to know of.
    pub exec_sessions: BTreeSet<String>,
    tasks: BTreeMap<TaskId, HostedTask>,
    cpu_reserved: u64,
    memory_reserved: u64,
    tcp: PortCounts,
    udp: PortCounts,
    gpus: BTreeMap<String, u32>,
    volume_gib_reserved: u64,
    groups: Groups,
    shown: Counts,
    alive: usize,
    /// Of the task that came last: mostly the next one's, too.
    last_cluster: Option<Arc<ClusterKey>>,
}

impl Host {
    /// Every task on it, with its cluster, that the view knows: also stopped ones.
    pub fn tasks(&self) -> &BTreeMap<TaskId, HostedTask> {
        &self.tasks
    }

    /// CPU units taken.
    pub fn cpu_reserved(&self) -> u32 {
        u32::try_from(self.cpu_reserved).unwrap_or(u32::MAX)
    }

    /// MiB taken.
    pub fn memory_reserved(&self) -> u32 {
        u32::try_from(self.memory_reserved).unwrap_or(u32::MAX)
    }

    /// TCP ports taken by number or published.
    pub fn tcp_ports(&self) -> &PortCounts {
        &self.tcp
    }

    /// UDP ports taken by number or published.
    pub fn udp_ports(&self) -> &PortCounts {
        &self.udp
    }

    /// How many containers hold each GPU that is held: during a change two rows may name the same one.
    pub fn gpus(&self) -> &BTreeMap<String, u32> {
        &self.gpus
    }

    /// GiB of its disk that volumes of tasks take, made or still to be made.
    pub fn volume_gib_reserved(&self) -> u32 {
        u32::try_from(self.volume_gib_reserved).unwrap_or(u32::MAX)
    }

    /// Tasks with desired status RUNNING by group.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Numbers of the tasks that clients see on the instance: not those of the Fargate fleet.
    pub fn counts(&self) -> &Counts {
        &self.shown
    }

    /// How many tasks are not STOPPED, Fargate's included.
    pub fn alive(&self) -> usize {
        self.alive
    }

    pub(super) fn add(&mut self, cluster: &ClusterKey, task: Option<&Arc<TaskRow>>) {
        let Some(task) = task else { return };
        let cluster = self.shared_key(cluster);
        self.tasks.insert(task.id, (cluster, task.clone()));
        if task.launch_type != LaunchType::Fargate {
            self.shown.add(task);
        }
        self.alive += usize::from(!task.is_stopped());
        if task.holds_resources() {
            self.cpu_reserved += u64::from(task.reserved.cpu);
            self.memory_reserved += u64::from(task.reserved.memory);
            self.volume_gib_reserved += u64::from(task.volume_gib());
            each_port(task, |udp, port| *if udp { &mut self.udp } else { &mut self.tcp }.entry(port).or_default() += 1);
            each_gpu(task).for_each(|gpu| *self.gpus.entry(gpu.clone()).or_default() += 1);
        }
        if task.life.desired_status == DesiredStatus::Running {
            self.groups.add(&task.group);
        }
    }

    fn shared_key(&mut self, cluster: &ClusterKey) -> Arc<ClusterKey> {
        let shared = self.last_cluster.take().filter(|last| **last == *cluster);
        let shared = shared.unwrap_or_else(|| Arc::new(cluster.clone()));
        self.last_cluster = Some(shared.clone());
        shared
    }

    pub(super) fn remove(&mut self, task: Option<&Arc<TaskRow>>) {
        let Some(task) = task else { return };
        self.tasks.remove(&task.id);
        if task.launch_type != LaunchType::Fargate {
            self.shown.remove(task);
        }
        self.alive -= usize::from(!task.is_stopped());
        if task.holds_resources() {
            self.cpu_reserved -= u64::from(task.reserved.cpu);
            self.memory_reserved -= u64::from(task.reserved.memory);
            self.volume_gib_reserved -= u64::from(task.volume_gib());
            each_port(task, |udp, port| uncount(if udp { &mut self.udp } else { &mut self.tcp }, &port));
            each_gpu(task).for_each(|gpu| uncount(&mut self.gpus, gpu));
        }
        if task.life.desired_status == DesiredStatus::Running {
            self.groups.remove(&task.group);
        }
    }
}

fn each_gpu(task: &TaskRecord) -> impl Iterator<Item = &String> {
    task.containers.iter().flat_map(|container| &container.gpus)
}

/// Ports asked for by number and dynamic ones that the agent reported, each once per task.
fn each_port(task: &TaskRecord, mut act: impl FnMut(bool, u16)) {
    let mut ports: Vec<(bool, u16)> = task.reserved.tcp.iter().map(|port| (false, *port)).collect();
    ports.extend(task.reserved.udp.iter().map(|port| (true, *port)));
    if task.network.is_none() {
        for binding in task.containers.iter().flat_map(|container| &container.network_bindings) {
            let udp = binding.protocol.as_ref().is_some_and(|protocol| protocol.as_str() == "udp");
            if let Some(port) = binding.host_port.and_then(|port| u16::try_from(port).ok()) {
                ports.push((udp, port));
            }
        }
    }
    ports.sort_unstable();
    ports.dedup();
    ports.into_iter().for_each(|(udp, port)| act(udp, port));
}

pub(super) fn uncount<K: Ord + std::borrow::Borrow<Q>, Q: Ord + ?Sized>(counts: &mut BTreeMap<K, u32>, key: &Q) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
