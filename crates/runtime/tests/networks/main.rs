//! Networks of this host, made for real and talked through. Every test has its own bridge, table and subnet.
#![allow(clippy::unwrap_used)]

mod endpoint;
mod faults;
mod impairments;
mod proxy;
mod publishing;
mod restarts;

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    path::Path,
    process::Command,
    time::Duration,
};

use gantry_runtime::network::{
    Interface, LinuxNetworks, NetworkError, NetworkNamespace, NetworkOptions, NetworkRequest, Networks, Protocol,
    Publish, TASK_ENDPOINT, in_namespace,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// One instance, removed from the host when the test ends.
struct Instance {
    directory: tempfile::TempDir,
    networks: Option<LinuxNetworks>,
}

impl Instance {
    async fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test needs root");
        let mut instance = Self { directory: tempfile::tempdir().unwrap(), networks: None };
        instance.start().await;
        instance
    }

    fn options(&self) -> NetworkOptions {
        NetworkOptions::for_data_dir(self.directory.path())
    }

    /// Starts it again, as after the agent died: nothing is told to anybody before.
    async fn start(&mut self) {
        self.networks = None;
        let root = self.directory.path().join("networks");
        self.networks = Some(LinuxNetworks::open(root, self.options()).await.unwrap());
    }

    fn networks(&self) -> &LinuxNetworks {
        self.networks.as_ref().unwrap()
    }

    async fn bridge(&self, key: &str) -> NetworkNamespace {
        self.networks().create(key, &NetworkRequest::Bridge).await.unwrap()
    }

    async fn publish(&self, key: &str, ports: &[Publish]) -> Vec<u16> {
        let published = self.networks().publish(key, ports).await.unwrap();
        published.iter().map(|port| port.host_port).collect()
    }

    fn table(&self) -> Option<String> {
        // By number: the names of protocols are in a file that not every machine has.
        let arguments = ["--numeric-protocol", "list", "table", "ip", &self.options().table];
        let output = Command::new("nft").args(arguments).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let Some(networks) = self.networks.take() else { return };
        let tear_down = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(networks.tear_down()).unwrap();
        };
        std::thread::spawn(tear_down).join().unwrap();
        assert_eq!(self.table(), None);
        assert!(!interfaces().contains(&self.options().bridge));
    }
}

fn interfaces() -> Vec<String> {
    std::fs::read_dir("/sys/class/net").unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

fn v4(namespace: &NetworkNamespace) -> Ipv4Addr {
    match namespace.address {
        Some(IpAddr::V4(address)) => address,
        other => panic!("{other:?}"),
    }
}

fn gateway(namespace: &NetworkNamespace) -> Ipv4Addr {
    match namespace.gateway {
        Some(IpAddr::V4(address)) => address,
        other => panic!("{other:?}"),
    }
}

fn tcp(host_port: u16, container_port: u16) -> Publish {
    Publish { host_port, container_port, protocol: Protocol::Tcp }
}

fn udp(host_port: u16, container_port: u16) -> Publish {
    Publish { host_port, container_port, protocol: Protocol::Udp }
}

/// Answers every connection to `port` inside with `name` and the peer's address.
fn serve(namespace: &Path, port: u16, name: &str) {
    let listener = in_namespace(namespace, || TcpListener::bind(("0.0.0.0", port))).unwrap();
    let name = name.to_owned();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let peer = connection.peer_addr().unwrap().ip();
            let _ = write!(connection, "{name} {peer}");
        }
    });
}

fn serve_udp(namespace: &Path, port: u16, name: &str) {
    let socket = in_namespace(namespace, || UdpSocket::bind(("0.0.0.0", port))).unwrap();
    let name = name.to_owned();
    std::thread::spawn(move || {
        let mut buffer = [0; 100];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(name.as_bytes(), peer);
        }
    });
}

fn ask(address: impl Into<SocketAddr>) -> io::Result<String> {
    let mut answer = String::new();
    TcpStream::connect_timeout(&address.into(), PATIENCE)?.read_to_string(&mut answer)?;
    Ok(answer)
}

fn ask_from(namespace: &Path, address: SocketAddrV4) -> io::Result<String> {
    in_namespace(namespace, || ask(address))
}

