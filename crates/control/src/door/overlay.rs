//! Networks that reach over hosts: which subnets are in use, which hosts take part, and where they are.
//!
//! Every host of an account and region takes part in every subnet in use there, with tasks in it or not: so tasks of
//! different subnets reach each other as on one host, and a host reaches every task. A host that is away still takes
//! part as long as it has tasks: the control plane may be what is away.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use gantry_api::agent::{ControlMessage, OverlayNetwork};
use gantry_domain::arn::Scope;

use crate::{
    EcsView,
    keys::InstanceKey,
    launch::{self, HOSTS_MAX},
    records::InstanceRecord,
};

/// The first network number that is used: low ones are what people choose by hand.
const FIRST_VNI: u32 = 4096;

/// What the hosts of an account and region have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ScopeOverlay {
    subnets: Vec<(String, u16)>,
    hosts: BTreeMap<InstanceKey, HostPlace>,
    /// Of all hosts, each once, in order.
    addresses: Vec<Ipv4Addr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct HostPlace {
    address: Ipv4Addr,
    number: Option<u16>,
}

/// The overlay as the picture shows it.
pub(super) fn of_scope(view: &EcsView, scope: &Scope) -> ScopeOverlay {
    let takes_part =
        |record: &InstanceRecord, alive: usize| record.is_registered() && (record.agent_connected || alive > 0);
    let hosts: BTreeMap<InstanceKey, HostPlace> = view
        .hosts_of_scope(scope)
        .filter_map(|(key, host)| {
            let row = host.row.as_ref().filter(|row| takes_part(row, host.alive()))?;
            Some((key.clone(), HostPlace { address: row.underlay_address?, number: row.host_number }))
        })
        .collect();
    let addresses: BTreeSet<Ipv4Addr> = hosts.values().map(|host| host.address).collect();
    let subnets = view.namespace(scope).into_iter().flat_map(|space| space.subnets());
    let in_use = subnets.filter(|(_, subnet)| !subnet.taken.is_empty());
    ScopeOverlay {
        subnets: in_use.filter_map(|(name, subnet)| Some((name.clone(), subnet.row.as_ref()?.block))).collect(),
        hosts,
        addresses: addresses.into_iter().collect(),
    }
}

impl ScopeOverlay {
    /// What the agent of an instance is told; none when it did not say where it is. A host that is alone needs nothing.
    pub(super) fn message(&self, instance: &InstanceKey) -> Option<ControlMessage> {
        let own = self.hosts.get(instance)?;
        let peers: Vec<Ipv4Addr> = self.addresses.iter().copied().filter(|address| *address != own.address).collect();
        let network = |(name, block): &(String, u16)| OverlayNetwork {
            subnet_id: name.clone(),
            vni: FIRST_VNI + u32::from(*block),
            address: own.number.and_then(|number| launch::host_address(*block, number)),
            prefix_length: launch::PREFIX_LENGTH,
            gateway: launch::gateway_of_block(*block),
        };
        let networks = if peers.is_empty() { Vec::new() } else { self.subnets.iter().map(network).collect() };
        Some(ControlMessage::Overlay { local_address: own.address, peers, networks })
    }
}

/// Whether other hosts could reach somebody at an address.
pub(super) fn is_reachable(address: Ipv4Addr) -> bool {
    !(address.is_loopback() || address.is_unspecified() || address.is_multicast() || address.is_broadcast())
}

/// A number for a host that has none yet: the smallest that no registered host of its account and region has. None when
/// all are taken: then tasks on it reach others, and the host itself does not.
pub(super) fn free_number(view: &EcsView, scope: &Scope) -> Option<u16> {
    let rows = view.hosts_of_scope(scope).filter_map(|(_, host)| host.row.as_ref());
    let taken: BTreeSet<u16> = rows.filter(|row| row.is_registered()).filter_map(|row| row.host_number).collect();
    (0..HOSTS_MAX).find(|number| !taken.contains(number))
}
