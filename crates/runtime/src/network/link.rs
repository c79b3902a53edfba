//! Interfaces, addresses and routes.

use std::{
    io,
    net::Ipv4Addr,
    os::fd::{AsRawFd, BorrowedFd},
    path::Path,
};

use super::netlink::{ACK, APPEND, CREATE, DUMP, EXCLUSIVE, Message, Netlink, attributes};

const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const GETLINK: u16 = 18;
const NEWADDR: u16 = 20;
const DELADDR: u16 = 21;
const GETADDR: u16 = 22;
const NEWROUTE: u16 = 24;
const NEWNEIGH: u16 = 28;
const DELNEIGH: u16 = 29;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_NEIGH_SUPPRESS: u16 = 32;
const IFLA_VXLAN_ID: u16 = 1;
const IFLA_VXLAN_LOCAL: u16 = 4;
const IFLA_VXLAN_LEARNING: u16 = 7;
const IFLA_VXLAN_PORT: u16 = 15;
/// The port that IANA gave to VXLAN.
const VXLAN_PORT: u16 = 4789;
const VETH_INFO_PEER: u16 = 1;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const ADDR_GEN_MODE_NONE: u8 = 1;
const AF_INET: u8 = 2;
const AF_BRIDGE: u8 = 7;
const AF_INET6: u16 = 10;
const IFF_UP: u32 = 1;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;

const LOOPBACK_INDEX: u32 = 1;

/// `struct ifinfomsg`
fn interface_header(index: u32, up: bool) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    if up {
        header[8..12].copy_from_slice(&IFF_UP.to_ne_bytes());
        header[12..16].copy_from_slice(&IFF_UP.to_ne_bytes());
    }
    header
}

/// Brings up the interface `name` of the host. Neither bridges nor the host's ends of veth pairs need link-local
/// addresses, whose detection of duplicates sends packets and takes time. The kernel takes that wish only for an
/// interface that exists, so one is made first and brought up then.
fn host_interface_up(name: &str) -> Message {
    let message = Message::new(NEWLINK, ACK, &interface_header(0, true)).string(IFLA_IFNAME, name);
    // A kernel without IPv6 does not even know the attribute.
    if !Path::new("/proc/sys/net/ipv6").exists() {
        return message;
    }
    message.nest(IFLA_AF_SPEC, |m| m.nest(AF_INET6, |m| m.attribute(IFLA_INET6_ADDR_GEN_MODE, &[ADDR_GEN_MODE_NONE])))
}

/// Makes the bridge `name` holding `address`, when it does not exist, and returns its index.
pub(super) fn ensure_bridge(
    netlink: &mut Netlink,
    name: &str,
    mac: [u8; 6],
    address: Ipv4Addr,
    prefix_length: u8,
) -> io::Result<u32> {
    // A fixed hardware address: otherwise a bridge takes over that of its ports as they come and go.
    let create = Message::new(NEWLINK, ACK | CREATE | EXCLUSIVE, &interface_header(0, false))
        .string(IFLA_IFNAME, name)
        .attribute(IFLA_ADDRESS, &mac)
        .nest(IFLA_LINKINFO, |m| m.string(IFLA_INFO_KIND, "bridge"));
    ignore(libc::EEXIST, netlink.request(&[create]))?;
    let index = index(netlink, name)?;
    ignore(libc::EEXIST, netlink.request(&[add_address(index, address, prefix_length)]))?;
    netlink.request(&[host_interface_up(name)])?;
    Ok(index)
}

/// Makes a veth pair: `name` here, in the bridge `bridge`, and `eth0` with hardware address `mac` in `namespace`.
pub(super) fn create_veth(
    netlink: &mut Netlink,
    name: &str,
    bridge: u32,
    mac: [u8; 6],
    mtu: Option<u32>,
    namespace: BorrowedFd<'_>,
) -> io::Result<()> {
    let with_mtu = |message: Message| match mtu {
        Some(mtu) => message.ne32(IFLA_MTU, mtu),
        None => message,
    };
    let namespace = u32::try_from(namespace.as_raw_fd()).map_err(io::Error::other)?;
    let create = Message::new(NEWLINK, ACK | CREATE | EXCLUSIVE, &interface_header(0, false));
    let create = with_mtu(create.string(IFLA_IFNAME, name)).nest(IFLA_LINKINFO, |m| {
        m.string(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, |m| {
            m.nest(VETH_INFO_PEER, |m| {
                with_mtu(m.raw(&interface_header(0, false)))
                    .string(IFLA_IFNAME, "eth0")
                    .attribute(IFLA_ADDRESS, &mac)
                    .ne32(IFLA_NET_NS_FD, namespace)
            })
        })
    });
    netlink.request(&[create, host_interface_up(name).ne32(IFLA_MASTER, bridge), reflecting(name)])
}

