//! The endpoint of tasks: who reaches it, beside whom.

use std::{
    io::Write,
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
};

use gantry_runtime::network::{Networks, TASK_ENDPOINT, in_namespace};

use super::{Instance, ask, ask_from, gateway, serve, v4};

const HTTP: SocketAddrV4 = SocketAddrV4::new(TASK_ENDPOINT, 80);

/// Answers every connection with `name`.
fn answer(listener: TcpListener, name: &'static str) {
    listener.set_nonblocking(false).unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let _ = write!(connection.unwrap(), "{name}");
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_reaches_its_own_endpoint_beside_a_web_server() {
    let instance = Instance::new().await;
    let (a, b) = (instance.bridge("a").await, instance.bridge("b").await);
    serve(&a.path, 80, "web");
    answer(instance.networks().endpoint(Some("a")).await.unwrap(), "endpoint of a");
    answer(instance.networks().endpoint(Some("b")).await.unwrap(), "endpoint of b");
    // Also when the program comes second.
    serve(&b.path, 80, "web of b");
    assert_eq!(ask_from(&a.path, HTTP).unwrap(), "endpoint of a");
    assert_eq!(ask_from(&b.path, HTTP).unwrap(), "endpoint of b");
    assert_eq!(ask_from(&a.path, SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80)).unwrap(), "web 127.0.0.1");
    assert_eq!(ask_from(&b.path, SocketAddrV4::new(v4(&a), 80)).unwrap(), format!("web {}", v4(&b)));
    // Neither neighbours nor the host come to the listener itself.
    for port in [51678, 51679] {
        assert!(ask_from(&b.path, SocketAddrV4::new(v4(&a), port)).is_err());
        assert!(ask(SocketAddrV4::new(v4(&a), port)).is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_opened_again_after_the_agent_died() {
    let mut instance = Instance::new().await;
    let a = instance.bridge("a").await;
    drop(instance.networks().endpoint(Some("a")).await.unwrap());
    assert!(ask_from(&a.path, HTTP).is_err());
    instance.start().await;
    answer(instance.networks().endpoint(Some("a")).await.unwrap(), "again");
    assert_eq!(ask_from(&a.path, HTTP).unwrap(), "again");
    assert!(instance.networks().endpoint(Some("none")).await.is_err());
    assert!(instance.networks().endpoint(Some("../etc")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_endpoint_of_the_host_is_for_the_host_alone() {
    let instance = Instance::new().await;
    let a = instance.bridge("a").await;
    let listener = instance.networks().endpoint(None).await.unwrap();
    assert!(instance.networks().endpoint(None).await.is_err(), "only one can have it");
    answer(listener, "endpoint of the host");
    assert_eq!(ask(HTTP).unwrap(), "endpoint of the host");
    // A namespace's own address is in the way; and without it, as with a route of its own, the host takes nothing.
    assert!(ask_from(&a.path, HTTP).is_err());
    let gateway = gateway(&a);
    for port in [80, 51679] {
        assert!(ask_from(&a.path, SocketAddrV4::new(gateway, port)).is_err());
    }
    let detoured = in_namespace(&a.path, || {
        let run = |arguments: &[&str]| std::process::Command::new("ip").args(arguments).status();
        run(&["address", "del", "169.254.170.2/32", "dev", "lo"])?;
        run(&["route", "add", "169.254.170.2", "via", &gateway.to_string()])?;
        ask(SocketAddrV4::new(TASK_ENDPOINT, 51679))
    });
    assert!(detoured.is_err(), "{detoured:?}");
}
