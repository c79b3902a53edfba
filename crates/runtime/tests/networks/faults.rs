//! Blackholes: what they swallow and whom they spare.

use std::{
    io,
    net::{SocketAddrV4, TcpStream, UdpSocket},
    time::Duration,
};

use gantry_domain::address_block::AddressBlock;
use gantry_runtime::network::{Blackhole, Direction, FaultChange, NetworkNamespace, Networks, Protocol, in_namespace};

use super::{Instance, ask_from, ask_udp, serve, serve_udp, v4};

/// Long enough for a connection inside one host, which the test expects to fail.
const BRIEF: Duration = Duration::from_millis(300);

const START: FaultChange = FaultChange::Start(Vec::new());

fn hole(direction: Direction, protocol: Protocol) -> Blackhole {
    Blackhole { direction, protocol, port: 8000 }
}

/// How a connection of `from` to port 8000 of `to` ends.
fn connect(from: &NetworkNamespace, to: &NetworkNamespace) -> Result<(), io::ErrorKind> {
    let address = SocketAddrV4::new(v4(to), 8000).into();
    let connected = in_namespace(&from.path, || TcpStream::connect_timeout(&address, BRIEF));
    connected.map(drop).map_err(|error| error.kind())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blackhole_swallows_one_port_in_one_direction_until_it_is_stopped() {
    let mut instance = Instance::new().await;
    let (a, b) = (instance.bridge("a").await, instance.bridge("b").await);
    for namespace in [&a, &b] {
        serve(&namespace.path, 8000, "tcp");
        serve(&namespace.path, 8001, "other");
    }
    let egress = hole(Direction::Egress, Protocol::Tcp);
    let networks = instance.networks();
    assert!(!networks.blackhole("a", egress, &FaultChange::Look).await.unwrap());
    assert!(!networks.blackhole("a", egress, &FaultChange::Stop).await.unwrap(), "stopping nothing is no error");
    assert_eq!(connect(&a, &b), Ok(()));

    assert!(networks.blackhole("a", egress, &START).await.unwrap());
    assert!(networks.blackhole("a", egress, &START).await.unwrap(), "it runs already");
    assert_eq!(connect(&a, &b), Err(io::ErrorKind::TimedOut));
    assert_eq!(connect(&b, &a), Ok(()), "what comes in is another fault");
    assert!(ask_from(&a.path, SocketAddrV4::new(v4(&b), 8001)).is_ok(), "another port");
    let ingress = hole(Direction::Ingress, Protocol::Tcp);
    assert!(!networks.blackhole("a", ingress, &FaultChange::Look).await.unwrap());
    assert!(!networks.blackhole("b", egress, &FaultChange::Look).await.unwrap());

    // What the namespace has is what counts, also for an agent that knows of nothing.
    instance.start().await;
    let networks = instance.networks();
    assert!(networks.blackhole("a", egress, &FaultChange::Look).await.unwrap());
    assert!(networks.blackhole("a", ingress, &START).await.unwrap());
    assert_eq!(connect(&b, &a), Err(io::ErrorKind::TimedOut));
    assert!(!networks.blackhole("a", egress, &FaultChange::Stop).await.unwrap());
    assert_eq!(connect(&a, &b), Ok(()));
    assert_eq!(connect(&b, &a), Err(io::ErrorKind::TimedOut), "the other one goes on");
    assert!(!networks.blackhole("a", ingress, &FaultChange::Stop).await.unwrap());
    assert_eq!(connect(&b, &a), Ok(()));
    assert!(networks.blackhole("none", egress, &START).await.is_err());
    assert!(networks.blackhole("../etc", egress, &START).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_are_spared_notice_nothing() {
    let instance = Instance::new().await;
    let (a, b, c) = (instance.bridge("a").await, instance.bridge("b").await, instance.bridge("c").await);
    for namespace in [&a, &b, &c] {
        serve(&namespace.path, 8000, "tcp");
    }
    let block = |namespace: &NetworkNamespace, prefix_length| AddressBlock { address: v4(namespace), prefix_length };
    let networks = instance.networks();
    for direction in [Direction::Egress, Direction::Ingress] {
        let hole = hole(direction, Protocol::Tcp);
        let ends = |peer: &NetworkNamespace| match direction {
            Direction::Egress => connect(&a, peer),
            Direction::Ingress => connect(peer, &a),
        };
        networks.blackhole("a", hole, &FaultChange::Start(vec![block(&b, 32)])).await.unwrap();
        assert_eq!((ends(&b), ends(&c)), (Ok(()), Err(io::ErrorKind::TimedOut)), "{direction:?}");
        networks.blackhole("a", hole, &FaultChange::Stop).await.unwrap();
        // All of their subnet, and everybody.
        for prefix_length in [20, 0] {
            networks.blackhole("a", hole, &FaultChange::Start(vec![block(&b, prefix_length)])).await.unwrap();
            assert_eq!((ends(&b), ends(&c)), (Ok(()), Ok(())), "{direction:?} {prefix_length}");
            networks.blackhole("a", hole, &FaultChange::Stop).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_have_blackholes_of_their_own() {
    let instance = Instance::new().await;
    let (a, b) = (instance.bridge("a").await, instance.bridge("b").await);
    serve(&b.path, 8000, "tcp");
    serve_udp(&b.path, 8000, "udp");
    let address = SocketAddrV4::new(v4(&b), 8000);
    let socket = in_namespace(&a.path, || UdpSocket::bind("0.0.0.0:0")).unwrap();
    let hole = hole(Direction::Egress, Protocol::Udp);
    instance.networks().blackhole("a", hole, &START).await.unwrap();
    assert_eq!(connect(&a, &b), Ok(()));
    assert!(socket.send_to(b"hello", address).is_err(), "a sender is told what its own packet filter drops");
    instance.networks().blackhole("a", hole, &FaultChange::Stop).await.unwrap();
    assert_eq!(ask_udp(&socket, address).unwrap(), "udp");
}