/// Lets the bridge send a packet back where it came from. With br_netfilter (Docker loads it) a container's
/// connection to its own published port is turned round inside the bridge instead of by the host's routing.
fn reflecting(name: &str) -> Message {
    Message::new(NEWLINK, ACK, &interface_header(0, false)).string(IFLA_IFNAME, name).nest(IFLA_LINKINFO, |m| {
        m.string(IFLA_INFO_SLAVE_KIND, "bridge").nest(IFLA_INFO_SLAVE_DATA, |m| m.attribute(IFLA_BRPORT_MODE, &[1]))
    })
}

/// Makes the VXLAN interface `name`, when it does not exist, and returns its index.
pub(super) fn ensure_vxlan(netlink: &mut Netlink, name: &str, vni: u32, local: Ipv4Addr, mtu: u32) -> io::Result<u32> {
    let create = Message::new(NEWLINK, ACK | CREATE | EXCLUSIVE, &interface_header(0, false))
        .string(IFLA_IFNAME, name)
        .ne32(IFLA_MTU, mtu)
        .nest(IFLA_LINKINFO, |m| {
            m.string(IFLA_INFO_KIND, "vxlan").nest(IFLA_INFO_DATA, |m| {
                m.ne32(IFLA_VXLAN_ID, vni)
                    .attribute(IFLA_VXLAN_LOCAL, &local.octets())
                    .attribute(IFLA_VXLAN_LEARNING, &[1])
                    .attribute(IFLA_VXLAN_PORT, &VXLAN_PORT.to_be_bytes())
            })
        });
    match netlink.request(&[create]) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
        other => other?,
    }
    let in_use = |_| io::Error::other("another interface of this host has the network's number");
    index(netlink, name).map_err(in_use)
}

/// Puts a VXLAN interface into its subnet's bridge. Questions for the bridge's own addresses stay on this host.
pub(super) fn enslave_vxlan(netlink: &mut Netlink, name: &str, bridge: u32) -> io::Result<()> {
    let suppress = Message::new(NEWLINK, ACK, &interface_header(0, false)).string(IFLA_IFNAME, name);
    let suppress = suppress.nest(IFLA_LINKINFO, |m| {
        let data = |m: Message| m.attribute(IFLA_BRPORT_NEIGH_SUPPRESS, &[1]);
        m.string(IFLA_INFO_SLAVE_KIND, "bridge").nest(IFLA_INFO_SLAVE_DATA, data)
    });
    // Up last: nothing leaks before the questions are suppressed.
    let enslave = Message::new(NEWLINK, ACK, &interface_header(0, false)).string(IFLA_IFNAME, name);
    netlink.request(&[enslave.ne32(IFLA_MASTER, bridge), suppress, host_interface_up(name)])
}

/// Sends what is for everybody, and what nobody knows, to `peer` too.
pub(super) fn flood_to(netlink: &mut Netlink, vxlan: u32, peer: Ipv4Addr) -> io::Result<()> {
    let message = flood_entry(NEWNEIGH, ACK | CREATE | APPEND, vxlan, peer);
    ignore(libc::EEXIST, netlink.request(&[message]))
}

/// Takes that back.
pub(super) fn forget_peer(netlink: &mut Netlink, vxlan: u32, peer: Ipv4Addr) -> io::Result<()> {
    ignore(libc::ENOENT, netlink.request(&[flood_entry(DELNEIGH, ACK, vxlan, peer)]))
}

fn flood_entry(kind: u16, flags: u16, vxlan: u32, peer: Ipv4Addr) -> Message {
    const NUD_PERMANENT: u16 = 0x80;
    const NTF_SELF: u8 = 2;
    // `struct ndmsg`
    let mut header = [0; 12];
    header[0] = AF_BRIDGE;
    header[4..8].copy_from_slice(&vxlan.to_ne_bytes());
    header[8..10].copy_from_slice(&NUD_PERMANENT.to_ne_bytes());
    header[10] = NTF_SELF;
    Message::new(kind, flags, &header).attribute(NDA_LLADDR, &[0; 6]).attribute(NDA_DST, &peer.octets())
}

/// Makes `address` the one that the host itself has in a subnet: with it the bridge asks and is asked. The gateway's
/// address stays, for itself alone, since every host of the subnet has it.
pub(super) fn own_address(
    netlink: &mut Netlink,
    bridge: u32,
    address: Ipv4Addr,
    gateway: Ipv4Addr,
    prefix_length: u8,
) -> io::Result<()> {
    let before = addresses(netlink, bridge)?;
    ignore(libc::EEXIST, netlink.request(&[add_address(bridge, gateway, 32)]))?;
    // Others first: with one address of the subnet gone, the kernel would take the later ones with it.
    let others = before.iter().filter(|(other, length)| *length == prefix_length && *other != address);
    let is_there = before.contains(&(address, prefix_length));
    for (other, length) in others {
        ignore(libc::EADDRNOTAVAIL, netlink.request(&[delete_address(bridge, *other, *length)]))?;
    }
    let is_there = is_there && addresses(netlink, bridge)?.contains(&(address, prefix_length));
    if is_there { Ok(()) } else { netlink.request(&[add_address(bridge, address, prefix_length)]) }
}

