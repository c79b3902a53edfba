//! Addresses of awsvpc tasks. Every subnet owns one /20 of 10.64.0.0/11, chosen by its name, so that the same subnet gets
//! the same addresses on a fresh store; within it addresses are given out in turn.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use gantry_domain::arn::Scope;

use super::NetworkRequest;
use crate::{
    keys,
    random::Random,
    records::{AttachmentStatus, InterfaceRecord, NetworkRecord, SubnetBlockRecord, SubnetRecord},
    view::EcsView,
};

/// First address of all blocks.
const BASE: u32 = 0x0a40_0000; // 10.64.0.0
/// /20 blocks in a /11. The other half of 10.64.0.0/10 is for the hosts' own bridges.
const BLOCKS: u16 = 512;
/// Addresses in a block.
const BLOCK_SIZE: u32 = 4096;
/// Network, gateway, and two more that the real service keeps too.
const FIRST: u32 = 4;
/// Hosts that can have an address of their own in each subnet; the last one of all is the broadcast address.
pub(crate) const HOSTS_MAX: u16 = 1024;
/// The last one that a task can have.
const LAST: u32 = BLOCK_SIZE - 2 - HOSTS_MAX as u32;

/// Prefix length of every subnet.
pub(crate) const PREFIX_LENGTH: u8 = 20;

/// The first address of the subnet an address is in, which its gateway has.
pub(crate) fn gateway(address: Ipv4Addr) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(address) & !(BLOCK_SIZE - 1)) + 1)
}

/// The gateway of a block.
pub(crate) fn gateway_of_block(block: u16) -> Ipv4Addr {
    Ipv4Addr::from(BASE + u32::from(block) * BLOCK_SIZE + 1)
}

/// The address that the host with this number has in the subnet that owns a block.
pub(crate) fn host_address(block: u16, number: u16) -> Option<Ipv4Addr> {
    let last = BASE + u32::from(block) * BLOCK_SIZE + BLOCK_SIZE - 2;
    (number < HOSTS_MAX).then(|| Ipv4Addr::from(last - u32::from(number)))
}

/// What is written about subnets in one batch.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    seed: String,
    subnets: BTreeMap<(Scope, String), Drawn>,
    blocks: BTreeMap<u16, SubnetBlockRecord>,
}

#[derive(Debug)]
struct Drawn {
    /// 0 when the subnet is new.
    revision: u64,
    record: SubnetRecord,
    taken: BTreeSet<Ipv4Addr>,
}

impl Addresses {
    /// Nothing drawn. `seed` goes into the choice of new subnets' blocks.
    pub(super) fn new(seed: &str) -> Self {
        Self { seed: seed.to_owned(), ..Self::default() }
    }

    /// Draws an address from one of the subnets, beginning with the `turn`th, so that tasks spread over them. None when
    /// all are full.
    pub(super) fn draw(
        &mut self,
        view: &EcsView,
        scope: &Scope,
        request: &NetworkRequest,
        random: &Random,
        turn: usize,
    ) -> Option<NetworkRecord> {
        let count = request.subnets.len();
        (0..count).map(|offset| &request.subnets[(turn + offset) % count]).find_map(|subnet| {
            let address = self.draw_from(view, scope, subnet)?;
            Some(NetworkRecord {
                attachment_id: random.uuid(),
                status: AttachmentStatus::Precreated,
                interface: interface(subnet, address, random),
                security_groups: request.security_groups.clone(),
                assign_public_ip: request.assign_public_ip,
            })
        })
    }

    /// The compares and operations that make the draws durable.
    pub(super) fn into_txn(self, mut txn: gantry_store::Txn) -> gantry_store::Txn {
        for (block, record) in self.blocks {
            let key = keys::subnet_block(block);
            txn = txn.require_absent(key.clone()).put(key, crate::records::encode(&record));
        }
        for ((scope, subnet), drawn) in self.subnets {
            let key = keys::subnet(&scope, &subnet);
            txn = txn.require(key.clone(), drawn.revision).put(key, crate::records::encode(&drawn.record));
        }
        txn
    }

    fn draw_from(&mut self, view: &EcsView, scope: &Scope, subnet: &str) -> Option<Ipv4Addr> {
        let name = (scope.clone(), subnet.to_owned());
        if !self.subnets.contains_key(&name) {
            let drawn = self.open(view, scope, subnet)?;
            self.subnets.insert(name.clone(), drawn);
        }
        let drawn = self.subnets.get_mut(&name)?;
        let start = BASE + u32::from(drawn.record.block) * BLOCK_SIZE;
        let last = u32::from(drawn.record.last_address).saturating_sub(start).clamp(FIRST - 1, LAST);
        let seen = view.namespace(scope).and_then(|space| space.subnet(subnet)).map(|subnet| &subnet.taken);
        let mut offsets = (last + 1..=LAST).chain(FIRST..=last);
        let address = offsets.find_map(|offset| {
            let address = Ipv4Addr::from(start + offset);
            let free = !drawn.taken.contains(&address) && seen.is_none_or(|taken| !taken.contains_key(&address));
            free.then_some(address)
        })?;
        drawn.taken.insert(address);
        drawn.record.last_address = address;
        Some(address)
    }

