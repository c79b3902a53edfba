//! The packet filter's part of a host's networks, spoken to directly: publishing a port is one message of 0.1 ms, where
//! the `nft` program takes seven.
//!
//! ```text
//! table ip NAME {
//!   set bridges    { type ifname }                                             # every bridge of this instance
//!   map published  { type inet_proto . inet_service : ipv4_addr . inet_service } # host port → container
//!   chain guard       { hook prerouting priority raw:   iifname @bridges ip daddr 127.0.0.0/8 drop }
//!   chain prerouting  { hook prerouting priority dstnat: fib daddr type local dnat to meta l4proto . th dport map @published }
//!   chain output      { hook output priority dstnat:    the same, for connections from the host itself }
//!   chain postrouting { hook postrouting priority srcnat:
//!       iifname @bridges oifname @bridges ct status dnat masquerade             # container → published port
//!       iifname "" oifname @bridges ct status dnat masquerade                   # host → published port
//!       iifname @bridges oifname != @bridges masquerade                         # container → outside
//!   }
//! }
//! ```
//!
//! Packets have no incoming interface here when the host itself sent them, from 127.0.0.1 above all, and when
//! br_netfilter turned them round inside the bridge; either way the answer has to come back through the host.
//!
//! `guard` goes with `route_localnet`, which connections from 127.0.0.1 need: without it a container could reach
//! services that the host keeps on its loopback interface.

mod endpoint;
mod expression;
mod faults;
mod impairment;
mod proxy;

use std::{io, net::Ipv4Addr};

use self::expression::{Expression, Register};
use super::{
    Protocol,
    netlink::{ACK, CREATE, EXCLUSIVE, Family, Message, Netlink},
};

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const GET_CHAIN: u16 = 4;
const NEW_RULE: u16 = 6;
const NEW_SET: u16 = 9;
const NEW_ELEMENTS: u16 = 12;
const DELETE_ELEMENTS: u16 = 14;

const FAMILY_IP: u8 = 2;
const FAMILY_NETDEV: u8 = 5;
const BRIDGES: &str = "bridges";
const PUBLISHED: &str = "published";

const SET_IS_MAP: u32 = 8;
/// nft's numbers of its data types, only for showing: six bits each, joined for a concatenation.
const TYPE_IPV4: u32 = 7;
const TYPE_PROTOCOL: u32 = 12;
const TYPE_SERVICE: u32 = 13;
const TYPE_INTERFACE: u32 = 41;
const INTERFACE_BYTES: u32 = 16;

const HOOK_PREROUTING: u32 = 0;
const HOOK_OUTPUT: u32 = 3;
const HOOK_POSTROUTING: u32 = 4;
const PRIORITY_RAW: i32 = -300;
const PRIORITY_DNAT: i32 = -100;
const PRIORITY_SNAT: i32 = 100;

/// A published port and where it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Forward {
    pub(super) protocol: Protocol,
    pub(super) host_port: u16,
    pub(super) address: Ipv4Addr,
    pub(super) container_port: u16,
}

/// One table.
#[derive(Debug)]
pub(super) struct Table {
    name: String,
    family: u8,
    /// `None` after an error, which may leave answers under way.
    netlink: Option<Netlink>,
}

