//! Packets that come late or never: which, and how many.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddrV4, TcpStream, UdpSocket},
    process::Command,
    time::{Duration, Instant},
};

use gantry_domain::address_block::AddressBlock;
use gantry_runtime::network::{
    Effect, Impairment, ImpairmentChange, ImpairmentKind, NetworkError, NetworkNamespace, Networks, in_namespace,
};

use nix::sys::socket::{setsockopt, sockopt::Ipv4RecvErr};

use super::{Instance, PATIENCE, serve, v4};

/// Long enough for a connection inside one host, which the test expects to fail.
const BRIEF: Duration = Duration::from_millis(300);
const PORT: u16 = 8000;
const LATENCY: Option<ImpairmentKind> = Some(ImpairmentKind::Latency);
const LOSS: Option<ImpairmentKind> = Some(ImpairmentKind::PacketLoss);
const STOP_LOSS: ImpairmentChange = ImpairmentChange::Stop(ImpairmentKind::PacketLoss);
const STOP_LATENCY: ImpairmentChange = ImpairmentChange::Stop(ImpairmentKind::Latency);

fn start(effect: Effect, peers: &[AddressBlock], spared: &[AddressBlock]) -> ImpairmentChange {
    ImpairmentChange::Start(Impairment { effect, peers: peers.to_vec(), spared: spared.to_vec(), flows_percent: 100 })
}

fn lose(percent: u8, peers: &[AddressBlock], spared: &[AddressBlock]) -> ImpairmentChange {
    start(Effect::PacketLoss { percent }, peers, spared)
}

fn block(namespace: &NetworkNamespace) -> AddressBlock {
    AddressBlock::of(v4(namespace))
}

/// How a connection of `from` to `to` ends.
fn connect(from: &NetworkNamespace, to: &NetworkNamespace, patience: Duration) -> Result<(), io::ErrorKind> {
    let address = SocketAddrV4::new(v4(to), PORT).into();
    let connected = in_namespace(&from.path, || TcpStream::connect_timeout(&address, patience));
    connected.map(drop).map_err(|error| error.kind())
}

/// Datagrams on their way from one namespace to another.
struct Datagrams {
    receiver: UdpSocket,
    to: SocketAddrV4,
}

impl Datagrams {
    fn to(namespace: &NetworkNamespace) -> Self {
        let receiver = in_namespace(&namespace.path, || UdpSocket::bind(("0.0.0.0", 9000))).unwrap();
        receiver.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { receiver, to: SocketAddrV4::new(v4(namespace), 9000) }
    }

