//! Faults that a task asks for in its own namespace, to see how it bears them.
//!
//! What the packet filter of the namespace has is all there is to know of a fault: nothing is remembered here, an
//! agent that starts again finds what runs, and the faults go with the namespace.

use std::io;

use gantry_domain::address_block::AddressBlock;

use super::{
    NetworkError, Protocol,
    host::{Host, bad_key, kernel},
    namespace::in_namespace,
    nftables::Table,
    queueing,
};

/// The tables of a namespace that its faults stand in.
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

/// What is to become of a blackhole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultChange {
    /// It begins, unless it runs; peers in these blocks do not notice.
    Start(Vec<AddressBlock>),
    /// It ends, if it runs.
    Stop,
    /// Nothing.
    Look,
}

/// Packets that leave for some peers come late, or never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impairment {
    /// What becomes of them.
    pub effect: Effect,
    /// Where they are going.
    pub peers: Vec<AddressBlock>,
    /// Peers among these that do not notice.
    pub spared: Vec<AddressBlock>,
    /// Of the flows to these peers, how many are meant: 1 to 100.
    pub flows_percent: u8,
}

/// What becomes of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// They come late.
    Latency {
        /// By how much, at most [`DELAY_MAX_MS`].
        delay_ms: u32,
        /// By how much that differs from packet to packet, at most [`DELAY_MAX_MS`].
        jitter_ms: u32,
    },
    /// They do not come.
    PacketLoss {
        /// How many of them: 1 to 100.
        percent: u8,
    },
}

/// What the queueing discipline can count.
pub const DELAY_MAX_MS: u32 = 240_000;

/// A namespace has one of them at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImpairmentKind {
    /// [`Effect::Latency`]
    Latency,
    /// [`Effect::PacketLoss`]
    PacketLoss,
}

impl ImpairmentKind {
    pub(super) const ALL: [Self; 2] = [Self::Latency, Self::PacketLoss];

    /// The name of its chain.
    pub(super) fn chain(self) -> &'static str {
        match self {
            Self::Latency => "network-latency",
            Self::PacketLoss => "network-packet-loss",
        }
    }

    /// What it takes of the kernel.
    fn needs(self) -> &'static str {
        match self {
            Self::Latency => "queueing disciplines prio and netem",
            Self::PacketLoss => "egress hook of nftables",
        }
    }
}

impl Effect {
    /// Which kind of impairment it makes.
    #[must_use]
    pub fn kind(self) -> ImpairmentKind {
        match self {
            Self::Latency { .. } => ImpairmentKind::Latency,
            Self::PacketLoss { .. } => ImpairmentKind::PacketLoss,
        }
    }
}

/// What is to become of a namespace's impairment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImpairmentChange {
    /// It begins, unless there is one.
    Start(Impairment),
    /// It ends, if it is of this kind.
    Stop(ImpairmentKind),
    /// Nothing.
    Look,
}

impl Host {
    pub(super) fn blackhole(&self, key: &str, hole: Blackhole, change: &FaultChange) -> Result<bool, NetworkError> {
        let namespace = self.records.namespace(key).ok_or_else(|| bad_key(key))?;
        in_namespace(&namespace, || Table::new(TABLE).blackhole(hole, change)).map_err(kernel(ACTION))
    }

    pub(super) fn impairment(
        &self,
        key: &str,
        change: &ImpairmentChange,
    ) -> Result<Option<ImpairmentKind>, NetworkError> {
        let namespace = self.records.namespace(key).ok_or_else(|| bad_key(key))?;
        in_namespace(&namespace, || Ok(change_impairment(change))).map_err(kernel(ACTION))?
    }
}

const ACTION: &str = "change a fault";

/// In the namespace of the calling thread; returns what there was before.
///
/// The chain is what counts: it comes last and goes first, and a queueing discipline that a crash left delays nothing
/// without it.
fn change_impairment(change: &ImpairmentChange) -> Result<Option<ImpairmentKind>, NetworkError> {
    let mut table = Table::of_devices(TABLE);
    let before = table.impairment().map_err(kernel(ACTION))?;
    match (change, before) {
        (ImpairmentChange::Start(impairment), None) => {
            start(&mut table, impairment).map_err(|error| match error.raw_os_error() {
                Some(libc::ENOENT | libc::EOPNOTSUPP) => {
                    NetworkError::Unsupported { what: impairment.effect.kind().needs() }
                }
                _ => kernel(ACTION)(error),
            })?;
        }
        (ImpairmentChange::Stop(kind), Some(runs)) if *kind == runs => {
            table.delete().and_then(|()| stop(runs)).map_err(kernel(ACTION))?;
        }
        _ => {}
    }
    Ok(before)
}

fn start(table: &mut Table, impairment: &Impairment) -> io::Result<()> {
    if let Effect::Latency { delay_ms, jitter_ms } = impairment.effect {
        queueing::delay(delay_ms, jitter_ms)?;
    }
    let started = table.impair(impairment);
    if started.is_err() {
        // The first failure is what has to be told.
        let _ = stop(impairment.effect.kind());
    }
    started
}

fn stop(kind: ImpairmentKind) -> io::Result<()> {
    match kind {
        ImpairmentKind::Latency => queueing::restore(),
        ImpairmentKind::PacketLoss => Ok(()),
    }
}