impl Table {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), family: FAMILY_IP, netlink: None }
    }

    /// One of frames on their way through a device.
    pub(super) fn of_devices(name: &str) -> Self {
        Self { family: FAMILY_NETDEV, ..Self::new(name) }
    }

    /// Replaces the whole table, in one step that no packet sees half done.
    pub(super) fn replace(&mut self, bridges: &[String], forwards: &[Forward]) -> io::Result<()> {
        let mut messages = self.delete_messages();
        messages.push(self.message(NEW_TABLE, CREATE).string(1, &self.name));
        messages.push(self.set(1, BRIDGES, 0, TYPE_INTERFACE, INTERFACE_BYTES));
        messages.push(
            self.set(2, PUBLISHED, SET_IS_MAP, TYPE_PROTOCOL << 6 | TYPE_SERVICE, 8)
                .be32(6, TYPE_IPV4 << 6 | TYPE_SERVICE)
                .be32(7, 8),
        );
        messages.extend(self.chains_and_rules());
        if !bridges.is_empty() {
            messages.push(self.bridge_elements(bridges));
        }
        if !forwards.is_empty() {
            messages.push(self.forward_elements(NEW_ELEMENTS, CREATE, forwards));
        }
        self.commit(messages)
    }

    pub(super) fn add_bridge(&mut self, bridge: &str) -> io::Result<()> {
        let message = self.bridge_elements(&[bridge.to_owned()]);
        self.commit(vec![message])
    }

    pub(super) fn add(&mut self, forwards: &[Forward]) -> io::Result<()> {
        let message = self.forward_elements(NEW_ELEMENTS, CREATE | EXCLUSIVE, forwards);
        self.commit(vec![message])
    }

    /// Removes published ports; no error when they are gone.
    pub(super) fn remove(&mut self, forwards: &[Forward]) -> io::Result<()> {
        let message = self.forward_elements(DELETE_ELEMENTS, 0, forwards);
        match self.commit(vec![message]) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && forwards.len() > 1 => {
                // One missing element fails the whole message; the others may still be there.
                forwards.iter().try_for_each(|forward| self.remove(std::slice::from_ref(forward)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    pub(super) fn delete(&mut self) -> io::Result<()> {
        let messages = self.delete_messages();
        self.commit(messages)
    }

    /// Makes the table first, because deleting one that does not exist is an error.
    fn delete_messages(&self) -> Vec<Message> {
        vec![self.message(NEW_TABLE, CREATE).string(1, &self.name), self.message(DELETE_TABLE, 0).string(1, &self.name)]
    }

    fn chains_and_rules(&self) -> Vec<Message> {
        use Expression as E;
        let returning = |from: Expression| {
            vec![
                E::input_name(),
                from,
                E::output_name(),
                E::in_set(BRIDGES),
                E::connection_status(),
                E::only_destination_nat(),
                E::is_not(Register::One, &0u32.to_ne_bytes()),
                E::masquerade(),
            ]
        };
        let loopback_destination = [E::destination_network(), E::is(Register::One, &[127])];
        let publish = || {
            vec![
                E::destination_is_local(),
                E::is(Register::One, &2u32.to_ne_bytes()),
                E::layer4_protocol(),
                E::destination_port(),
                E::map(PUBLISHED),
                E::destination_nat(),
            ]
        };
        vec![
            self.chain("guard", "filter", HOOK_PREROUTING, PRIORITY_RAW),
            self.rule(
                "guard",
                [&[E::input_name(), E::in_set(BRIDGES)], &loopback_destination[..], &[E::drop()]].concat(),
            ),
            self.chain("prerouting", "nat", HOOK_PREROUTING, PRIORITY_DNAT),
            self.rule("prerouting", publish()),
            self.chain("output", "nat", HOOK_OUTPUT, PRIORITY_DNAT),
            self.rule("output", publish()),
            self.chain("postrouting", "nat", HOOK_POSTROUTING, PRIORITY_SNAT),
            self.rule("postrouting", returning(E::in_set(BRIDGES))),
            self.rule("postrouting", returning(E::is(Register::One, &[0; INTERFACE_BYTES as usize]))),
            self.rule(
                "postrouting",
                vec![E::input_name(), E::in_set(BRIDGES), E::output_name(), E::not_in_set(BRIDGES), E::masquerade()],
            ),
        ]
    }

    fn message(&self, kind: u16, flags: u16) -> Message {
        Message::new(SUBSYSTEM << 8 | kind, ACK | flags, &[self.family, 0, 0, 0])
    }

    fn set(&self, id: u32, name: &str, flags: u32, key_type: u32, key_bytes: u32) -> Message {
        self.message(NEW_SET, CREATE)
            .string(1, &self.name)
            .string(2, name)
            .be32(3, flags)
            .be32(4, key_type)
            .be32(5, key_bytes)
            .be32(10, id)
    }

    fn chain(&self, name: &str, kind: &str, hook: u32, priority: i32) -> Message {
        self.hooked_chain(name, kind, |m| m.be32(1, hook).be32(2, priority.cast_unsigned()))
    }

    fn hooked_chain(&self, name: &str, kind: &str, hook: impl FnOnce(Message) -> Message) -> Message {
        const POLICY_ACCEPT: u32 = 1;
        self.bare_chain(name).nest(4, hook).be32(5, POLICY_ACCEPT).string(7, kind)
    }

    /// A chain that others lead to.
    fn bare_chain(&self, name: &str) -> Message {
        self.message(NEW_CHAIN, CREATE).string(1, &self.name).string(3, name)
    }

    fn has_chain(&self, chain: &str) -> io::Result<bool> {
        let message =
            Message::new(SUBSYSTEM << 8 | GET_CHAIN, 0, &[self.family, 0, 0, 0]).string(1, &self.name).string(3, chain);
        match Netlink::open(Family::Netfilter)?.query(&message) {
            Ok(found) => Ok(!found.is_empty()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn rule(&self, chain: &str, expressions: Vec<Expression>) -> Message {
        const APPEND: u16 = 0x800;
        self.message(NEW_RULE, CREATE | APPEND).string(1, &self.name).string(2, chain).nest(4, |message| {
            expressions.into_iter().fold(message, |message, expression| message.nest(1, |m| expression.write(m)))
        })
    }

    fn bridge_elements(&self, bridges: &[String]) -> Message {
        self.message(NEW_ELEMENTS, CREATE).string(1, &self.name).string(2, BRIDGES).nest(3, |message| {
            bridges.iter().fold(message, |message, bridge| {
                let mut key = [0; INTERFACE_BYTES as usize];
                let length = bridge.len().min(key.len() - 1);
                key[..length].copy_from_slice(&bridge.as_bytes()[..length]);
                message.nest(1, |m| m.nest(1, |m| m.attribute(1, &key)))
            })
        })
    }

    fn forward_elements(&self, kind: u16, flags: u16, forwards: &[Forward]) -> Message {
        self.message(kind, flags).string(1, &self.name).string(2, PUBLISHED).nest(3, |message| {
            forwards.iter().fold(message, |message, forward| {
                let [high, low] = forward.host_port.to_be_bytes();
                let key = [forward.protocol.number(), 0, 0, 0, high, low, 0, 0];
                let [high, low] = forward.container_port.to_be_bytes();
                let target = [&forward.address.octets()[..], &[high, low, 0, 0]].concat();
                message.nest(1, |m| m.nest(1, |m| m.attribute(1, &key)).nest(2, |m| m.attribute(1, &target)))
            })
        })
    }

    /// A batch is taken as a whole, or refused with the first thing that is wrong with it: it is enough to hear of its
    /// last message, and keeps the answers to a long one within the socket's buffer.
    fn commit(&mut self, mut messages: Vec<Message>) -> io::Result<()> {
        let last = messages.len().saturating_sub(1);
        messages.iter_mut().take(last).for_each(Message::expect_no_answer);
        let edge = |kind| Message::new(kind, 0, &[0, 0, 0, SUBSYSTEM as u8]);
        let batch: Vec<Message> = std::iter::once(edge(BATCH_BEGIN)).chain(messages).chain([edge(BATCH_END)]).collect();
        let mut netlink = match self.netlink.take() {
            Some(netlink) => netlink,
            None => Netlink::open(Family::Netfilter)?,
        };
        netlink.request(&batch)?;
        self.netlink = Some(netlink);
        Ok(())
    }
}
