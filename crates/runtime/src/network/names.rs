//! Names and addresses of one instance. Pure.

use std::{net::Ipv4Addr, path::Path};

use sha2::{Digest, Sha256};

const STANDARD_DATA_DIR: &str = "/var/lib/gantry";
/// Linux' limit without the zero.
const INTERFACE_NAME_MAX: usize = 15;

/// Names and addresses of one [`LinuxNetworks`](super::LinuxNetworks). Two instances on a host must differ in all of
/// them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkOptions {
    /// Name of the default bridge, at most 15 bytes.
    pub bridge: String,
    /// Preferred address of the default bridge, the first one of its subnet. Another subnet is chosen, and kept, when
    /// the host uses this one already.
    pub bridge_address: Ipv4Addr,
    /// Prefix length of that subnet, 8 to 29.
    pub prefix_length: u8,
    /// Name of the nftables table (family `ip`).
    pub table: String,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self {
            bridge: "gantry0".to_owned(),
            bridge_address: Ipv4Addr::new(172, 30, 0, 1),
            prefix_length: 16,
            table: "gantry".to_owned(),
        }
    }
}

impl NetworkOptions {
    /// The defaults for the standard data directory, and names and a subnet derived from the path for any other, so
    /// that instances side by side do not collide.
    #[must_use]
    pub fn for_data_dir(data_dir: &Path) -> Self {
        if data_dir == Path::new(STANDARD_DATA_DIR) {
            return Self::default();
        }
        let hash = hash(data_dir.as_os_str().as_encoded_bytes());
        let tag = hex::encode(&hash[..4]);
        Self {
            bridge: format!("gantry-{tag}"),
            bridge_address: candidate(&hash, 0),
            prefix_length: 20,
            table: format!("gantry-{tag}"),
        }
    }