    /// How many came from each port. The last is sent when nothing is lost any more.
    fn received(&self, from: &NetworkNamespace) -> BTreeMap<u16, usize> {
        let last = in_namespace(&from.path, || UdpSocket::bind("0.0.0.0:0")).unwrap();
        last.send_to(b"last", self.to).unwrap();
        let mut received = BTreeMap::new();
        let mut buffer = [0; 10];
        loop {
            let (length, peer) = self.receiver.recv_from(&mut buffer).unwrap();
            if &buffer[..length] == b"last" {
                return received;
            }
            *received.entry(peer.port()).or_default() += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_to_some_peers_are_lost_until_that_is_stopped() {
    let mut instance = Instance::new().await;
    let (a, b, c) = (instance.bridge("a").await, instance.bridge("b").await, instance.bridge("c").await);
    for namespace in [&a, &b, &c] {
        serve(&namespace.path, PORT, "tcp");
    }
    let lost = Err(io::ErrorKind::TimedOut);
    let ends = |peer: &NetworkNamespace| connect(&a, peer, BRIEF);
    let networks = instance.networks();
    assert_eq!(networks.impairment("a", &ImpairmentChange::Look).await.unwrap(), None);
    assert_eq!(networks.impairment("a", &STOP_LOSS).await.unwrap(), None, "stopping nothing is no error");
    assert_eq!(networks.impairment("a", &lose(100, &[block(&b)], &[])).await.unwrap(), None);
    assert_eq!((ends(&b), ends(&c)), (lost, Ok(())));
    assert_eq!((connect(&b, &c, BRIEF), connect(&a, &a, BRIEF)), (Ok(()), Ok(())));
    // What answers is lost as well.
    assert_eq!(connect(&b, &a, BRIEF), lost);
    // There is one at a time.
    assert_eq!(networks.impairment("a", &lose(100, &[block(&c)], &[])).await.unwrap(), LOSS);
    assert_eq!(networks.impairment("a", &STOP_LATENCY).await.unwrap(), LOSS);
    assert_eq!((ends(&b), ends(&c)), (lost, Ok(())));

    // What the namespace has is what counts, also for an agent that knows of nothing.
    instance.start().await;
    let networks = instance.networks();
    assert_eq!(networks.impairment("a", &ImpairmentChange::Look).await.unwrap(), LOSS);
    assert_eq!(networks.impairment("b", &ImpairmentChange::Look).await.unwrap(), None);
    assert_eq!(networks.impairment("a", &STOP_LOSS).await.unwrap(), LOSS);
    assert_eq!(networks.impairment("a", &ImpairmentChange::Look).await.unwrap(), None);
    assert_eq!(ends(&b), Ok(()));
    let all = AddressBlock { address: v4(&b), prefix_length: 0 };
    let subnet = AddressBlock { address: v4(&b), prefix_length: 20 };
    networks.impairment("a", &lose(100, &[block(&b), all], &[block(&c)])).await.unwrap();
    assert_eq!((ends(&b), ends(&c)), (lost, Ok(())), "one is spared");
    networks.impairment("a", &STOP_LOSS).await.unwrap();
    // As many as a task may name.
    networks.impairment("a", &lose(100, &[all; 100], &[subnet; 100])).await.unwrap();
    assert_eq!((ends(&b), ends(&c)), (Ok(()), Ok(())), "all of them are");
    assert!(networks.impairment("none", &lose(100, &[all], &[])).await.is_err());
    assert!(networks.impairment("../etc", &ImpairmentChange::Look).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_packets_are_lost_as_was_asked_for_and_nobody_is_told() {
    let instance = Instance::new().await;
    let (a, b) = (instance.bridge("a").await, instance.bridge("b").await);
    let datagrams = Datagrams::to(&b);
    let sender = in_namespace(&a.path, || UdpSocket::bind("0.0.0.0:0")).unwrap();
    // As resolvers do, who want to hear of everything that goes wrong.
    setsockopt(&sender, Ipv4RecvErr, &true).unwrap();
    assert!(datagrams.received(&a).is_empty(), "they know each other's hardware address");
    // In two blocks of which it is in both: that is no reason to lose it twice.
    let peers = [block(&b), AddressBlock { address: v4(&b), prefix_length: 8 }];
    instance.networks().impairment("a", &lose(50, &peers, &[])).await.unwrap();
    for _ in 0..400 {
        sender.send_to(b"x", datagrams.to).unwrap();
    }
    instance.networks().impairment("a", &STOP_LOSS).await.unwrap();
    let received: usize = datagrams.received(&a).values().sum();
    // Six standard deviations to each side; with a quarter, a hundred would come.
    assert!((140..260).contains(&received), "{received}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_the_flows_is_a_part_of_them_and_whole_ones() {
    let instance = Instance::new().await;
    let (a, b) = (instance.bridge("a").await, instance.bridge("b").await);
    let datagrams = Datagrams::to(&b);
    let senders: Vec<UdpSocket> =
        (0..60).map(|_| in_namespace(&a.path, || UdpSocket::bind("0.0.0.0:0")).unwrap()).collect();
    assert!(datagrams.received(&a).is_empty());
    let ImpairmentChange::Start(all) = lose(100, &[block(&b)], &[]) else { unreachable!() };
    let half = ImpairmentChange::Start(Impairment { flows_percent: 50, ..all });
    instance.networks().impairment("a", &half).await.unwrap();
    for _ in 0..3 {
        for sender in &senders {
            sender.send_to(b"x", datagrams.to).unwrap();
        }
    }
    instance.networks().impairment("a", &STOP_LOSS).await.unwrap();
    let received = datagrams.received(&a);
    assert!(received.values().all(|count| *count == 3), "{received:?}");
    assert!((1..60).contains(&received.len()), "{received:?}");
}

/// Whether the kernel can delay packets at all, asked of somebody else.
fn has_netem(namespace: &NetworkNamespace) -> bool {
    let asked = in_namespace(&namespace.path, || {
        Command::new("tc").args(["qdisc", "replace", "dev", "eth0", "root", "netem", "delay", "1ms"]).output()
    });
    asked.unwrap().status.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_to_some_peers_come_late_where_the_kernel_can_delay_them() {
    const DELAY: Duration = Duration::from_millis(400);
    let mut instance = Instance::new().await;
    let (a, b, c) = (instance.bridge("a").await, instance.bridge("b").await, instance.bridge("c").await);
    for namespace in [&b, &c] {
        serve(&namespace.path, PORT, "tcp");
    }
    let late = start(Effect::Latency { delay_ms: 400, jitter_ms: 0 }, &[block(&b)], &[]);
    if !has_netem(&instance.bridge("other").await) {
        let refused = instance.networks().impairment("a", &late).await.unwrap_err();
        assert!(matches!(refused, NetworkError::Unsupported { .. }), "{refused}");
        assert_eq!(instance.networks().impairment("a", &ImpairmentChange::Look).await.unwrap(), None);
        assert_eq!(connect(&a, &b, PATIENCE), Ok(()));
        return;
    }
    assert_eq!(instance.networks().impairment("a", &late).await.unwrap(), None);
    let took = |peer: &NetworkNamespace| {
        let began = Instant::now();
        connect(&a, peer, PATIENCE).map(|()| began.elapsed()).unwrap()
    };
    assert!(took(&b) >= DELAY);
    let delayed = || {
        let shown = in_namespace(&a.path, || Command::new("tc").args(["-s", "qdisc", "show", "dev", "eth0"]).output());
        let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
        let netem = shown.split("qdisc ").find(|qdisc| qdisc.starts_with("netem 10: parent 1:1"))?.to_owned();
        let sent = netem.split("Sent ").nth(1)?.split(' ').nth(2)?.parse::<usize>().unwrap();
        Some((netem.contains("delay 400ms"), sent))
    };
    let (as_asked, before) = delayed().unwrap();
    assert!(as_asked && before > 0);
    took(&c);
    assert_eq!(delayed().unwrap(), (true, before), "another peer's are in nobody's way");

    instance.start().await;
    let networks = instance.networks();
    assert_eq!(networks.impairment("a", &lose(100, &[block(&c)], &[])).await.unwrap(), LATENCY);
    assert_eq!(networks.impairment("a", &STOP_LATENCY).await.unwrap(), LATENCY);
    assert_eq!(networks.impairment("a", &ImpairmentChange::Look).await.unwrap(), None);
    assert_eq!(delayed(), None);
    // A queue that a crash left is in nobody's way.
    let left = ["qdisc", "add", "dev", "eth0", "root", "handle", "1:", "prio"];
    assert!(in_namespace(&a.path, || Command::new("tc").args(left).status()).unwrap().success());
    assert_eq!(networks.impairment("a", &late).await.unwrap(), None);
    assert!(took(&b) >= DELAY);
}
