//! What an agent finds after it was killed, and after others have meddled.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
    process::Command,
};

use gantry_runtime::network::Networks;

use super::{Instance, ask, serve, tcp, v4};

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_adopted_after_a_restart() {
    let mut instance = Instance::new().await;
    let a = instance.bridge("a").await;
    serve(&a.path, 80, "a");
    let port = instance.publish("a", &[tcp(0, 80)]).await[0];
    instance.networks = None;
    assert!(ask(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).is_ok(), "nothing stops when the agent does");

    instance.start().await;
    assert_eq!(instance.networks().list().await.unwrap(), ["a"]);
    assert_eq!(instance.bridge("a").await, a);
    assert_eq!(instance.publish("a", &[tcp(0, 80)]).await, [port]);
    assert!(ask(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).unwrap().starts_with("a "));
    assert!(TcpListener::bind(("0.0.0.0", port)).is_err(), "the port is held again");
    let b = instance.bridge("b").await;
    assert_ne!(a.address, b.address);
    assert!(instance.networks().publish("b", &[tcp(port, 80)]).await.is_err());

    instance.networks().remove("a").await.unwrap();
    instance.start().await;
    assert_eq!(instance.networks().list().await.unwrap(), ["b"]);
    assert_eq!(instance.publish("b", &[tcp(port, 80)]).await, [port]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_leaves_only_files_which_are_cleared() {
    let mut instance = Instance::new().await;
    let a = instance.bridge("a").await;
    let port = instance.publish("a", &[tcp(0, 80)]).await[0];
    instance.networks = None;
    rustix::mount::unmount(&a.path, rustix::mount::UnmountFlags::DETACH).unwrap();
    let records = instance.directory.path().join("networks/records");
    fs::write(records.join("half.json"), "{\"key\":").unwrap();

    instance.start().await;
    assert!(instance.networks().list().await.unwrap().is_empty());
    assert_eq!(fs::read_dir(records).unwrap().count(), 0);
    assert!(!a.path.exists());
    instance.bridge("b").await;
    assert_eq!(instance.publish("b", &[tcp(port, 80)]).await, [port], "the port is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_lost_while_the_agent_was_down_stays_published() {
    let mut instance = Instance::new().await;
    let a = instance.bridge("a").await;
    serve(&a.path, 80, "a");
    let port = instance.publish("a", &[tcp(0, 80)]).await[0];
    instance.networks = None;
    let _thief = TcpListener::bind(("0.0.0.0", port)).unwrap();
    instance.start().await;
    assert!(ask(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).unwrap().starts_with("a "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flushed_packet_filter_and_a_deleted_bridge_are_made_again() {
    let mut instance = Instance::new().await;
    let a = instance.bridge("a").await;
    serve(&a.path, 80, "a");
    let first = instance.publish("a", &[tcp(0, 80)]).await[0];
    let run = |program: &str, arguments: &[&str]| {
        assert!(Command::new(program).args(arguments).status().unwrap().success());
    };
    run("nft", &["delete", "table", "ip", &instance.options().table]);
    let second = instance.publish("a", &[tcp(0, 80), tcp(0, 80)]).await[1];
    for port in [first, second] {
        assert!(ask(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).unwrap().starts_with("a "));
    }

    run("ip", &["link", "delete", &instance.options().bridge]);
    let b = instance.bridge("b").await;
    serve(&b.path, 80, "b");
    assert!(ask(SocketAddrV4::new(v4(&b), 80)).unwrap().starts_with("b "));
    instance.start().await;
    assert!(ask(SocketAddrV4::new(v4(&a), 80)).unwrap().starts_with("a "), "put back into the bridge");
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_side_by_side_do_not_meet() {
    let (one, two) = (Instance::new().await, Instance::new().await);
    let (a, b) = (one.bridge("same-key").await, two.bridge("same-key").await);
    assert_ne!(a.address, b.address);
    serve(&a.path, 80, "one");
    serve(&b.path, 80, "two");
    let port = one.publish("same-key", &[tcp(0, 80)]).await[0];
    assert!(two.networks().publish("same-key", &[tcp(port, 80)]).await.is_err());
    let other = two.publish("same-key", &[tcp(0, 80)]).await[0];
    drop(two);
    assert!(ask(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).unwrap().starts_with("one "));
    assert!(ask(SocketAddrV4::new(Ipv4Addr::LOCALHOST, other)).is_err());
}
