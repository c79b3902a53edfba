//! What `proxyConfiguration` asks for: which connections of a task are led to its proxy, as the CNI plug-in of App Mesh
//! leads them.

use std::{collections::BTreeMap, net::Ipv4Addr, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::address_block::{AddressBlock, address_block};

/// A rule of the packet filter each.
const ENTRIES_MAX: usize = 100;
/// Where tasks and machines find what is their own; no proxy stands before it.
const NEVER_REDIRECTED: [Ipv4Addr; 2] = [Ipv4Addr::new(169, 254, 170, 2), Ipv4Addr::new(169, 254, 169, 254)];

/// The proxy of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxy {
    /// Where connections from outside to the application's ports arrive.
    pub ingress_port: u16,
    /// Where connections of the task to others arrive.
    pub egress_port: u16,
    /// The application's ports.
    pub app_ports: Vec<u16>,
    /// Whose own connections go where they lead: the proxy's user.
    pub ignored_uid: Option<u32>,
    /// The same of a group.
    pub ignored_gid: Option<u32>,
    /// Connections to these addresses go where they lead.
    pub ignored_blocks: Vec<AddressBlock>,
    /// Connections to these ports, too.
    pub ignored_ports: Vec<u16>,
}

/// Why properties make no proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// Those that are missing.
    #[error("requires properties: {0}")]
    Missing(String),
    /// A property that there is not.
    #[error("has no property '{0}'")]
    Unknown(String),
    /// A value that means nothing.
    #[error("has the invalid value '{value}' for property {property}")]
    Value {
        /// Of which property.
        property: &'static str,
        /// The value, or the entry of it.
        value: String,
    },
    /// A list that is too long.
    #[error("has more than {ENTRIES_MAX} entries in property {0}")]
    TooMany(&'static str),
}

const APP_PORTS: &str = "AppPorts";
const INGRESS_PORT: &str = "ProxyIngressPort";
const EGRESS_PORT: &str = "ProxyEgressPort";
const IGNORED_UID: &str = "IgnoredUID";
const IGNORED_GID: &str = "IgnoredGID";
const IGNORED_IPS: &str = "EgressIgnoredIPs";
const IGNORED_PORTS: &str = "EgressIgnoredPorts";
const PROPERTIES: [&str; 7] =
    [APP_PORTS, INGRESS_PORT, EGRESS_PORT, IGNORED_UID, IGNORED_GID, IGNORED_IPS, IGNORED_PORTS];

/// Reads the properties; of one that is given twice, the last counts.
///
/// # Errors
/// [`ProxyError`] says what is wrong with the first that is.
pub fn proxy<'a>(properties: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Proxy, ProxyError> {
    let given: BTreeMap<&str, &str> = properties.into_iter().collect();
    if let Some(unknown) = given.keys().find(|name| !PROPERTIES.contains(name)) {
        return Err(ProxyError::Unknown((*unknown).to_owned()));
    }
    let value = |name: &str| given.get(name).map_or("", |value| value.trim());
    let has = |name: &str| !value(name).is_empty();
    let mut missing: Vec<&str> = [APP_PORTS, INGRESS_PORT, EGRESS_PORT].into_iter().filter(|name| !has(name)).collect();
    if !has(IGNORED_UID) && !has(IGNORED_GID) {
        missing.push("IgnoredUID or IgnoredGID");
    }
    if !missing.is_empty() {
        return Err(ProxyError::Missing(missing.join(", ")));
    }
    let id = |name| if has(name) { number(name, value(name)).map(Some) } else { Ok(None) };
    let mut ignored_blocks: Vec<AddressBlock> = NEVER_REDIRECTED.map(AddressBlock::of).to_vec();
    for entry in entries(IGNORED_IPS, value(IGNORED_IPS))? {
        let block = address_block(entry).ok_or_else(|| invalid(IGNORED_IPS, entry))?;
        ignored_blocks.extend(block.filter(|block| !ignored_blocks.contains(block)));
    }
    Ok(Proxy {
        ingress_port: port(INGRESS_PORT, value(INGRESS_PORT))?,
        egress_port: port(EGRESS_PORT, value(EGRESS_PORT))?,
        app_ports: ports(APP_PORTS, value(APP_PORTS))?,
        ignored_uid: id(IGNORED_UID)?,
        ignored_gid: id(IGNORED_GID)?,
        ignored_blocks,
        ignored_ports: ports(IGNORED_PORTS, value(IGNORED_PORTS))?,
    })
}

