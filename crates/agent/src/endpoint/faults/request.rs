//! What the body of a request says. Pure.

use std::net::{IpAddr, Ipv4Addr};

use gantry_runtime::network::{Blackhole, Block, Direction, Protocol};
use serde::Deserialize;

/// A rule of the packet filter each.
const SPARED_MAX: usize = 100;

/// In the container agent's words.
#[derive(Debug, thiserror::Error)]
pub(super) enum Invalid {
    #[error("required request body is missing")]
    NoBody,
    #[error("{0}")]
    Malformed(#[from] serde_json::Error),
    #[error("required parameter {0} is missing")]
    Missing(&'static str),
    #[error("invalid value {value} for parameter {parameter}")]
    Value { value: String, parameter: &'static str },
    /// Ours: the container agent has no limit.
    #[error("parameter SourcesToFilter has more than {SPARED_MAX} entries")]
    TooMany,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wanted {
    port: Option<u16>,
    protocol: Option<String>,
    traffic_type: Option<String>,
    sources_to_filter: Option<Vec<String>>,
}

/// Which blackhole is meant, and which peers it spares.
pub(super) fn blackhole(body: &[u8]) -> Result<(Blackhole, Vec<Block>), Invalid> {
    if body.trim_ascii().is_empty() {
        return Err(Invalid::NoBody);
    }
    let wanted = serde_json::from_slice::<Option<Wanted>>(body)?.unwrap_or_default();
    let port = wanted.port.ok_or(Invalid::Missing("Port"))?;
    let given =
        |text: Option<String>, parameter| text.filter(|text| !text.is_empty()).ok_or(Invalid::Missing(parameter));
    let (protocol, direction) = (given(wanted.protocol, "Protocol")?, given(wanted.traffic_type, "TrafficType")?);
    let protocol = match protocol.as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return Err(Invalid::Value { value: protocol, parameter: "Protocol" }),
    };
    let direction = match direction.as_str() {
        "ingress" => Direction::Ingress,
        "egress" => Direction::Egress,
        _ => return Err(Invalid::Value { value: direction, parameter: "TrafficType" }),
    };
    let spared = spared(wanted.sources_to_filter.unwrap_or_default(), "SourcesToFilter")?;
    Ok((Blackhole { direction, protocol, port }, spared))
}

/// Addresses of IPv6 are taken and say nothing: tasks have none.
fn spared(sources: Vec<String>, parameter: &'static str) -> Result<Vec<Block>, Invalid> {
    if sources.len() > SPARED_MAX {
        return Err(Invalid::TooMany);
    }
    let mut blocks = Vec::new();
    for source in sources {
        match block(&source) {
            Some((IpAddr::V4(address), prefix_length)) => blocks.push(Block { address, prefix_length }),
            Some((IpAddr::V6(_), _)) => {}
            None => return Err(Invalid::Value { value: source, parameter }),
        }
    }
    Ok(blocks)
}

/// An address, or a block in CIDR notation.
fn block(text: &str) -> Option<(IpAddr, u8)> {
    let longest = |address: &IpAddr| if address.is_ipv4() { Ipv4Addr::BITS } else { std::net::Ipv6Addr::BITS };
    let (address, prefix_length) = match text.split_once('/') {
        None => {
            let address: IpAddr = text.parse().ok()?;
            (address, longest(&address))
        }
        Some((address, prefix_length)) => {
            let digits = !prefix_length.is_empty() && prefix_length.bytes().all(|byte| byte.is_ascii_digit());
            (address.parse().ok()?, prefix_length.parse().ok().filter(|_| digits)?)
        }
    };
    let length = u8::try_from(prefix_length).ok().filter(|_| prefix_length <= longest(&address))?;
    Some((address, length))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_says_which_port_and_whom_to_spare() {
        let body = json!({"Port": 5432, "Protocol": "udp", "TrafficType": "ingress",
            "SourcesToFilter": ["10.0.0.7", "10.1.0.0/16", "0.0.0.0/0", "2001:db8::1", "2001:db8::/32"]});
        let (hole, spared) = blackhole(body.to_string().as_bytes()).unwrap();
        assert_eq!(hole, Blackhole { direction: Direction::Ingress, protocol: Protocol::Udp, port: 5432 });
        let block = |address: [u8; 4], prefix_length| Block { address: address.into(), prefix_length };
        assert_eq!(spared, [block([10, 0, 0, 7], 32), block([10, 1, 0, 0], 16), block([0; 4], 0)]);
        let body = br#"{"Port": 1, "Protocol": "tcp", "TrafficType": "egress", "SourcesToFilter": null, "Other": 1}"#;
        assert_eq!(blackhole(body).unwrap().1, []);
    }

    #[test]
    fn what_is_wrong_is_said_in_the_agents_words() {
        let sparing = |source: &str| {
            json!({"Port": 1, "Protocol": "tcp", "TrafficType": "egress", "SourcesToFilter": [source]}).to_string()
        };
        let no = |source: &str| format!("invalid value {source} for parameter SourcesToFilter");
        for (body, expected) in [
            ("", "required request body is missing".to_owned()),
            (" \n", "required request body is missing".to_owned()),
            ("null", "required parameter Port is missing".to_owned()),
            ("{}", "required parameter Port is missing".to_owned()),
            (r#"{"Port": 1}"#, "required parameter Protocol is missing".to_owned()),
            (r#"{"Port": 1, "Protocol": ""}"#, "required parameter Protocol is missing".to_owned()),
            (r#"{"Port": 1, "Protocol": "tcp"}"#, "required parameter TrafficType is missing".to_owned()),
            (
                r#"{"Port": 1, "Protocol": "icmp", "TrafficType": "egress"}"#,
                "invalid value icmp for parameter Protocol".to_owned(),
            ),
            (
                r#"{"Port": 1, "Protocol": "tcp", "TrafficType": "both"}"#,
                "invalid value both for parameter TrafficType".to_owned(),
            ),
            (&sparing("example.com"), no("example.com")),
            (&sparing("10.0.0.0/33"), no("10.0.0.0/33")),
            (&sparing("10.0.0.0/+8"), no("10.0.0.0/+8")),
            (&sparing("10.0.0.0/"), no("10.0.0.0/")),
            (&sparing("::/129"), no("::/129")),
            (&sparing(""), no("")),
        ] {
            assert_eq!(blackhole(body.as_bytes()).unwrap_err().to_string(), expected, "{body}");
        }
        for body in ["{", r#"{"Port": 65536}"#, r#"{"Port": "80"}"#, "[1]"] {
            assert!(matches!(blackhole(body.as_bytes()), Err(Invalid::Malformed(_))), "{body}");
        }
        let many = vec!["10.0.0.1"; SPARED_MAX + 1];
        let body = json!({"Port": 1, "Protocol": "tcp", "TrafficType": "egress", "SourcesToFilter": many});
        assert!(matches!(blackhole(body.to_string().as_bytes()), Err(Invalid::TooMany)));
    }
}
