use serde_json::{Value, json};

use super::*;

fn start(kind: FaultKind, body: &Value) -> Result<Wanted, String> {
    read(kind, FaultAction::Start, body.to_string().as_bytes()).map_err(|invalid| invalid.to_string())
}

fn block(address: [u8; 4], prefix_length: u8) -> AddressBlock {
    AddressBlock { address: address.into(), prefix_length }
}

/// `body` with one more member, or another value of it.
fn with(body: &Value, member: &str, value: Value) -> Value {
    let mut changed = body.clone();
    changed[member] = value;
    changed
}

#[test]
fn a_blackhole_has_a_port_and_spares_peers() {
    let body = json!({"Port": 5432, "Protocol": "udp", "TrafficType": "ingress", "Other": 1,
        "SourcesToFilter": ["10.0.0.7", "10.1.0.0/16", "2001:db8::1"]});
    let hole = Blackhole { direction: Direction::Ingress, protocol: Protocol::Udp, port: 5432 };
    let spared = vec![block([10, 0, 0, 7], 32), block([10, 1, 0, 0], 16)];
    assert_eq!(start(FaultKind::BlackholePort, &body), Ok(Wanted::Blackhole(hole, FaultChange::Start(spared))));
    let nobody = with(&body, "SourcesToFilter", Value::Null);
    assert_eq!(start(FaultKind::BlackholePort, &nobody), Ok(Wanted::Blackhole(hole, FaultChange::Start(vec![]))));
    for (action, change) in [(FaultAction::Stop, FaultChange::Stop), (FaultAction::Status, FaultChange::Look)] {
        let wanted = read(FaultKind::BlackholePort, action, body.to_string().as_bytes()).unwrap();
        assert_eq!(wanted, Wanted::Blackhole(hole, change));
        assert!(matches!(read(FaultKind::BlackholePort, action, b""), Err(Invalid::NoBody)));
    }
}

#[test]
fn latency_and_packet_loss_have_peers() {
    let peers = json!({"Sources": ["10.0.0.0/8", "::/0"], "SourcesToFilter": ["10.0.0.7"]});
    let impaired = |effect, flows_percent| {
        let (peers, spared) = (vec![block([10, 0, 0, 0], 8)], vec![block([10, 0, 0, 7], 32)]);
        ImpairmentChange::Start(Impairment { effect, peers, spared, flows_percent })
    };
    let loss = with(&peers, "LossPercent", json!(1));
    assert_eq!(
        start(FaultKind::PacketLoss, &loss),
        Ok(Wanted::Impairment(ImpairmentKind::PacketLoss, impaired(Effect::PacketLoss { percent: 1 }, 100)))
    );
    let latency = with(&with(&peers, "DelayMilliseconds", json!(0)), "JitterMilliseconds", json!(DELAY_MAX_MS));
    let effect = Effect::Latency { delay_ms: 0, jitter_ms: DELAY_MAX_MS };
    assert_eq!(
        start(FaultKind::Latency, &with(&latency, "FlowsPercent", json!(30))),
        Ok(Wanted::Impairment(ImpairmentKind::Latency, impaired(effect, 30)))
    );
    // Only who starts one says which.
    for (action, change) in [
        (FaultAction::Stop, ImpairmentChange::Stop(ImpairmentKind::Latency)),
        (FaultAction::Status, ImpairmentChange::Look),
    ] {
        assert_eq!(read(FaultKind::Latency, action, b"").unwrap(), Wanted::Impairment(ImpairmentKind::Latency, change));
    }
}

#[test]
fn what_is_wrong_is_said_in_the_agents_words() {
    let missing = |parameter: &str| format!("required parameter {parameter} is missing");
    let no = |value: &str, parameter: &str| format!("invalid value {value} for parameter {parameter}");
    let hole = json!({"Port": 1, "Protocol": "tcp", "TrafficType": "egress"});
    let latency = json!({"DelayMilliseconds": 1, "JitterMilliseconds": 1, "Sources": ["10.0.0.1"]});
    let loss = json!({"LossPercent": 1, "Sources": ["10.0.0.1"]});
    let many = json!(vec!["10.0.0.1"; SOURCES_MAX + 1]);
    use FaultKind::{BlackholePort, Latency, PacketLoss};
    for (kind, body, expected) in [
        (BlackholePort, Value::Null, missing("Port")),
        (BlackholePort, json!({"Port": 1}), missing("Protocol")),
        (BlackholePort, with(&hole, "Protocol", json!("")), missing("Protocol")),
        (BlackholePort, with(&hole, "TrafficType", Value::Null), missing("TrafficType")),
        (BlackholePort, with(&hole, "Protocol", json!("icmp")), no("icmp", "Protocol")),
        (BlackholePort, with(&hole, "TrafficType", json!("both")), no("both", "TrafficType")),
        (BlackholePort, with(&hole, "SourcesToFilter", json!(["example.com"])), no("example.com", "SourcesToFilter")),
        (BlackholePort, with(&hole, "SourcesToFilter", json!([""])), no("", "SourcesToFilter")),
        (
            BlackholePort,
            with(&hole, "SourcesToFilter", many.clone()),
            "parameter SourcesToFilter has more than 100 entries".to_owned(),
        ),
        (Latency, json!({}), missing("DelayMilliseconds")),
        (Latency, json!({"DelayMilliseconds": 1}), missing("JitterMilliseconds")),
        (Latency, with(&latency, "Sources", Value::Null), missing("Sources")),
        (Latency, with(&latency, "Sources", json!([])), missing("Sources")),
        (Latency, with(&latency, "Sources", many), "parameter Sources has more than 100 entries".to_owned()),
        (Latency, with(&latency, "Sources", json!(["10.0.0.0/33"])), no("10.0.0.0/33", "Sources")),
        (Latency, with(&latency, "SourcesToFilter", json!(["x"])), no("x", "SourcesToFilter")),
        (Latency, with(&latency, "DelayMilliseconds", json!(240_001)), no("240001", "DelayMilliseconds")),
        (
            Latency,
            with(&latency, "JitterMilliseconds", json!(u64::MAX)),
            no("18446744073709551615", "JitterMilliseconds"),
        ),
        (
            Latency,
            with(&with(&latency, "DelayMilliseconds", json!(0)), "JitterMilliseconds", json!(0)),
            no("0", "DelayMilliseconds"),
        ),
        (Latency, with(&latency, "FlowsPercent", json!(0)), no("0", "FlowsPercent")),
        (PacketLoss, json!({"Sources": ["10.0.0.1"]}), missing("LossPercent")),
        (PacketLoss, with(&loss, "LossPercent", json!(0)), no("0", "LossPercent")),
        (PacketLoss, with(&loss, "LossPercent", json!(101)), no("101", "LossPercent")),
        (PacketLoss, with(&loss, "FlowsPercent", json!(101)), no("101", "FlowsPercent")),
        (PacketLoss, json!({"LossPercent": 1}), missing("Sources")),
    ] {
        assert_eq!(start(kind, &body).unwrap_err(), expected, "{body}");
    }
    for kind in [BlackholePort, Latency, PacketLoss] {
        for body in ["", " \n"] {
            assert!(matches!(read(kind, FaultAction::Start, body.as_bytes()), Err(Invalid::NoBody)));
        }
        for body in ["{", "[1]", r#"{"Port": 65536, "LossPercent": -1, "DelayMilliseconds": "1"}"#] {
            let read = read(kind, FaultAction::Start, body.as_bytes());
            assert!(matches!(read, Err(Invalid::Malformed(_))), "{kind:?} {body}");
        }
    }
}
