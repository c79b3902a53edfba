//! The host's part in networks over hosts: what the control plane said last is made so, and tried again until it is.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use gantry_api::agent;
use gantry_runtime::network::{Overlay, OverlayNetwork};
use tokio::sync::watch;

use crate::{host::Host, reason::chain};

/// Between attempts.
const RETRY: Duration = Duration::from_secs(10);
/// How often it is looked at although nothing was said: somebody may have changed it, and bridges of tasks that are gone
/// are removed.
const REPAIR: Duration = Duration::from_secs(30);
/// Somebody beyond the default route. Nothing is sent there.
const BEYOND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), 9);

/// What is wanted; none before the control plane said anything.
pub(crate) type Wanted = watch::Sender<Option<Overlay>>;

/// Makes it so, for ever.
pub(crate) async fn run(host: &Host) {
    let mut wanted = host.overlay.subscribe();
    loop {
        let now = wanted.borrow_and_update().clone();
        let done = match &now {
            Some(overlay) => host.runtime.networks.overlay(overlay).await,
            None => Ok(()),
        };
        let again = async {
            match done {
                Ok(()) => tokio::time::sleep(REPAIR).await,
                Err(error) => {
                    tracing::warn!(error = chain(&error), "networks over hosts are not as they should be");
                    tokio::time::sleep(RETRY).await;
                }
            }
        };
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            () = again => {}
        }
    }
}

/// What the control plane said.
pub(crate) fn wanted(local: Ipv4Addr, peers: Vec<Ipv4Addr>, networks: Vec<agent::OverlayNetwork>) -> Overlay {
    let network = |network: agent::OverlayNetwork| OverlayNetwork {
        subnet_id: network.subnet_id,
        vni: network.vni,
        address: network.address,
        prefix_length: network.prefix_length,
        gateway: network.gateway,
    };
    Overlay { local, peers: peers.into_iter().collect(), networks: networks.into_iter().map(network).collect() }
}

/// Where other hosts reach this one: where the operator says, else where it reaches the control plane from, else (the
/// control plane is on this machine) where it reaches others from.
pub(crate) fn local_address(advertised: Option<Ipv4Addr>, connection: Option<SocketAddr>) -> Option<Ipv4Addr> {
    let usable = |address: IpAddr| match address.to_canonical() {
        IpAddr::V4(address) if !address.is_loopback() && !address.is_unspecified() => Some(address),
        _ => None,
    };
    advertised.or_else(|| usable(connection?.ip())).or_else(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect(BEYOND).ok()?;
        usable(socket.local_addr().ok()?.ip())
    })
}
