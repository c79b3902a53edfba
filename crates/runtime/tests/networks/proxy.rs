//! A task's proxy: which connections are led to it.

use std::{
    io::{self, Read},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    path::Path,
};

use gantry_domain::{address_block::AddressBlock, task_definition::Proxy};
use gantry_runtime::network::{Interface, NetworkNamespace, NetworkRequest, Networks, in_namespace};

use super::{Instance, PATIENCE, ask_from, serve, v4};

const USER: u32 = 1337;
const GROUP: u32 = 1338;

fn proxy() -> Proxy {
    Proxy {
        ingress_port: 15000,
        egress_port: 15001,
        app_ports: vec![80, 81],
        ignored_uid: Some(USER),
        ignored_gid: Some(GROUP),
        ignored_blocks: vec![AddressBlock { address: Ipv4Addr::new(169, 254, 0, 0), prefix_length: 16 }],
        ignored_ports: vec![22],
    }
}

async fn awsvpc(instance: &Instance, key: &str, last: u8, proxy: Option<Proxy>) -> NetworkNamespace {
    let [_, b, c, _] = instance.options().bridge_address.octets();
    let interface = Interface {
        subnet_id: "subnet-1".to_owned(),
        address: Ipv4Addr::new(100, b, c, last),
        prefix_length: 24,
        gateway: Ipv4Addr::new(100, b, c, 1),
        mac: format!("02:00:00:00:01:{last:02x}"),
        proxy,
    };
    instance.networks().create(key, &NetworkRequest::Awsvpc(interface)).await.unwrap()
}

/// Asks as somebody else: sockets belong to whom the thread was when it made them.
fn ask_as(namespace: &Path, user: u32, group: u32, address: SocketAddrV4) -> io::Result<String> {
    in_namespace(namespace, || {
        use rustix::thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
        let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
        set_thread_groups(&[])?;
        set_thread_res_gid(group, group, group)?;
        set_thread_res_uid(user, user, user)?;
        let mut answer = String::new();
        TcpStream::connect_timeout(&SocketAddr::V4(address), PATIENCE)?.read_to_string(&mut answer)?;
        Ok(answer)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_led_to_the_proxy_but_its_own_and_those_to_what_is_ignored() {
    let mut instance = Instance::new().await;
    let task = awsvpc(&instance, "task", 10, Some(proxy())).await;
    let peer = awsvpc(&instance, "peer", 11, None).await;
    for (port, name) in [(15000, "ingress"), (15001, "egress"), (80, "app"), (8000, "app")] {
        serve(&task.path, port, name);
    }
    for port in [22, 80, 8000] {
        serve(&peer.path, port, "peer");
    }
    let said = |answer: io::Result<String>| answer.unwrap().split(' ').next().unwrap().to_owned();
    let out = |port| said(ask_from(&task.path, SocketAddrV4::new(v4(&peer), port)));
    let from_outside = |port| said(ask_from(&peer.path, SocketAddrV4::new(v4(&task), port)));
    // Over a restart of the agent as well.
    for _ in 0..2 {
        assert_eq!((out(80), out(8000), out(22)), ("egress".into(), "egress".into(), "peer".into()));
        assert_eq!((from_outside(80), from_outside(8000)), ("ingress".into(), "app".into()));
        instance.start().await;
    }
    let to = SocketAddrV4::new(v4(&peer), 80);
    assert_eq!(said(ask_as(&task.path, USER, 1, to)), "peer");
    assert_eq!(said(ask_as(&task.path, 1, GROUP, to)), "peer");
    assert_eq!(said(ask_as(&task.path, 1, 1, to)), "egress");
    // What stays in the task is nobody's business.
    for own in [v4(&task), Ipv4Addr::LOCALHOST] {
        assert_eq!(said(ask_from(&task.path, SocketAddrV4::new(own, 80))), "app");
    }
    // An address that is ignored has nobody behind it here, least of all the proxy.
    let ignored = in_namespace(&task.path, || {
        TcpStream::connect_timeout(&SocketAddrV4::new(Ipv4Addr::new(169, 254, 170, 2), 81).into(), PATIENCE)
    });
    assert_eq!(ignored.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    let listener = instance.networks().endpoint(Some("task")).await.unwrap();
    listener.set_nonblocking(false).unwrap();
    let endpoint = std::thread::spawn(move || listener.accept().map(drop));
    in_namespace(&task.path, || {
        TcpStream::connect_timeout(&SocketAddrV4::new(Ipv4Addr::new(169, 254, 170, 2), 80).into(), PATIENCE)
    })
    .unwrap();
    endpoint.join().unwrap().unwrap();
}
