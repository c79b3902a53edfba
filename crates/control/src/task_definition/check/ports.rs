//! Port mappings.

use std::collections::{BTreeMap, BTreeSet};

use gantry_api::ecs::{NetworkMode, PortMapping};
use gantry_domain::limits::{CONTAINER_PORT_RANGES_MAX, PORT_NAME_LENGTH_MAX};

use crate::task_definition::document::{Container, Document, list, text};
use crate::task_definition::invalid::Invalid;

pub(super) fn check(container: Container<'_>) -> Result<(), Invalid> {
    let mappings = list(&container.definition.port_mappings);
    if *container.document.network_mode() == NetworkMode::None && !mappings.is_empty() {
        return Err(Invalid::PortMappingsWithoutNetwork);
    }
    for mapping in mappings {
        container.ensure(mapping.name.as_deref().is_none_or(is_port_name), "portMappings.name")?;
        match &mapping.container_port_range {
            Some(range) => check_range_mapping(container, mapping, range)?,
            None => check_port(container, mapping)?,
        }
    }
    let ranges = mappings.iter().filter(|mapping| mapping.container_port_range.is_some()).count();
    container.ensure(ranges <= CONTAINER_PORT_RANGES_MAX, "containerPortRange")?;
    check_protocols(container, mappings)?;
    check_overlaps(container, mappings)
}

fn is_port_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    (1..=PORT_NAME_LENGTH_MAX).contains(&name.len()) && !name.starts_with('-') && name.bytes().all(allowed)
}

fn check_port(container: Container<'_>, mapping: &PortMapping) -> Result<(), Invalid> {
    let port = mapping.container_port.unwrap_or(0);
    container.ensure((1..=65_535).contains(&port), "containerPort")?;
    container.ensure(mapping.host_port.is_none_or(|host| (0..=65_535).contains(&host)), "hostPort")?;
    let mode = container.document.network_mode();
    let same = matches!(mode, NetworkMode::Awsvpc | NetworkMode::Host);
    // 0 asks for a dynamic port, which these modes do not have.
    if same && mapping.host_port.is_some_and(|host| host != port) {
        return Err(Invalid::HostPort { mode: mode.to_string() });
    }
    Ok(())
}

fn check_range_mapping(container: Container<'_>, mapping: &PortMapping, range: &str) -> Result<(), Invalid> {
    container.ensure(parse_range(range).is_some() && mapping.container_port.is_none(), "containerPortRange")?;
    container.ensure(mapping.host_port.is_none(), "hostPort")?;
    match container.document.network_mode() {
        NetworkMode::Bridge | NetworkMode::Awsvpc => Ok(()),
        mode => Err(Invalid::PortRangeMode { mode: mode.to_string() }),
    }
}

/// `"8000-8010"`, first below last.
fn parse_range(range: &str) -> Option<(u16, u16)> {
    let (first, last) = range.split_once('-')?;
    let port = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten().filter(|&port| port > 0)
    };
    let (first, last) = (port(first)?, port(last)?);
    (first < last).then_some((first, last))
}

fn protocol(mapping: &PortMapping) -> &str {
    mapping.protocol.as_ref().map_or("tcp", |protocol| protocol.as_str())
}

fn check_protocols(container: Container<'_>, mappings: &[PortMapping]) -> Result<(), Invalid> {
    let mut protocols = BTreeMap::new();
    for (port, mapping) in mappings.iter().filter_map(|mapping| Some((mapping.container_port?, mapping))) {
        if *protocols.entry(port).or_insert(protocol(mapping)) != protocol(mapping) {
            return Err(Invalid::TwoProtocols { port, container: container.name().to_owned() });
        }
    }
    Ok(())
}

/// Ranges may touch neither each other nor a single port of the same protocol.
fn check_overlaps(container: Container<'_>, mappings: &[PortMapping]) -> Result<(), Invalid> {
    let mut spans: Vec<(&str, i32, i32, bool)> = mappings
        .iter()
        .filter_map(|mapping| {
            let range = mapping.container_port_range.as_deref().and_then(parse_range);
            let (first, last) = match range {
                Some((first, last)) => (i32::from(first), i32::from(last)),
                None => (mapping.container_port?, mapping.container_port?),
            };
            Some((protocol(mapping), first, last, range.is_some()))
        })
        .collect();
    spans.sort_unstable();
    let overlap =
        |pair: &[(&str, i32, i32, bool)]| pair[0].0 == pair[1].0 && pair[0].2 >= pair[1].1 && (pair[0].3 || pair[1].3);
    match spans.windows(2).any(overlap) {
        true => Err(Invalid::PortOverlap { container: container.name().to_owned() }),
        false => Ok(()),
    }
}

/// Service Connect addresses a port of the task by its name.
pub(super) fn check_names(document: Document<'_>) -> Result<(), Invalid> {
    let mut names = BTreeSet::new();
    for container in document.containers() {
        for mapping in list(&container.definition.port_mappings) {
            let name = text(&mapping.name);
            if !name.is_empty() && !names.insert(name) {
                return Err(Invalid::DuplicatePortName { name: name.to_owned() });
            }
        }
    }
    Ok(())
}