    pub(super) fn is_valid(&self) -> bool {
        let fits = |name: &str, length| {
            (1..=length).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        fits(&self.bridge, INTERFACE_NAME_MAX) && fits(&self.table, 64) && (8..=29).contains(&self.prefix_length)
    }

    /// The subnet to use on a host whose `taken` networks are routed elsewhere.
    pub(super) fn free_address(&self, taken: &[(Ipv4Addr, u8)]) -> Option<Ipv4Addr> {
        let hash = hash(self.bridge.as_bytes());
        let others = (0..64).map(|attempt| candidate(&hash, attempt));
        std::iter::once(self.bridge_address)
            .chain(others)
            .find(|address| !taken.iter().any(|network| overlap(*network, (*address, self.prefix_length))))
    }
}

/// The first address of a /20 in 10.96.0.0/11, away from where clouds and home routers put theirs, and from
/// 10.64.0.0/11, out of which the control plane gives subnets to awsvpc tasks.
fn candidate(hash: &[u8; 32], attempt: u8) -> Ipv4Addr {
    let second = hash[4].wrapping_add(attempt) % 32 + 96;
    Ipv4Addr::new(10, second, hash[5] & 0xf0, 1)
}

pub(super) fn overlap(a: (Ipv4Addr, u8), b: (Ipv4Addr, u8)) -> bool {
    let shared = a.1.min(b.1);
    network(a.0, shared) == network(b.0, shared)
}

pub(super) fn network(address: Ipv4Addr, prefix_length: u8) -> u32 {
    u32::from(address) & u32::MAX.checked_shl(32 - u32::from(prefix_length.min(32))).unwrap_or(0)
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Names of interfaces that are made and found again by one instance.
#[derive(Debug, Clone)]
pub(super) struct Names {
    tag: String,
}

impl Names {
    /// The state directory is what distinguishes instances.
    pub(super) fn of(root: &Path) -> Self {
        Self { tag: hex::encode(&hash(root.as_os_str().as_encoded_bytes())[..2]) }
    }

    /// A number of this instance.
    pub(super) fn seed(&self) -> u16 {
        u16::from_str_radix(&self.tag, 16).unwrap_or_default()
    }

    pub(super) fn subnet_bridge(&self, subnet_id: &str) -> String {
        format!("gb{}{}", self.tag, hex::encode(&hash(subnet_id.as_bytes())[..4]))
    }

    pub(super) fn is_subnet_bridge(&self, name: &str) -> bool {
        name.strip_prefix("gb").is_some_and(|rest| rest.starts_with(&self.tag) && rest.len() == 12)
    }

    /// Of the interface that joins a subnet with other hosts.
    pub(super) fn vxlan(&self, subnet_id: &str) -> String {
        format!("gx{}{}", self.tag, hex::encode(&hash(subnet_id.as_bytes())[..4]))
    }

    pub(super) fn is_vxlan(&self, name: &str) -> bool {
        name.strip_prefix("gx").is_some_and(|rest| rest.starts_with(&self.tag) && rest.len() == 12)
    }

    /// A new name each time: the old interface of a key may still be on its way out.
    pub(super) fn new_veth(&self) -> String {
        let random = uuid::Uuid::new_v4();
        format!("gv{}{}", self.tag, hex::encode(&random.as_bytes()[..4]))
    }

    pub(super) fn is_veth(&self, name: &str) -> bool {
        name.strip_prefix("gv").is_some_and(|rest| rest.starts_with(&self.tag) && rest.len() == 12)
    }
}

/// A locally administered hardware address of nobody else. The bridges of a subnet on many hosts have the gateway's
/// address in common, never this.
pub(super) fn new_mac() -> [u8; 6] {
    let random = uuid::Uuid::new_v4();
    let [a, b, c, d, e, ..] = *random.as_bytes();
    [0x06, a, b, c, d, e]
}

/// A locally administered hardware address that belongs to `address`, so that neighbours' caches stay right when an
/// address is used again.
pub(super) fn mac_of(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

/// Reads `02:00:5e:10:00:01`.
pub(super) fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts.next().filter(|part| part.len() == 2)?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    (parts.next().is_none() && mac[0] & 1 == 0).then_some(mac)
}

/// Destinations of the host's routing table (the text of /proc/net/route) except the default route and what goes
/// through one of our own interfaces.
pub(super) fn routed_networks(table: &str, ours: impl Fn(&str) -> bool) -> Vec<(Ipv4Addr, u8)> {
    let parse = |line: &str| {
        let mut fields = line.split_whitespace();
        let interface = fields.next()?;
        // Written as the kernel holds it: network byte order read as a native integer.
        let number = |text: &str| Some(u32::from_str_radix(text, 16).ok()?.swap_bytes());
        let number =
            |text: &str| if cfg!(target_endian = "little") { number(text) } else { u32::from_str_radix(text, 16).ok() };
        let destination = number(fields.next()?)?;
        let mask = number(fields.nth(5)?)?;
        (mask != 0 && !ours(interface)).then(|| (Ipv4Addr::from(destination), mask.count_ones() as u8))
    };
    table.lines().skip(1).filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn instances_side_by_side_differ_in_every_name() {
        let (a, b) = (NetworkOptions::for_data_dir(Path::new("/a")), NetworkOptions::for_data_dir(Path::new("/b")));
        assert!(a.bridge != b.bridge && a.table != b.table && a.bridge_address != b.bridge_address);
        assert!(a.is_valid() && b.is_valid() && NetworkOptions::default().is_valid());
        assert_eq!(NetworkOptions::for_data_dir(Path::new("/var/lib/gantry")), NetworkOptions::default());
        assert_eq!(a, NetworkOptions::for_data_dir(Path::new("/a")));
        let (a, b) = (Names::of(Path::new("/a")), Names::of(Path::new("/b")));
        assert_ne!(a.subnet_bridge("subnet-1"), b.subnet_bridge("subnet-1"));
        assert_ne!(a.subnet_bridge("subnet-1"), a.subnet_bridge("subnet-2"));
        assert!(a.is_veth(&a.new_veth()) && !b.is_veth(&a.new_veth()));
        assert!(a.is_subnet_bridge(&a.subnet_bridge("x")) && a.new_veth().len() <= INTERFACE_NAME_MAX);
    }

    #[test]
    fn a_subnet_that_the_host_uses_is_avoided() {
        let options = NetworkOptions::default();
        let ip = |text: &str| text.parse::<Ipv4Addr>().unwrap();
        assert_eq!(options.free_address(&[]), Some(options.bridge_address));
        assert_eq!(options.free_address(&[(ip("172.31.0.0"), 16)]), Some(options.bridge_address));
        for taken in [(ip("172.16.0.0"), 12), (ip("172.30.5.0"), 24), (ip("172.30.0.7"), 32)] {
            let other = options.free_address(&[taken]).unwrap();
            assert_eq!(other.octets()[0], 10, "{taken:?}");
        }
        assert_eq!(options.free_address(&[(ip("0.0.0.0"), 0)]), None);
    }

    #[test]
    fn the_routing_table_is_read() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
            ours\t00001EAC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\nbroken line\n";
        let networks = routed_networks(table, |name| name == "ours");
        assert_eq!(networks, [(Ipv4Addr::new(192, 168, 1, 0), 24)]);
    }

    #[test]
    fn hardware_addresses_are_read() {
        assert_eq!(parse_mac("02:00:5e:10:00:ff"), Some([2, 0, 0x5e, 0x10, 0, 255]));
        for bad in
            ["", "02:00:5e:10:00", "02:00:5e:10:00:01:02", "01:00:00:00:00:00", "0g:00:00:00:00:00", "2:0:0:0:0:0"]
        {
            assert_eq!(parse_mac(bad), None, "{bad}");
        }
    }
}
