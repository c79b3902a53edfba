//! Makes the kernel forget UDP flows.
//!
//! Address translation is decided by the first packet of a flow. A client that keeps sending from one port would keep
//! reaching a container that is gone, or the host instead of a container that has just come. TCP has connections, which
//! end by themselves.

use std::{collections::HashSet, io, net::Ipv4Addr};

use super::{
    Protocol,
    netlink::{ACK, DUMP, Family, Message, Netlink, attributes},
};

const SUBSYSTEM: u16 = 1;
const GET: u16 = 1;
const DELETE: u16 = 2;
const FAMILY_IP: [u8; 4] = [2, 0, 0, 0];

const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;

/// Forgets the UDP flows towards `host_ports` that lead to `container` or nowhere in particular.
pub(super) fn forget_udp(host_ports: &HashSet<u16>, container: Ipv4Addr) -> io::Result<()> {
    let mut netlink = Netlink::open(Family::Netfilter)?;
    let dump = Message::new(SUBSYSTEM << 8 | GET, DUMP, &FAMILY_IP);
    for flow in netlink.query(&dump)? {
        let Some(original) = stale(flow.get(4..).unwrap_or_default(), host_ports, container) else { continue };
        let delete = Message::new(SUBSYSTEM << 8 | DELETE, ACK, &FAMILY_IP).nest(TUPLE_ORIGINAL, |m| m.raw(original));
        match netlink.request(&[delete]) {
            // It ended meanwhile.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The original tuple of a flow that is to be forgotten.
fn stale<'a>(flow: &'a [u8], host_ports: &HashSet<u16>, container: Ipv4Addr) -> Option<&'a [u8]> {
    let tuple = |kind| attributes(flow).find(|(found, _)| *found == kind).map(|(_, value)| value);
    let original = tuple(TUPLE_ORIGINAL)?;
    let sent = Tuple::parse(original)?;
    let answered = Tuple::parse(tuple(TUPLE_REPLY)?)?;
    let concerned = sent.protocol == Protocol::Udp.number()
        && host_ports.contains(&sent.destination_port)
        && (answered.source == container || answered.source == sent.destination);
    concerned.then_some(original)
}

struct Tuple {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    destination_port: u16,
}

impl Tuple {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let part = |kind| attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value);
        let (addresses, protocol) = (part(1)?, part(2)?);
        let address = |kind| {
            let value = attributes(addresses).find(|(found, _)| *found == kind)?.1;
            Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?))
        };
        let field = |kind| attributes(protocol).find(|(found, _)| *found == kind).map(|(_, value)| value);
        Some(Self {
            source: address(1)?,
            destination: address(2)?,
            protocol: *field(1)?.first()?,
            destination_port: u16::from_be_bytes(field(3)?.try_into().ok()?),
        })
    }
}
