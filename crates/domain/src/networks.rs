//! Which kind of network an address is of, for whoever sends requests to addresses that a client named.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Kinds of networks, the harmless first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Network {
    /// Anybody's to reach.
    Public,
    /// This machine, or a private network.
    Private,
    /// Link-local addresses, where clouds tell a machine its credentials, and what is no single host at all.
    Special,
}

/// Services of clouds that tell a machine about itself, outside of the link-local ranges.
const METADATA: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

impl Network {
    /// The kind of network that `address` is of. An IPv4 address inside an IPv6 address counts as what it is.
    pub fn of(address: IpAddr) -> Self {
        match address {
            address if METADATA.contains(&address) => Self::Special,
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => match v4_inside(v6) {
                Some(v4) => Self::of(IpAddr::V4(v4)),
                None => Self::of_v6(v6),
            },
        }
    }

    fn of_v4(v4: Ipv4Addr) -> Self {
        let [a, b, ..] = v4.octets();
        let is_shared = a == 100 && (64..128).contains(&b);
        let is_protocol = v4.octets()[..3] == [192, 0, 0];
        if a == 0 || a >= 240 || is_protocol || v4.is_link_local() || v4.is_multicast() {
            Self::Special
        } else if v4.is_private() || v4.is_loopback() || is_shared {
            Self::Private
        } else {
            Self::Public
        }
    }

    fn of_v6(v6: Ipv6Addr) -> Self {
        // Locally used translation prefixes (RFC 8215) and what was site-local may stand for anything.
        let is_translated = matches!(v6.segments(), [0x64, 0xff9b, 1, ..]) || v6.segments()[0] & 0xffc0 == 0xfec0;
        if is_translated || v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local() {
            Self::Special
        } else if v6.is_loopback() || v6.is_unique_local() {
            Self::Private
        } else {
            Self::Public
        }
    }
}

/// `::ffff:a.b.c.d`, `::a.b.c.d`, `64:ff9b::a.b.c.d`, which a router translates, and 6to4's `2002:AABB:CCDD::`.
fn v4_inside(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    if let [0x2002, high, low, ..] = v6.segments() {
        return Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    }
    let compatible = v6.segments()[..6] == [0; 6] && !v6.is_loopback() && !v6.is_unspecified();
    let translated = compatible || matches!(v6.segments(), [0x64, 0xff9b, 0, 0, 0, 0, ..]);
    let [.., a, b, c, d] = v6.octets();
    v6.to_ipv4_mapped().or(translated.then_some(Ipv4Addr::new(a, b, c, d)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_are_of_their_networks() {
        let table = [
            (Network::Public, &["1.1.1.1", "100.63.0.1", "2606:4700::1", "64:ff9b::101:101"][..]),
            (Network::Private, &["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.31.0.1", "100.64.0.1", "::1", "fd12::1"]),
            (Network::Private, &["::ffff:127.0.0.1", "64:ff9b::a00:1"]),
            (Network::Special, &["169.254.169.254", "0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "fe80::1"]),
            (Network::Special, &["ff02::1", "fd00:ec2::254", "168.63.129.16", "::ffff:169.254.169.254"]),
            (Network::Special, &["64:ff9b::a9fe:a9fe", "100.100.100.200", "192.0.0.192", "240.0.0.1"]),
            (Network::Special, &["::169.254.169.254", "2002:a9fe:a9fe::1", "64:ff9b:1::a9fe:a9fe", "fec0::1"]),
        ];
        for (network, addresses) in table {
            for address in addresses {
                assert_eq!(Network::of(address.parse().unwrap()), network, "{address}");
            }
        }
    }
}