/// Sends until an answer comes: packets may be lost while the other side starts.
fn ask_udp(socket: &UdpSocket, address: SocketAddrV4) -> io::Result<String> {
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let mut buffer = [0; 100];
    for _ in 0..50 {
        socket.send_to(b"hello", address)?;
        if let Ok(length) = socket.recv(&mut buffer) {
            return Ok(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// An address of the host that is not a loopback one.
fn host_address() -> Ipv4Addr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Sends nothing: the kernel only picks the address it would use.
    if socket.connect("192.0.2.1:9").is_err() {
        return Ipv4Addr::LOCALHOST;
    }
    match socket.local_addr().unwrap() {
        SocketAddr::V4(address) => *address.ip(),
        SocketAddr::V6(_) => Ipv4Addr::LOCALHOST,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_has_loopback_address_and_route() {
    let instance = Instance::new().await;
    let a = instance.bridge("task-a").await;
    assert_eq!(instance.bridge("task-a").await, a, "asking again changes nothing");
    let b = instance.bridge("task-b").await;
    assert_ne!(a.address, b.address);
    serve(&a.path, 80, "a");
    assert_eq!(ask_from(&a.path, SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80)).unwrap(), "a 127.0.0.1");
    assert_eq!(ask_from(&b.path, SocketAddrV4::new(v4(&a), 80)).unwrap(), format!("a {}", v4(&b)));
    assert_eq!(ask(SocketAddrV4::new(v4(&a), 80)).unwrap(), format!("a {}", gateway(&a)));

    let endpoint = in_namespace(&a.path, || TcpListener::bind((TASK_ENDPOINT, 80))).unwrap_err();
    assert_eq!(endpoint.kind(), io::ErrorKind::AddrInUse, "the address is there");
    in_namespace(&b.path, || TcpListener::bind((TASK_ENDPOINT, 80))).unwrap();
    let unprivileged =
        in_namespace(&a.path, || std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start"));
    assert_eq!(unprivileged.unwrap().trim(), "0");

    let mut keys = instance.networks().list().await.unwrap();
    keys.sort();
    assert_eq!(keys, ["task-a", "task-b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_the_outside_carry_the_hosts_address() {
    let (instance, outside) = (Instance::new().await, Instance::new().await);
    let inside = instance.bridge("inside").await;
    let server = outside.bridge("server").await;
    serve(&server.path, 80, "server");
    // For the first instance the second one's network is somewhere outside.
    let answer = ask_from(&inside.path, SocketAddrV4::new(v4(&server), 80)).unwrap();
    assert_eq!(answer, format!("server {}", gateway(&server)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_without_network_has_only_loopback() {
    let instance = Instance::new().await;
    let none = instance.networks().create("none", &NetworkRequest::None).await.unwrap();
    assert_eq!((none.address, none.gateway), (None, None));
    serve(&none.path, 80, "none");
    assert!(ask_from(&none.path, SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80)).is_ok());
    let unreachable = ask_from(&none.path, SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 80)).unwrap_err();
    assert_eq!(unreachable.kind(), io::ErrorKind::NetworkUnreachable);
    assert!(instance.networks().publish("none", &[tcp(0, 80)]).await.is_err());
    assert!(instance.networks().publish("none", &[]).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interface_is_as_the_control_plane_says() {
    let instance = Instance::new().await;
    // Derived from the instance's own subnet, so that tests side by side do not meet.
    let [_, b, c, _] = instance.options().bridge_address.octets();
    let interface = |subnet: &str, third: u8, last: u8| Interface {
        subnet_id: subnet.to_owned(),
        address: Ipv4Addr::new(100, b, c | third, last),
        prefix_length: 24,
        gateway: Ipv4Addr::new(100, b, c | third, 1),
        mac: format!("02:00:00:00:{third:02x}:{last:02x}"),
        proxy: None,
    };
    let create = async |key: &str, interface: Interface| {
        instance.networks().create(key, &NetworkRequest::Awsvpc(interface)).await
    };
    let a = create("a", interface("subnet-1", 0, 10)).await.unwrap();
    let b = create("b", interface("subnet-1", 0, 11)).await.unwrap();
    let c = create("c", interface("subnet-2", 1, 10)).await.unwrap();
    assert_eq!((v4(&a).octets()[3], v4(&c).octets()[3]), (10, 10));
    let mac = in_namespace(&b.path, mac_of_eth0).unwrap();
    assert_eq!(mac, "02:00:00:00:00:0b");
    serve(&a.path, 80, "a");
    assert_eq!(ask_from(&b.path, SocketAddrV4::new(v4(&a), 80)).unwrap(), format!("a {}", v4(&b)), "same subnet");
    assert_eq!(ask_from(&c.path, SocketAddrV4::new(v4(&a), 80)).unwrap(), format!("a {}", v4(&c)), "other subnet");

    let bad = Interface { mac: "01:xx".to_owned(), ..interface("subnet-1", 0, 12) };
    assert!(matches!(create("bad", bad).await, Err(NetworkError::Kernel { .. })));
    assert!(!instance.networks().list().await.unwrap().contains(&"bad".to_owned()));
}

/// Asks the kernel, because /sys shows the interfaces of the namespace it was mounted in.
fn mac_of_eth0() -> io::Result<String> {
    let output = Command::new("ip").args(["-o", "link", "show", "eth0"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.split("link/ether ").nth(1).unwrap_or_default().split(' ').next().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_cannot_name_other_places() {
    let instance = Instance::new().await;
    for key in ["", ".", "..", "../x", "a/b", "a\0b", &"x".repeat(129)] {
        assert!(instance.networks().create(key, &NetworkRequest::Bridge).await.is_err(), "{key:?}");
        assert!(instance.networks().remove(key).await.is_err(), "{key:?}");
    }
    instance.networks().remove("never-made").await.unwrap();
    assert!(instance.networks().publish("never-made", &[tcp(0, 80)]).await.is_err());
}