fn ports(property: &'static str, value: &str) -> Result<Vec<u16>, ProxyError> {
    entries(property, value)?.into_iter().map(|entry| port(property, entry)).collect()
}

/// The entries of a list with commas. One that is empty is none.
fn entries<'a>(property: &'static str, value: &'a str) -> Result<Vec<&'a str>, ProxyError> {
    let entries: Vec<&str> = value.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    if entries.len() > ENTRIES_MAX { Err(ProxyError::TooMany(property)) } else { Ok(entries) }
}

fn port(property: &'static str, value: &str) -> Result<u16, ProxyError> {
    number(property, value).and_then(|port| if port == 0 { Err(invalid(property, value)) } else { Ok(port) })
}

fn number<T: FromStr>(property: &'static str, value: &str) -> Result<T, ProxyError> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    value.parse().ok().filter(|_| digits).ok_or_else(|| invalid(property, value))
}

fn invalid(property: &'static str, value: &str) -> ProxyError {
    ProxyError::Value { property, value: value.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NEEDED: [(&str, &str); 4] =
        [("AppPorts", "80"), ("ProxyIngressPort", "15000"), ("ProxyEgressPort", "15001"), ("IgnoredUID", "1337")];

    fn with<'a>(more: &'a [(&'a str, &'a str)]) -> Result<Proxy, ProxyError> {
        proxy(NEEDED.iter().chain(more).copied())
    }

    #[test]
    fn all_properties_are_read() {
        let block = |address: [u8; 4], prefix_length| AddressBlock { address: address.into(), prefix_length };
        let always = [block([169, 254, 170, 2], 32), block([169, 254, 169, 254], 32)];
        let read = with(&[
            ("AppPorts", "80, 8080,,443"),
            ("IgnoredGID", "0"),
            ("EgressIgnoredIPs", "169.254.170.2, 10.0.0.0/8,2001:db8::1"),
            ("EgressIgnoredPorts", "22"),
        ]);
        let expected = Proxy {
            ingress_port: 15000,
            egress_port: 15001,
            app_ports: vec![80, 8080, 443],
            ignored_uid: Some(1337),
            ignored_gid: Some(0),
            ignored_blocks: [&always[..], &[block([10, 0, 0, 0], 8)]].concat(),
            ignored_ports: vec![22],
        };
        assert_eq!(read, Ok(expected));
        let least = with(&[("IgnoredGID", ""), ("EgressIgnoredIPs", ""), ("EgressIgnoredPorts", "")]).unwrap();
        assert_eq!((least.ignored_gid, least.ignored_ports), (None, vec![]));
        assert_eq!(least.ignored_blocks, always);
    }

    #[test]
    fn what_makes_no_proxy_is_named() {
        let said = |more: &[(&str, &str)]| with(more).unwrap_err().to_string();
        assert_eq!(
            proxy([("IgnoredUID", " ")]).unwrap_err().to_string(),
            "requires properties: AppPorts, ProxyIngressPort, ProxyEgressPort, IgnoredUID or IgnoredGID"
        );
        assert_eq!(said(&[("AppPort", "80")]), "has no property 'AppPort'");
        for (property, value, wrong) in [
            ("AppPorts", "80,http", "http"),
            ("AppPorts", "0", "0"),
            ("ProxyIngressPort", "65536", "65536"),
            ("ProxyEgressPort", "+1", "+1"),
            ("IgnoredUID", "envoy", "envoy"),
            ("IgnoredGID", "-1", "-1"),
            ("EgressIgnoredIPs", "10.0.0.0/33", "10.0.0.0/33"),
            ("EgressIgnoredPorts", "22;23", "22;23"),
        ] {
            let expected = format!("has the invalid value '{wrong}' for property {property}");
            assert_eq!(said(&[(property, value)]), expected);
        }
        let many = vec!["80"; ENTRIES_MAX + 1].join(",");
        assert_eq!(said(&[("AppPorts", &many)]), "has more than 100 entries in property AppPorts");
    }
}
