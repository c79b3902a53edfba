//! The real [`Networks`]: the asynchronous face of [`Host`].

use std::{net::TcpListener, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{
    Blackhole, FaultChange, ImpairmentChange, ImpairmentKind, NetworkError, NetworkNamespace, NetworkOptions,
    NetworkRequest, Networks, Overlay, Publish, host::Host,
};
use crate::locks::KeyedLocks;

/// The kernel removes the interfaces of a released namespace by itself, in bulk. One that is still there after this
/// long belongs to a namespace that some process has not left, and must not keep its address any longer.
const LINGERING: Duration = Duration::from_secs(5);

/// Networks of this host under one state directory.
pub struct LinuxNetworks {
    host: Arc<Host>,
    /// One call per key at a time.
    locks: KeyedLocks,
}

impl LinuxNetworks {
    /// Makes the bridge and the packet filter's base rules, and adopts what an earlier process left.
    ///
    /// # Errors
    /// [`NetworkError::Kernel`] when the kernel refuses (not root, no nftables …).
    pub async fn open(root: PathBuf, options: NetworkOptions) -> Result<Self, NetworkError> {
        let host = blocking(move || Host::open(&root, options)).await?;
        Ok(Self { host: Arc::new(host), locks: KeyedLocks::default() })
    }

    /// Removes all namespaces, bridges, rules and the state directory: for an instance that is not coming back.
    ///
    /// # Errors
    /// [`NetworkError::Kernel`] when the kernel refuses.
    pub async fn tear_down(self) -> Result<(), NetworkError> {
        blocking(move || self.host.tear_down()).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NetworkError> + Send + 'static,
) -> Result<T, NetworkError> {
    let stopped = |_| NetworkError::Kernel { action: "network".to_owned(), detail: "shutting down".to_owned() };
    tokio::task::spawn_blocking(work).await.map_err(stopped)?
}

#[async_trait]
impl Networks for LinuxNetworks {
    async fn create(&self, key: &str, request: &NetworkRequest) -> Result<NetworkNamespace, NetworkError> {
        let lock = self.locks.lock(key).await;
        let (host, key, request) = (self.host.clone(), key.to_owned(), request.clone());
        blocking(move || {
            // Held to the end of the work even when the caller gives up waiting for it.
            let _lock = lock;
            host.create(&key, &request)
        })
        .await
    }

    async fn publish(&self, key: &str, ports: &[Publish]) -> Result<Vec<Publish>, NetworkError> {
        let lock = self.locks.lock(key).await;
        let (host, key, ports) = (self.host.clone(), key.to_owned(), ports.to_vec());
        blocking(move || {
            let _lock = lock;
            host.publish(&key, &ports)
        })
        .await
    }

    async fn endpoint(&self, key: Option<&str>) -> Result<TcpListener, NetworkError> {
        let (host, key) = (self.host.clone(), key.map(str::to_owned));
        blocking(move || host.endpoint(key.as_deref())).await
    }

    async fn blackhole(&self, key: &str, hole: Blackhole, change: &FaultChange) -> Result<bool, NetworkError> {
        let lock = self.locks.lock(key).await;
        let (host, key, change) = (self.host.clone(), key.to_owned(), change.clone());
        blocking(move || {
            let _lock = lock;
            host.blackhole(&key, hole, &change)
        })
        .await
    }

    async fn impairment(&self, key: &str, change: &ImpairmentChange) -> Result<Option<ImpairmentKind>, NetworkError> {
        let lock = self.locks.lock(key).await;
        let (host, key, change) = (self.host.clone(), key.to_owned(), change.clone());
        blocking(move || {
            let _lock = lock;
            host.impairment(&key, &change)
        })
        .await
    }

    async fn remove(&self, key: &str) -> Result<(), NetworkError> {
        let lock = self.locks.lock(key).await;
        let (host, key) = (self.host.clone(), key.to_owned());
        let left = blocking(move || {
            let _lock = lock;
            host.remove(&key)
        });
        if let Some(veth) = left.await? {
            let host = self.host.clone();
            tokio::spawn(async move {
                tokio::time::sleep(LINGERING).await;
                tokio::task::spawn_blocking(move || host.delete_interface(&veth));
            });
        }
        Ok(())
    }

    async fn overlay(&self, wanted: &Overlay) -> Result<(), NetworkError> {
        let (host, wanted) = (self.host.clone(), wanted.clone());
        blocking(move || host.overlay(&wanted)).await
    }

    async fn list(&self) -> Result<Vec<String>, NetworkError> {
        Ok(self.host.list())
    }
}