/// IPv4 addresses of an interface, with their prefix lengths.
fn addresses(netlink: &mut Netlink, interface: u32) -> io::Result<Vec<(Ipv4Addr, u8)>> {
    let answers = netlink.query(&Message::new(GETADDR, DUMP, &[AF_INET, 0, 0, 0, 0, 0, 0, 0]))?;
    let read = |body: &Vec<u8>| {
        let index = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
        let local = attributes(body.get(8..)?).find(|(kind, _)| *kind == IFA_LOCAL)?;
        let octets: [u8; 4] = local.1.try_into().ok()?;
        (index == interface).then_some((Ipv4Addr::from(octets), *body.get(1)?))
    };
    Ok(answers.iter().filter_map(read).collect())
}

/// Puts the interface `name` into a bridge; no error when there is no such interface.
pub(super) fn attach(netlink: &mut Netlink, name: &str, bridge: u32) -> io::Result<()> {
    let message =
        Message::new(NEWLINK, ACK, &interface_header(0, true)).string(IFLA_IFNAME, name).ne32(IFLA_MASTER, bridge);
    ignore(libc::ENODEV, netlink.request(&[message]))
}

/// Brings up the loopback interface of the namespace that `netlink` was opened in, with `extra` on it.
pub(super) fn loopback_up(netlink: &mut Netlink, extra: Option<Ipv4Addr>) -> io::Result<()> {
    let mut messages = vec![up(LOOPBACK_INDEX)];
    messages.extend(extra.map(|address| add_address(LOOPBACK_INDEX, address, 32)));
    netlink.request(&messages)
}

/// Puts an address on the loopback interface, where it may be already.
pub(super) fn add_to_loopback(netlink: &mut Netlink, address: Ipv4Addr) -> io::Result<()> {
    ignore(libc::EEXIST, netlink.request(&[add_address(LOOPBACK_INDEX, address, 32)]))
}

/// Gives `eth0` of the namespace that `netlink` was opened in its address and default route.
pub(super) fn configure_eth0(
    netlink: &mut Netlink,
    address: Ipv4Addr,
    prefix_length: u8,
    gateway: Ipv4Addr,
) -> io::Result<()> {
    let index = index(netlink, "eth0")?;
    netlink.request(&[up(index), add_address(index, address, prefix_length), default_route(index, gateway)])
}

/// Removes an interface; no error when there is none.
pub(super) fn delete(netlink: &mut Netlink, name: &str) -> io::Result<()> {
    let message = Message::new(DELLINK, ACK, &interface_header(0, false)).string(IFLA_IFNAME, name);
    ignore(libc::ENODEV, netlink.request(&[message]))
}

pub(super) fn index(netlink: &mut Netlink, name: &str) -> io::Result<u32> {
    let message = Message::new(GETLINK, 0, &interface_header(0, false)).string(IFLA_IFNAME, name);
    let answers = netlink.query(&message)?;
    let index = answers.first().and_then(|body| body.get(4..8)?.try_into().ok()).map(u32::from_ne_bytes);
    index.ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn up(index: u32) -> Message {
    Message::new(NEWLINK, ACK, &interface_header(index, true))
}

fn delete_address(index: u32, address: Ipv4Addr, prefix_length: u8) -> Message {
    let mut header = [AF_INET, prefix_length, 0, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    // With the address alone, the kernel would take the first that it has, of whatever length.
    Message::new(DELADDR, ACK, &header)
        .attribute(IFA_LOCAL, &address.octets())
        .attribute(IFA_ADDRESS, &address.octets())
}

fn add_address(index: u32, address: Ipv4Addr, prefix_length: u8) -> Message {
    let mut header = [AF_INET, prefix_length, 0, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let message = Message::new(NEWADDR, ACK | CREATE | EXCLUSIVE, &header)
        .attribute(IFA_LOCAL, &address.octets())
        .attribute(IFA_ADDRESS, &address.octets());
    if prefix_length >= 31 {
        return message;
    }
    let broadcast = u32::from(address) | (u32::MAX >> prefix_length);
    message.attribute(IFA_BROADCAST, &broadcast.to_be_bytes())
}

fn default_route(index: u32, gateway: Ipv4Addr) -> Message {
    const MAIN_TABLE: u8 = 254;
    const PROTOCOL_BOOT: u8 = 3;
    const UNICAST: u8 = 1;
    let header = [AF_INET, 0, 0, 0, MAIN_TABLE, PROTOCOL_BOOT, 0, UNICAST, 0, 0, 0, 0];
    Message::new(NEWROUTE, ACK | CREATE | EXCLUSIVE, &header)
        .attribute(RTA_GATEWAY, &gateway.octets())
        .ne32(RTA_OIF, index)
}

/// Nothing is wrong when what is asked for was so already.
fn ignore(code: i32, result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(code) => Ok(()),
        other => other,
    }
}
