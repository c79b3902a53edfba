//! Published ports.

use std::{
    net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket},
    sync::Arc,
};

use gantry_runtime::network::{NetworkError, NetworkRequest, Networks};

use super::{Instance, ask, ask_from, ask_udp, gateway, host_address, interfaces, serve, serve_udp, tcp, udp, v4};

const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

#[tokio::test(flavor = "multi_thread")]
async fn a_published_port_answers_on_every_way_to_the_host() {
    let instance = Instance::new().await;
    let server = instance.bridge("server").await;
    let neighbour = instance.bridge("neighbour").await;
    serve(&server.path, 80, "server");
    let port = instance.publish("server", &[tcp(0, 80)]).await[0];

    let through = |address| SocketAddrV4::new(address, port);
    assert_eq!(ask(through(LOCALHOST)).unwrap(), format!("server {}", gateway(&server)));
    assert!(ask(through(host_address())).unwrap().starts_with("server "));
    assert!(ask(through(gateway(&server))).unwrap().starts_with("server "));
    assert!(ask_from(&neighbour.path, through(gateway(&server))).unwrap().starts_with("server "), "a neighbour");
    assert!(ask_from(&server.path, through(gateway(&server))).unwrap().starts_with("server "), "itself");

    let outside = Instance::new().await;
    let client = outside.bridge("client").await;
    let answer = ask_from(&client.path, through(gateway(&client))).unwrap();
    assert!(answer.starts_with("server "), "somebody outside");
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_is_published_and_follows_to_the_next_container() {
    let instance = Instance::new().await;
    let first = instance.bridge("first").await;
    serve_udp(&first.path, 53, "first");
    let port = instance.publish("first", &[udp(0, 53)]).await[0];
    let client = UdpSocket::bind("0.0.0.0:0").unwrap();
    let address = SocketAddrV4::new(LOCALHOST, port);
    assert_eq!(ask_udp(&client, address).unwrap(), "first");

    instance.networks().remove("first").await.unwrap();
    let second = instance.bridge("second").await;
    serve_udp(&second.path, 53, "second");
    assert_eq!(instance.publish("second", &[udp(port, 53)]).await, [port]);
    assert_eq!(ask_udp(&client, address).unwrap(), "second", "the same client, from the same port");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_somebody_has_is_taken() {
    let instance = Instance::new().await;
    instance.bridge("a").await;
    instance.bridge("b").await;
    let somebody = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = somebody.local_addr().unwrap().port();
    let error = instance.networks().publish("a", &[tcp(0, 80), tcp(port, 81)]).await.unwrap_err();
    assert_eq!(error.to_string(), format!("Bind for 0.0.0.0:{port} failed: port is already allocated"));
    assert!(!instance.table().unwrap().contains("elements = { tcp"), "all or nothing");
    drop(somebody);

    let port = instance.publish("a", &[tcp(0, 80)]).await[0];
    let error = instance.networks().publish("b", &[tcp(port, 80)]).await.unwrap_err();
    assert!(matches!(error, NetworkError::PortTaken { port: taken } if taken == port));
    assert!(TcpListener::bind(("0.0.0.0", port)).is_err(), "the host's processes cannot take it either");
    instance.publish("b", &[udp(port, 80)]).await;

    instance.networks().remove("a").await.unwrap();
    assert_eq!(instance.publish("b", &[tcp(port, 80)]).await, [port]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_container_port_is_published_for_many() {
    let instance = Instance::new().await;
    let mut ports = Vec::new();
    for key in ["a", "b", "c"] {
        let namespace = instance.bridge(key).await;
        serve(&namespace.path, 80, key);
        let published = instance.publish(key, &[tcp(0, 80), tcp(0, 8080)]).await;
        assert_eq!(instance.publish(key, &[tcp(0, 80), tcp(0, 8080)]).await, published, "asking again");
        assert_eq!(instance.publish(key, &[tcp(published[1], 8080)]).await, published[1..]);
        ports.push((key, published[0]));
    }
    for (key, port) in ports {
        assert!(ask(SocketAddrV4::new(LOCALHOST, port)).unwrap().starts_with(key));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_of_ports_stays_together() {
    let instance = Instance::new().await;
    let namespace = instance.bridge("a").await;
    let wanted: Vec<_> = (7000..7020).map(|port| tcp(0, port)).collect();
    let ports = instance.publish("a", &wanted).await;
    assert!(ports.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{ports:?}");
    serve(&namespace.path, 7019, "last");
    assert!(ask(SocketAddrV4::new(LOCALHOST, ports[19])).unwrap().starts_with("last"));
}

#[tokio::test(flavor = "multi_thread")]
async fn removal_leaves_nothing() {
    let instance = Instance::new().await;
    let namespace = instance.bridge("a").await;
    let port = instance.publish("a", &[tcp(0, 80), udp(0, 53)]).await[0];
    assert!(instance.table().unwrap().contains(&format!("6 . {port} : {} . 80", v4(&namespace))));
    let ours: Vec<_> = ports_of(&instance).collect();
    assert_eq!(ours.len(), 1);
    instance.networks().remove("a").await.unwrap();
    instance.networks().remove("a").await.unwrap();
    assert!(!instance.table().unwrap().contains("6 . "));
    assert!(!namespace.path.exists());
    assert!(TcpListener::bind(("0.0.0.0", port)).is_ok());
    assert!(instance.networks().list().await.unwrap().is_empty());
    // The kernel takes the interface away when it gets round to it.
    while interfaces().contains(&ours[0]) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let again = instance.bridge("a").await;
    assert_ne!(again.address, namespace.address, "addresses go round");
}

/// Interfaces in the instance's bridge.
fn ports_of(instance: &Instance) -> impl Iterator<Item = String> + use<> {
    let directory = format!("/sys/class/net/{}/brif", instance.options().bridge);
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_at_once() {
    let instance = Arc::new(Instance::new().await);
    let tasks = (0..50).map(|index| {
        let instance = instance.clone();
        tokio::spawn(async move {
            let key = format!("task-{index}");
            let namespace = instance.bridge(&key).await;
            let port = instance.publish(&key, &[tcp(0, 80)]).await[0];
            (key, namespace, port)
        })
    });
    let all = futures_util::future::try_join_all(tasks).await.unwrap();
    for (key, namespace, port) in &all {
        serve(&namespace.path, 80, key);
        let answer = ask(SocketAddrV4::new(LOCALHOST, *port)).unwrap();
        assert_eq!(answer.split(' ').next(), Some(key.as_str()));
    }
    let removals = all.into_iter().map(|(key, _, _)| {
        let instance = instance.clone();
        tokio::spawn(async move { instance.networks().remove(&key).await.unwrap() })
    });
    futures_util::future::try_join_all(removals).await.unwrap();
    assert!(instance.networks().list().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_requests_at_once_make_one_namespace() {
    let instance = Arc::new(Instance::new().await);
    let tasks = (0..10).map(|_| {
        let instance = instance.clone();
        tokio::spawn(async move { instance.networks().create("a", &NetworkRequest::Bridge).await.unwrap() })
    });
    let all = futures_util::future::try_join_all(tasks).await.unwrap();
    assert!(all.iter().all(|namespace| namespace == &all[0]));
    assert_eq!(ports_of(&instance).count(), 1);
}
