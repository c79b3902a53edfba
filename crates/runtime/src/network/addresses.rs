//! Addresses on the default bridge. Pure.

use std::{collections::HashSet, net::Ipv4Addr};

/// Hands out the addresses of one subnet, going round so that one that was just released is not reused at once:
/// connections and neighbour caches may still know its last holder.
#[derive(Debug)]
pub(super) struct Addresses {
    network: u32,
    /// Of the whole subnet, the network's own and the broadcast address included.
    size: u32,
    gateway: u32,
    used: HashSet<u32>,
    next: u32,
}

impl Addresses {
    pub(super) fn new(gateway: Ipv4Addr, prefix_length: u8) -> Self {
        let network = super::names::network(gateway, prefix_length);
        let size = 1u32 << (32 - u32::from(prefix_length.clamp(1, 30)));
        Self { network, size, gateway: gateway.into(), used: HashSet::new(), next: 1 }
    }

    /// Marks an address that is in use already.
    pub(super) fn adopt(&mut self, address: Ipv4Addr) {
        let address = u32::from(address);
        self.used.insert(address);
        if let Some(offset) = address.checked_sub(self.network).filter(|offset| *offset < self.size) {
            self.next = self.next.max(offset + 1);
        }
    }

    pub(super) fn take(&mut self) -> Option<Ipv4Addr> {
        for _ in 0..self.size {
            let offset = if (1..self.size - 1).contains(&self.next) { self.next } else { 1 };
            self.next = offset + 1;
            let address = self.network + offset;
            if address != self.gateway && self.used.insert(address) {
                return Some(address.into());
            }
        }
        None
    }

    pub(super) fn release(&mut self, address: Ipv4Addr) {
        self.used.remove(&address.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_address_is_used_once_and_goes_round() {
        let mut addresses = Addresses::new(Ipv4Addr::new(10, 0, 0, 1), 29);
        let taken: Vec<_> = std::iter::from_fn(|| addresses.take()).map(|address| address.octets()[3]).collect();
        assert_eq!(taken, [2, 3, 4, 5, 6]);
        addresses.release(Ipv4Addr::new(10, 0, 0, 5));
        addresses.release(Ipv4Addr::new(10, 0, 0, 3));
        assert_eq!(addresses.take(), Some(Ipv4Addr::new(10, 0, 0, 3)));
        assert_eq!(addresses.take(), Some(Ipv4Addr::new(10, 0, 0, 5)));
        assert_eq!(addresses.take(), None);
    }

    #[test]
    fn adopted_addresses_are_not_given_again() {
        let mut addresses = Addresses::new(Ipv4Addr::new(10, 0, 0, 1), 24);
        addresses.adopt(Ipv4Addr::new(10, 0, 0, 9));
        addresses.adopt(Ipv4Addr::new(192, 168, 0, 1));
        assert_eq!(addresses.take(), Some(Ipv4Addr::new(10, 0, 0, 10)));
        assert_eq!(std::iter::from_fn(|| addresses.take()).filter(|a| a.octets()[3] == 9).count(), 0);
    }
}
