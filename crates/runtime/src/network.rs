//! Networks of tasks and containers on a host: namespaces, addresses, published ports.

use std::{
    net::{IpAddr, Ipv4Addr, TcpListener},
    path::PathBuf,
};

use async_trait::async_trait;
use gantry_domain::task_definition::Proxy;

mod addresses;
mod conntrack;
mod endpoint;
mod faults;
mod foreign_firewall;
mod host;
mod link;
mod linux;
mod names;
mod namespace;
mod netlink;
mod nftables;
mod overlay;
mod ports;
mod queueing;
mod record;
mod spares;

pub use self::{
    faults::{Blackhole, DELAY_MAX_MS, Direction, Effect, FaultChange, Impairment, ImpairmentChange, ImpairmentKind},
    linux::LinuxNetworks,
    names::NetworkOptions,
    namespace::in_namespace,
    overlay::{Overlay, OverlayNetwork},
};

/// Where a task finds its credentials and metadata: an address on the loopback interface of every connected namespace,
/// so that what listens inside ([`Networks::endpoint`]) serves nobody else.
pub const TASK_ENDPOINT: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);

/// Which network a namespace joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkRequest {
    /// Only a loopback interface.
    None,
    /// The host's default bridge: an address of the host's own choice, NAT to the outside.
    Bridge,
    /// An address given by the control plane on the bridge of its subnet.
    Awsvpc(Interface),
}

/// An elastic network interface as the control plane allocated it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// `subnet-…`; one bridge per subnet on the host.
    pub subnet_id: String,
    /// The task's address.
    pub address: Ipv4Addr,
    /// Prefix length of the subnet.
    pub prefix_length: u8,
    /// The subnet's first address, held by the bridge.
    pub gateway: Ipv4Addr,
    /// `02:…`.
    pub mac: String,
    /// Which of the task's connections are led to its proxy, from the first on.
    pub proxy: Option<Proxy>,
}

/// A namespace that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkNamespace {
    /// Bind-mounted namespace file.
    pub path: PathBuf,
    /// Its address on the network, when it has one.
    pub address: Option<IpAddr>,
    /// Its default gateway, when it has one.
    pub gateway: Option<IpAddr>,
}

/// tcp or udp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// As packets name it.
    fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// A port of a namespace to publish on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// 0 lets the host choose from its ephemeral range (or 49153–65535).
    pub host_port: u16,
    /// In the namespace.
    pub container_port: u16,
    /// tcp or udp.
    pub protocol: Protocol,
}

/// Why a network could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// Somebody else has the port.
    #[error("Bind for 0.0.0.0:{port} failed: port is already allocated")]
    PortTaken {
        /// The host port.
        port: u16,
    },
    /// No free port or address is left.
    #[error("no free {what}")]
    Exhausted {
        /// `port` or `address`.
        what: &'static str,
    },
    /// The kernel was built without it.
    #[error("the kernel has no {what}")]
    Unsupported {
        /// What it would take.
        what: &'static str,
    },
    /// The kernel refused.
    #[error("{action}: {detail}")]
    Kernel {
        /// What was being done.
        action: String,
        /// The system's words.
        detail: String,
    },
}

/// Networks of one host. `key` is a container id (bridge, none) or a task id (awsvpc). Everything survives the
/// agent's restart and can be repeated.
#[async_trait]
pub trait Networks: Send + Sync {
    /// Makes (or returns) the namespace of `key`.
    async fn create(&self, key: &str, request: &NetworkRequest) -> Result<NetworkNamespace, NetworkError>;

    /// Publishes ports of the namespace of `key` on all of the host's addresses, loopback included; returns them with
    /// the chosen host ports, in order. Neighbours with host port 0 and consecutive container ports get consecutive host
    /// ports (`containerPortRange`). All or nothing.
    async fn publish(&self, key: &str, ports: &[Publish]) -> Result<Vec<Publish>, NetworkError>;

    /// Opens the listener of the namespace of `key` (of the host itself: none) at which connections to port 80 of
    /// [`TASK_ENDPOINT`] arrive. It takes them from inside that namespace only, and is closed by dropping it.
    async fn endpoint(&self, key: Option<&str>) -> Result<TcpListener, NetworkError>;

    /// Changes a blackhole in the namespace of `key`, or looks for it; returns whether it is there afterwards. It goes
    /// with the namespace.
    async fn blackhole(&self, key: &str, hole: Blackhole, change: &FaultChange) -> Result<bool, NetworkError>;

    /// Changes the impairment of the namespace of `key`, or looks for it; returns the one that there was before. It goes
    /// with the namespace.
    async fn impairment(&self, key: &str, change: &ImpairmentChange) -> Result<Option<ImpairmentKind>, NetworkError>;

    /// Unpublishes and removes; no error when it is gone.
    async fn remove(&self, key: &str) -> Result<(), NetworkError>;

    /// Joins the host's subnets with those of other hosts, as far as they are not; leaves those that are not named.
    async fn overlay(&self, wanted: &Overlay) -> Result<(), NetworkError>;

    /// The keys that exist.
    async fn list(&self) -> Result<Vec<String>, NetworkError>;
}
