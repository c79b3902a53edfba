//! Blocks of addresses, as configurations name them: `10.0.0.7`, `10.0.0.0/8`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// Addresses of IPv4 that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressBlock {
    /// One of them.
    pub address: Ipv4Addr,
    /// How many bits they share; more than 32 is 32.
    pub prefix_length: u8,
}

impl AddressBlock {
    /// One address.
    pub const fn of(address: Ipv4Addr) -> Self {
        Self { address, prefix_length: 32 }
    }

    /// The bits that they share.
    pub fn mask(self) -> Ipv4Addr {
        u32::MAX.checked_shl(32 - u32::from(self.prefix_length.min(32))).unwrap_or(0).into()
    }

    /// The first of them.
    pub fn network(self) -> Ipv4Addr {
        (u32::from(self.address) & u32::from(self.mask())).into()
    }
}

/// Reads an address or a block in CIDR notation. What is of IPv6 is right, and no block of ours (`Some(None)`): tasks
/// have no such addresses.
pub fn address_block(text: &str) -> Option<Option<AddressBlock>> {
    let longest = |address: &IpAddr| if address.is_ipv4() { Ipv4Addr::BITS } else { Ipv6Addr::BITS };
    let (address, prefix_length) = match text.split_once('/') {
        None => {
            let address: IpAddr = text.parse().ok()?;
            (address, longest(&address))
        }
        Some((address, prefix_length)) => {
            let digits = !prefix_length.is_empty() && prefix_length.bytes().all(|byte| byte.is_ascii_digit());
            (address.parse().ok()?, prefix_length.parse().ok().filter(|_| digits)?)
        }
    };
    let prefix_length = u8::try_from(prefix_length).ok().filter(|length| u32::from(*length) <= longest(&address))?;
    Some(match address {
        IpAddr::V4(address) => Some(AddressBlock { address, prefix_length }),
        IpAddr::V6(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_blocks_are_read() {
        let block =
            |address: [u8; 4], prefix_length| Some(Some(AddressBlock { address: address.into(), prefix_length }));
        for (text, expected) in [
            ("10.0.0.7", block([10, 0, 0, 7], 32)),
            ("10.1.2.3/16", block([10, 1, 2, 3], 16)),
            ("0.0.0.0/0", block([0; 4], 0)),
            ("2001:db8::1", Some(None)),
            ("2001:db8::/32", Some(None)),
            ("", None),
            ("example.com", None),
            ("10.0.0", None),
            ("10.0.0.0/", None),
            ("10.0.0.0/+8", None),
            ("10.0.0.0/33", None),
            ("::/129", None),
            ("10.0.0.0/4294967304", None),
        ] {
            assert_eq!(address_block(text), expected, "{text}");
        }
    }

    #[test]
    fn a_block_begins_with_its_network() {
        for (prefix_length, mask, network) in [
            (0, [0; 4], [0; 4]),
            (12, [255, 240, 0, 0], [10, 32, 0, 0]),
            (32, [255; 4], [10, 33, 2, 3]),
            (200, [255; 4], [10, 33, 2, 3]),
        ] {
            let block = AddressBlock { address: [10, 33, 2, 3].into(), prefix_length };
            assert_eq!((block.mask().octets(), block.network().octets()), (mask, network), "{prefix_length}");
        }
    }
}
