//! Faults that a task asks for in its own namespace, to see how it bears them.
//!
//! What the packet filter of the namespace has is all there is to know of a fault: nothing is remembered here, an
//! agent that starts again finds what runs, and the faults go with the namespace.

use std::net::Ipv4Addr;

use super::{
    NetworkError, Protocol,
    host::{Host, bad_key, kernel},
    namespace::in_namespace,
    nftables::Table,
};

/// The table of a namespace that its faults stand in.
const TABLE: &str = "gantry-faults";

/// Which packets a fault is about, seen from the namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// Those that come in.
    Ingress,
    /// Those that leave.
    Egress,
}

/// Packets to one port are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Blackhole {
    /// In or out.
    pub direction: Direction,
    /// tcp or udp.
    pub protocol: Protocol,
    /// The destination's port.
    pub port: u16,
}

impl Blackhole {
    /// The name of its chain: what makes one blackhole another.
    pub(super) fn chain(self) -> String {
        let direction = match self.direction {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        };
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        format!("{direction}-{protocol}-{}", self.port)
    }
}

/// Addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The first of them.
    pub address: Ipv4Addr,
    /// At most 32.
    pub prefix_length: u8,
}

/// What is to become of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultChange {
    /// It begins, unless it runs; peers in these blocks do not notice.
    Start(Vec<Block>),
    /// It ends, if it runs.
    Stop,
    /// Nothing.
    Look,
}

impl Host {
    pub(super) fn blackhole(&self, key: &str, hole: Blackhole, change: &FaultChange) -> Result<bool, NetworkError> {
        let namespace = self.records.namespace(key).ok_or_else(|| bad_key(key))?;
        in_namespace(&namespace, || Table::new(TABLE).blackhole(hole, change)).map_err(kernel("change a fault"))
    }
}
