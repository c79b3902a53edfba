//! The part of a host in networks that reach over many: for each subnet a VXLAN interface in the subnet's bridge.
//!
//! Every host of a subnet answers as its gateway, for its own tasks: the VXLAN port suppresses questions for addresses
//! that the bridge itself has. Who is where is learned from the frames that arrive; what nobody knows yet goes to each
//! of the other hosts, which the control plane names (no multicast). A host has an address of its own in the subnet, so
//! that tasks elsewhere can answer it. Frames are not encrypted.
//!
//! What was applied is on disk before the kernel is told: after a crash nothing is there that is not known.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use serde::{Deserialize, Serialize};

use super::{
    NetworkError,
    host::{Host, kernel},
    link,
    record::Attachment,
};

/// What VXLAN takes of each packet: Ethernet, IPv4, UDP and its own header.
pub(super) const VXLAN_BYTES: u32 = 50;

/// The networks that this host has together with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// Where the others reach this host.
    pub local: Ipv4Addr,
    /// Where the others are.
    pub peers: BTreeSet<Ipv4Addr>,
    /// The networks.
    pub networks: Vec<OverlayNetwork>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlayNetwork {
    /// `subnet-…`.
    pub subnet_id: String,
    /// Tells it from the others on the wire.
    pub vni: u32,
    /// The host's own address in it, when it has one.
    pub address: Option<Ipv4Addr>,
    /// Prefix length of the subnet.
    pub prefix_length: u8,
    /// The subnet's first address, which every host answers for.
    pub gateway: Ipv4Addr,
}

/// What the kernel was told of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Applied {
    pub(super) bridge: String,
    pub(super) gateway: Ipv4Addr,
    pub(super) prefix_length: u8,
    vni: u32,
    local: Ipv4Addr,
    peers: BTreeSet<Ipv4Addr>,
}

/// By name of the VXLAN interface.
pub(super) type AppliedNetworks = BTreeMap<String, Applied>;

impl Applied {
    /// The bridge as it is made for tasks.
    pub(super) fn attachment(&self) -> Attachment {
        Attachment {
            bridge: self.bridge.clone(),
            gateway: self.gateway,
            prefix_length: self.prefix_length,
            address: self.gateway,
            mac: [0; 6],
            veth: String::new(),
        }
    }
}

impl Host {
    /// Makes the kernel agree with `wanted`; a network that cannot be made does not keep the others from it.
    pub(super) fn overlay(&self, wanted: &Overlay) -> Result<(), NetworkError> {
        let mut applied = self.overlay.lock();
        let names: BTreeSet<String> =
            wanted.networks.iter().map(|network| self.names.vxlan(&network.subnet_id)).collect();
        let gone: Vec<String> = applied.keys().filter(|name| !names.contains(*name)).cloned().collect();
        for name in &gone {
            self.delete_interface(name);
            applied.remove(name);
        }
        if !gone.is_empty() {
            self.note(&applied)?;
        }
        // Of tasks that are gone; it is looked at now and then, so that a bridge does not come and go with each task.
        let bridges: BTreeSet<String> =
            wanted.networks.iter().map(|network| self.names.subnet_bridge(&network.subnet_id)).collect();
        let unused = self.bridges().into_iter().filter(|bridge| self.names.is_subnet_bridge(bridge));
        unused.filter(|bridge| !bridges.contains(bridge)).for_each(|bridge| self.remove_unused_bridge(&bridge));
        let mut first_error = None;
        for network in &wanted.networks {
            if let Err(error) = self.overlay_network(&mut applied, wanted, network) {
                tracing::warn!(subnet = network.subnet_id, %error, "a network does not reach over hosts");
                first_error.get_or_insert(error);
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    fn overlay_network(
        &self,
        applied: &mut AppliedNetworks,
        wanted: &Overlay,
        network: &OverlayNetwork,
    ) -> Result<(), NetworkError> {
        let name = self.names.vxlan(&network.subnet_id);
        let mut next = Applied {
            bridge: self.names.subnet_bridge(&network.subnet_id),
            gateway: network.gateway,
            prefix_length: network.prefix_length,
            vni: network.vni,
            local: wanted.local,
            peers: wanted.peers.clone(),
        };
        let bridge = self.ensure_bridge(&next.attachment())?;
        let mut before = BTreeSet::new();
        match applied.get(&name) {
            Some(old) if (old.vni, old.local) == (next.vni, next.local) => before.clone_from(&old.peers),
            // Unknown, or another one.
            _ => self.delete_interface(&name),
        }
        let peers = next.peers.clone();
        next.peers.extend(&before);
        if applied.insert(name.clone(), next.clone()).as_ref() != Some(&next) {
            self.note(applied)?;
        }

        let mtu = self.overlay_mtu;
        self.route(|netlink| {
            let index = link::ensure_vxlan(netlink, &name, network.vni, wanted.local, mtu)?;
            link::enslave_vxlan(netlink, &name, bridge)?;
            peers.iter().try_for_each(|peer| link::flood_to(netlink, index, *peer))?;
            before.difference(&peers).try_for_each(|peer| link::forget_peer(netlink, index, *peer))
        })
        .map_err(kernel(&format!("create the VXLAN interface {name} (network {})", network.vni)))?;
        if let Some(address) = network.address {
            self.route(|netlink| link::own_address(netlink, bridge, address, network.gateway, network.prefix_length))
                .map_err(kernel(&format!("give the bridge {} its address", next.bridge)))?;
        }
        next.peers = peers;
        if applied.insert(name, next.clone()) == Some(next) {
            return Ok(());
        }
        self.note(applied)
    }

    fn note(&self, applied: &AppliedNetworks) -> Result<(), NetworkError> {
        self.records.write_overlay(applied).map_err(kernel("write the overlay's record"))
    }
}
