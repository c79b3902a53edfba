//! What a request asks for. Pure.

#[cfg(test)]
mod tests;

use gantry_domain::address_block::{AddressBlock, address_block};
use gantry_runtime::network::{
    Blackhole, DELAY_MAX_MS, Direction, Effect, FaultChange, Impairment, ImpairmentChange, ImpairmentKind, Protocol,
};
use serde::{Deserialize, de::DeserializeOwned};

use crate::endpoint::route::{FaultAction, FaultKind};

/// A rule of the packet filter each.
const SOURCES_MAX: usize = 100;

/// What is to become of which fault.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Blackhole(Blackhole, FaultChange),
    Impairment(ImpairmentKind, ImpairmentChange),
}

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
    #[error("parameter {0} has more than {SOURCES_MAX} entries")]
    TooMany(&'static str),
}

/// As the container agent does, this asks for the body of a blackhole always, and for another only when it is to start.
pub(super) fn read(kind: FaultKind, action: FaultAction, body: &[u8]) -> Result<Wanted, Invalid> {
    let impairment = match kind {
        FaultKind::BlackholePort => return blackhole(action, body),
        FaultKind::Latency => ImpairmentKind::Latency,
        FaultKind::PacketLoss => ImpairmentKind::PacketLoss,
    };
    let change = match (action, impairment) {
        (FaultAction::Start, ImpairmentKind::Latency) => ImpairmentChange::Start(latency(body)?),
        (FaultAction::Start, ImpairmentKind::PacketLoss) => ImpairmentChange::Start(packet_loss(body)?),
        (FaultAction::Stop, kind) => ImpairmentChange::Stop(kind),
        (FaultAction::Status, _) => ImpairmentChange::Look,
    };
    Ok(Wanted::Impairment(impairment, change))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BlackholeBody {
    port: Option<u16>,
    protocol: Option<String>,
    traffic_type: Option<String>,
    sources_to_filter: Option<Vec<String>>,
}

fn blackhole(action: FaultAction, body: &[u8]) -> Result<Wanted, Invalid> {
    let body: BlackholeBody = parse(body)?;
    let port = body.port.ok_or(Invalid::Missing("Port"))?;
    let given =
        |text: Option<String>, parameter| text.filter(|text| !text.is_empty()).ok_or(Invalid::Missing(parameter));
    let (protocol, direction) = (given(body.protocol, "Protocol")?, given(body.traffic_type, "TrafficType")?);
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
    let spared = blocks(body.sources_to_filter, "SourcesToFilter")?;
    let change = match action {
        FaultAction::Start => FaultChange::Start(spared),
        FaultAction::Stop => FaultChange::Stop,
        FaultAction::Status => FaultChange::Look,
    };
    Ok(Wanted::Blackhole(Blackhole { direction, protocol, port }, change))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LatencyBody {
    delay_milliseconds: Option<u64>,
    jitter_milliseconds: Option<u64>,
    #[serde(flatten)]
    peers: PeersBody,
}

fn latency(body: &[u8]) -> Result<Impairment, Invalid> {
    let body: LatencyBody = parse(body)?;
    let milliseconds = |value: Option<u64>, parameter| {
        let value = value.ok_or(Invalid::Missing(parameter))?;
        let counted = u32::try_from(value).ok().filter(|value| *value <= DELAY_MAX_MS);
        counted.ok_or(Invalid::Value { value: value.to_string(), parameter })
    };
    let delay_ms = milliseconds(body.delay_milliseconds, "DelayMilliseconds")?;
    let jitter_ms = milliseconds(body.jitter_milliseconds, "JitterMilliseconds")?;
    if (delay_ms, jitter_ms) == (0, 0) {
        return Err(Invalid::Value { value: "0".to_owned(), parameter: "DelayMilliseconds" });
    }
    body.peers.impaired(Effect::Latency { delay_ms, jitter_ms })
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PacketLossBody {
    loss_percent: Option<u64>,
    #[serde(flatten)]
    peers: PeersBody,
}

fn packet_loss(body: &[u8]) -> Result<Impairment, Invalid> {
    let body: PacketLossBody = parse(body)?;
    let percent = body.loss_percent.ok_or(Invalid::Missing("LossPercent"))?;
    let percent = self::percent(percent, "LossPercent")?;
    body.peers.impaired(Effect::PacketLoss { percent })
}

/// Whom a fault is about.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PeersBody {
    sources: Option<Vec<String>>,
    sources_to_filter: Option<Vec<String>>,
    flows_percent: Option<u64>,
}

impl PeersBody {
    fn impaired(self, effect: Effect) -> Result<Impairment, Invalid> {
        let sources = self.sources.filter(|sources| !sources.is_empty()).ok_or(Invalid::Missing("Sources"))?;
        Ok(Impairment {
            effect,
            peers: blocks(Some(sources), "Sources")?,
            spared: blocks(self.sources_to_filter, "SourcesToFilter")?,
            flows_percent: percent(self.flows_percent.unwrap_or(100), "FlowsPercent")?,
        })
    }
}

fn parse<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, Invalid> {
    if body.trim_ascii().is_empty() {
        return Err(Invalid::NoBody);
    }
    Ok(serde_json::from_slice::<Option<T>>(body)?.unwrap_or_default())
}

fn percent(value: u64, parameter: &'static str) -> Result<u8, Invalid> {
    let fits = u8::try_from(value).ok().filter(|percent| (1..=100).contains(percent));
    fits.ok_or(Invalid::Value { value: value.to_string(), parameter })
}

/// Addresses of IPv6 are taken and say nothing: tasks have none.
fn blocks(sources: Option<Vec<String>>, parameter: &'static str) -> Result<Vec<AddressBlock>, Invalid> {
    let sources = sources.unwrap_or_default();
    if sources.len() > SOURCES_MAX {
        return Err(Invalid::TooMany(parameter));
    }
    let mut blocks = Vec::new();
    for source in sources {
        match address_block(&source) {
            Some(block) => blocks.extend(block),
            None => return Err(Invalid::Value { value: source, parameter }),
        }
    }
    Ok(blocks)
}
