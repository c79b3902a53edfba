//! What a task is answered that asks for faults.

use std::net::Ipv4Addr;

use super::*;
use crate::task::Eni;

const HOLE: &str = r#"{"Port": 5432, "Protocol": "tcp", "TrafficType": "egress"}"#;

fn with_faults(network: TaskNetwork) -> TaskSpec {
    let mut spec = task(vec![container("app")]);
    spec.network = network;
    spec.about.fault_injection = true;
    spec
}

fn awsvpc() -> TaskNetwork {
    TaskNetwork::Awsvpc(Eni {
        attachment_id: "eni-1".into(),
        subnet_id: "subnet-1".into(),
        address: Ipv4Addr::new(10, 0, 1, 7),
        prefix_length: 24,
        gateway: Ipv4Addr::new(10, 0, 1, 1),
        mac: "02:00:00:00:00:01".into(),
        private_dns_name: "ip-10-0-1-7.ec2.internal".into(),
        proxy: None,
    })
}

/// Starts the task; what its faults are asked at.
async fn run(bed: &Bed, spec: &TaskSpec) -> String {
    bed.want(spec, false);
    bed.until_running().await;
    format!("POST {}/fault/v1", path(&variable(bed, spec, "ECS_AGENT_URI").unwrap()))
}

#[tokio::test]
async fn a_blackhole_runs_until_it_is_stopped_and_over_a_restart() {
    let mut bed = Bed::new().await;
    let spec = with_faults(awsvpc());
    let uri = run(&bed, &spec).await;
    let hole = |action: &str| format!("{uri}/network-blackhole-port/{action}");
    for (action, status) in [
        ("status", "not-running"),
        ("stop", "stopped"),
        ("start", "running"),
        ("start", "running"),
        ("status", "running"),
    ] {
        let at = bed.host.endpoint(spec.id()).unwrap();
        assert_eq!(ask(at, &hole(action), HOLE).await, (200, json!({ "Status": status })), "{action}");
    }
    bed.kill_agent().await;
    bed.start_agent().await;
    bed.want(&spec, false);
    bed.until_running().await;
    super::super::open(&bed.agent().host, &spec.arn, Some(spec.id())).await.unwrap();
    let at = bed.host.endpoint(spec.id()).unwrap();
    for (action, status) in [("status", "running"), ("stop", "stopped"), ("status", "not-running")] {
        assert_eq!(ask(at, &hole(action), HOLE).await, (200, json!({ "Status": status })), "{action}");
    }
}

const LATENCY: &str = r#"{"DelayMilliseconds": 100, "JitterMilliseconds": 10, "Sources": ["10.0.0.0/8"]}"#;
const LOSS: &str = r#"{"LossPercent": 30, "Sources": ["10.0.0.0/8"], "SourcesToFilter": ["10.0.0.7"]}"#;

#[tokio::test]
async fn one_of_latency_and_packet_loss_runs_at_a_time() {
    let mut bed = Bed::new().await;
    let spec = with_faults(awsvpc());
    let uri = run(&bed, &spec).await;
    let ok = |status: &str| (200, json!({ "Status": status }));
    let conflict = |what: &str| (409, json!({ "Error": format!("There is already one network {what} fault running") }));
    for (what, body, expected) in [
        ("network-latency/stop", "", ok("stopped")),
        ("network-packet-loss/status", "", ok("not-running")),
        ("network-packet-loss/start", LOSS, ok("running")),
        ("network-packet-loss/start", LOSS, conflict("packet loss")),
        ("network-latency/start", LATENCY, conflict("packet loss")),
        ("network-latency/status", "", ok("not-running")),
        ("network-latency/stop", "", ok("stopped")),
        ("network-packet-loss/status", "", ok("running")),
        // A blackhole is another matter.
        ("network-blackhole-port/start", HOLE, ok("running")),
        ("network-packet-loss/stop", "", ok("stopped")),
        ("network-blackhole-port/status", HOLE, ok("running")),
        ("network-latency/start", LATENCY, ok("running")),
        ("network-packet-loss/start", LOSS, conflict("latency")),
    ] {
        let at = bed.host.endpoint(spec.id()).unwrap();
        assert_eq!(ask(at, &format!("{uri}/{what}"), body).await, expected, "{what}");
    }
    bed.kill_agent().await;
    bed.start_agent().await;
    bed.want(&spec, false);
    bed.until_running().await;
    super::super::open(&bed.agent().host, &spec.arn, Some(spec.id())).await.unwrap();
    let at = bed.host.endpoint(spec.id()).unwrap();
    for (action, status) in [("status", "running"), ("stop", "stopped"), ("status", "not-running")] {
        assert_eq!(ask(at, &format!("{uri}/network-latency/{action}"), "").await, ok(status), "{action}");
    }
}

#[tokio::test]
async fn a_kernel_that_cannot_delay_packets_is_no_secret() {
    let bed = Bed::new().await;
    bed.host.lacks_netem();
    let uri = run(&bed, &with_faults(awsvpc())).await;
    let at = bed.host.endpoint(task(vec![]).id()).unwrap();
    let message = "network-latency is not supported on this container instance: its kernel has no netem";
    let answered = ask(at, &format!("{uri}/network-latency/start"), LATENCY).await;
    assert_eq!(answered, (500, json!({ "Error": message })));
    let answered = ask(at, &format!("{uri}/network-latency/status"), "").await;
    assert_eq!(answered, (200, json!({ "Status": "not-running" })));
}

#[tokio::test]
async fn faults_are_refused_in_the_agents_words() {
    let bed = Bed::new().await;
    let spec = with_faults(awsvpc());
    let uri = run(&bed, &spec).await;
    let at = bed.host.endpoint(spec.id()).unwrap();
    for (what, body, status, message) in [
        ("network-blackhole-port/start", "", 400, "required request body is missing"),
        ("network-blackhole-port/stop", "{}", 400, "required parameter Port is missing"),
        ("network-latency/start", "", 400, "required request body is missing"),
        ("network-packet-loss/start", "{}", 400, "required parameter LossPercent is missing"),
    ] {
        let answered = ask(at, &format!("{uri}/{what}"), body).await;
        assert_eq!(answered, (status, json!({ "Error": message })), "{what} {body}");
    }
    assert_eq!(ask(at, &format!("{uri}/disk/start"), HOLE).await.0, 404);
    assert_eq!(ask(at, "POST /api/nobody/fault/v1/network-latency/start", HOLE).await.0, 404);
    let get = format!("{uri}/network-blackhole-port/status").replacen("POST", "GET", 1);
    assert_eq!(ask(at, &get, HOLE).await.0, 404);
    let too_long = " ".repeat(20 << 10);
    assert_eq!(ask(at, &format!("{uri}/network-blackhole-port/start"), &too_long).await.0, 400);
}

#[tokio::test]
async fn a_task_in_the_network_of_the_host_has_no_faults() {
    let bed = Bed::new().await;
    let uri = run(&bed, &with_faults(TaskNetwork::Host)).await;
    let answered = ask(bed.host.endpoint("").unwrap(), &format!("{uri}/network-blackhole-port/start"), HOLE).await;
    let message = "host mode is not supported. Please use awsvpc mode.";
    assert_eq!(answered, (400, json!({ "Error": message })));
}