    fn open(&mut self, view: &EcsView, scope: &Scope, subnet: &str) -> Option<Drawn> {
        let row = view.namespace(scope).and_then(|space| space.subnet(subnet)).and_then(|subnet| subnet.row.as_ref());
        if let Some(row) = row {
            return Some(Drawn { revision: row.revision, record: row.record.clone(), taken: BTreeSet::new() });
        }
        let first = block_of(&self.seed, scope, subnet);
        let free = |block: &u16| view.subnet_block(*block).is_none() && !self.blocks.contains_key(block);
        let block = (0..BLOCKS).map(|step| (first + step) % BLOCKS).find(free)?;
        let (account, region) = (scope.account.clone(), scope.region.clone());
        self.blocks.insert(block, SubnetBlockRecord { account, region, subnet: subnet.to_owned() });
        let last_address = Ipv4Addr::from(BASE + u32::from(block) * BLOCK_SIZE);
        Some(Drawn { revision: 0, record: SubnetRecord { block, last_address }, taken: BTreeSet::new() })
    }
}

/// FNV-1a of the subnet's full name: the same everywhere, without a dependency on a hasher that may change.
fn block_of(seed: &str, scope: &Scope, subnet: &str) -> u16 {
    let text = format!("{seed}{}/{}/{subnet}", scope.account, scope.region);
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    u16::try_from(hash % u32::from(BLOCKS)).unwrap_or(0)
}

fn interface(subnet: &str, address: Ipv4Addr, random: &Random) -> InterfaceRecord {
    let [a, b, c, d] = address.octets();
    InterfaceRecord {
        id: format!("eni-0{:016x}", random.bits()),
        subnet: subnet.to_owned(),
        mac: format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}"),
        address,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn request(subnets: &[&str]) -> NetworkRequest {
        let subnets = subnets.iter().map(|subnet| (*subnet).to_owned()).collect();
        NetworkRequest { subnets, security_groups: vec![], assign_public_ip: false }
    }

    #[test]
    fn addresses_are_distinct_and_inside_their_subnet_until_it_is_full() {
        let (view, scope) = (EcsView::default(), Scope::new("000000000000", "us-east-1"));
        let (mut addresses, random) = (Addresses::default(), Random::seeded(1));
        let mut seen = BTreeSet::new();
        while let Some(network) = addresses.draw(&view, &scope, &request(&["subnet-a"]), &random, 0) {
            let address = network.interface.address;
            assert!(seen.insert(address));
            assert_eq!(gateway(address), gateway(*seen.first().unwrap()));
            assert_ne!(address, gateway(address));
        }
        assert_eq!(seen.len(), 3067);
        let block = u16::try_from((u32::from(*seen.first().unwrap()) - BASE) / BLOCK_SIZE).unwrap();
        for number in [0, HOSTS_MAX - 1] {
            let host = host_address(block, number).unwrap();
            assert!(!seen.contains(&host) && gateway(host) == gateway_of_block(block));
        }
        assert_eq!(host_address(block, HOSTS_MAX), None);
        assert!(addresses.draw(&view, &scope, &request(&["subnet-a", "subnet-b"]), &random, 0).is_some());
    }

    #[test]
    fn subnets_do_not_overlap_and_tasks_take_turns() {
        let (view, scope) = (EcsView::default(), Scope::new("000000000000", "us-east-1"));
        let (mut addresses, random) = (Addresses::default(), Random::seeded(1));
        let mut gateways = BTreeSet::new();
        for number in 0..200 {
            let name = format!("subnet-{number}");
            let network = addresses.draw(&view, &scope, &request(&[&name]), &random, 0).unwrap();
            assert!(gateways.insert(gateway(network.interface.address)), "{name}");
        }
        let turn = |addresses: &mut Addresses, turn| {
            addresses.draw(&view, &scope, &request(&["subnet-1", "subnet-2"]), &random, turn).unwrap().interface.subnet
        };
        assert_eq!(turn(&mut addresses, 0), "subnet-1");
        assert_eq!(turn(&mut addresses, 1), "subnet-2");
    }
}
