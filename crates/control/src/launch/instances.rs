//! The hosts a launch may use, as placement sees them.

use std::collections::BTreeMap;

use gantry_domain::{placement::Instance, task_definition::TaskResources};

use super::Target;
use crate::{
    keys::{ClusterKey, InstanceKey},
    records::{InstanceRecord, InstanceStatus, RegisteredResources, Row},
    view::{EcsView, Host},
};

/// What earlier launches of the same batch took from each host.
pub(crate) type TakenByHost = BTreeMap<InstanceKey, Vec<(TaskResources, String)>>;

/// A host with its instance record.
pub(crate) type Candidate<'a> = (&'a InstanceKey, &'a Host, &'a Row<InstanceRecord>);

/// The hosts of one target in a batch, less what the batch took from them so far.
#[derive(Debug)]
pub(super) struct Table<'a> {
    cluster: ClusterKey,
    target: Target,
    pub(super) candidates: Vec<Candidate<'a>>,
    /// Of each candidate.
    pub(super) instances: Vec<Instance<'a>>,
}

impl<'a> Table<'a> {
    pub(super) fn new(view: &'a EcsView, cluster: &ClusterKey, target: &Target, taken: &TakenByHost) -> Self {
        let candidates = candidates(view, cluster, target);
        let instances = candidates.iter().map(|candidate| instance(*candidate, taken)).collect();
        Self { cluster: cluster.clone(), target: target.clone(), candidates, instances }
    }

    pub(super) fn is_of(&self, cluster: &ClusterKey, target: &Target) -> bool {
        self.cluster == *cluster && self.target == *target
    }
}

/// The ACTIVE hosts of a target, in a fixed order.
pub(crate) fn candidates<'a>(view: &'a EcsView, cluster: &ClusterKey, target: &Target) -> Vec<Candidate<'a>> {
    let active = |(key, host): (&'a InstanceKey, &'a Host)| {
        let row = host.row.as_deref().filter(|row| row.status == InstanceStatus::Active)?;
        Some((key, host, row))
    };
    let own = || view.hosts_of_cluster(&cluster.scope, &cluster.cluster).filter_map(active);
    match target {
        Target::Ec2 => own().filter(|(_, _, row)| !row.external).collect(),
        Target::External => own().filter(|(_, _, row)| row.external).collect(),
        Target::Provider(name) => {
            own().filter(|(_, _, row)| row.capacity_provider.as_deref() == Some(name.as_str())).collect()
        }
        Target::Fleet => view.fleet(&cluster.scope.account).filter_map(active).collect(),
        // Instances that are named are looked up one by one; several providers are planned one by one.
        Target::Named(_) | Target::Providers(_) => Vec::new(),
    }
}

/// The GPUs of a host that no task holds, in the order in which they were registered.
pub(crate) fn free_gpus<'a>(host: &'a Host, of: &'a RegisteredResources) -> impl Iterator<Item = &'a String> {
    of.gpus.iter().filter(|gpu| !host.gpus().contains_key(*gpu))
}

/// Borrows a host for placement, less what the batch took already.
pub(crate) fn instance<'a>((key, host, row): Candidate<'a>, taken: &TakenByHost) -> Instance<'a> {
    let mut instance = Instance {
        agent_connected: row.agent_connected,
        held_back: false,
        cpu_free: row.resources.cpu.saturating_sub(host.cpu_reserved()),
        memory_free: row.resources.memory.saturating_sub(host.memory_reserved()),
        gpus_free: u32::try_from(free_gpus(host, &row.resources).count()).unwrap_or(u32::MAX),
        volume_gib_free: row.volume_room_gib.map_or(u32::MAX, |room| room.saturating_sub(host.volume_gib_reserved())),
        tcp_reserved: &row.resources.tcp,
        udp_reserved: &row.resources.udp,
        tcp_taken: host.tcp_ports(),
        udp_taken: host.udp_ports(),
        custom_attributes: &row.custom_attributes,
        attributes: &row.attributes,
        groups: host.groups(),
        running_tasks: host.counts().running(),
        agent_version: row.version_info.as_ref().and_then(|info| info.agent_version.as_deref()),
        ec2_instance_id: row.ec2_instance_id.as_deref(),
        registered_at: row.registered_at,
        taken: Default::default(),
    };
    // Most batches take from few hosts, most hosts are asked of none.
    let here = if taken.is_empty() { None } else { taken.get(key) };
    for (resources, group) in here.into_iter().flatten() {
        instance.take(resources, group);
    }
    instance
}
