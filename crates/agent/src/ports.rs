//! Port mappings of a bridge container: which ports to publish, and what is reported of them. Pure.

use gantry_runtime::network::{Protocol, Publish};

use crate::{
    engine::state::Binding,
    task::{ContainerDefinition, PortMapping, TaskNetwork, TaskSpec},
};

/// First port of the blocks for ranges; below, the host's own dynamic ports are chosen by the runtime.
const RANGE_FIRST: u16 = 49_153;

/// What to publish for `mappings`. Ranges get the contiguous host ports from `range_base` on.
pub(crate) fn requests(mappings: &[PortMapping], range_base: u16) -> Vec<Publish> {
    let mut next = range_base;
    let mut requests = Vec::new();
    for mapping in mappings {
        let (first, last) = mapping.container_ports;
        for container_port in first..=last {
            let host_port = if mapping.is_range {
                let port = next;
                next = next.saturating_add(1);
                port
            } else {
                mapping.host_port.unwrap_or(0)
            };
            let protocol = if mapping.udp { Protocol::Udp } else { Protocol::Tcp };
            requests.push(Publish { host_port, container_port, protocol });
        }
    }
    requests
}

/// How many host ports the ranges of `mappings` take together.
pub(crate) fn range_size(mappings: &[PortMapping]) -> u16 {
    let sizes = mappings.iter().filter(|mapping| mapping.is_range);
    sizes.fold(0_u16, |sum, mapping| sum.saturating_add(mapping.container_ports.1 - mapping.container_ports.0 + 1))
}

/// The first base at or after `wanted` from which `size` ports fit, starting over at the end of the port space.
pub(crate) fn range_base(wanted: u16, size: u16) -> u16 {
    let fits = wanted >= RANGE_FIRST && wanted.checked_add(size).is_some();
    if fits { wanted } else { RANGE_FIRST }
}

/// What is reported after `published`, the answer to [`requests`] in the same order.
pub(crate) fn bindings(mappings: &[PortMapping], published: &[Publish]) -> Vec<Binding> {
    let mut published = published.iter();
    let mut bindings = Vec::new();
    for mapping in mappings {
        let (first, last) = mapping.container_ports;
        let ports: Vec<u16> =
            published.by_ref().take(usize::from(last - first) + 1).map(|port| port.host_port).collect();
        if let (Some(from), Some(to)) = (ports.first(), ports.last()) {
            bindings.push(Binding {
                container_ports: mapping.container_ports,
                host_ports: (*from, *to),
                udp: mapping.udp,
                is_range: mapping.is_range,
            });
        }
    }
    bindings
}

/// The bindings of a container whose ports need no publishing: its own in host mode, ranges in awsvpc mode.
pub(crate) fn unpublished_bindings(task: &TaskSpec, definition: &ContainerDefinition) -> Vec<Binding> {
    let reported = |mapping: &&PortMapping| match task.network {
        TaskNetwork::Host => true,
        TaskNetwork::Awsvpc(_) => mapping.is_range,
        TaskNetwork::Bridge | TaskNetwork::None => false,
    };
    let binding = |mapping: &PortMapping| Binding {
        container_ports: mapping.container_ports,
        host_ports: mapping.container_ports,
        udp: mapping.udp,
        is_range: mapping.is_range,
    };
    definition.ports.iter().filter(reported).map(binding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(ports: (u16, u16), host_port: Option<u16>, is_range: bool) -> PortMapping {
        PortMapping { container_ports: ports, host_port, udp: false, is_range }
    }

    #[test]
    fn ranges_get_one_block_and_come_back_as_ranges() {
        let mappings =
            [mapping((80, 80), Some(8080), false), mapping((9000, 9002), None, true), mapping((81, 81), None, false)];
        let mut requests = requests(&mappings, 50_000);
        let host_ports: Vec<u16> = requests.iter().map(|port| port.host_port).collect();
        assert_eq!(host_ports, [8080, 50_000, 50_001, 50_002, 0]);
        requests[4].host_port = 32_768;
        let reported: Vec<_> =
            bindings(&mappings, &requests).into_iter().map(|b| (b.container_ports, b.host_ports, b.is_range)).collect();
        assert_eq!(
            reported,
            [
                ((80, 80), (8080, 8080), false),
                ((9000, 9002), (50_000, 50_002), true),
                ((81, 81), (32_768, 32_768), false)
            ]
        );
    }

    #[test]
    fn a_block_that_does_not_fit_starts_over() {
        for (wanted, size, expected) in
            [(0, 1, RANGE_FIRST), (60_000, 10, 60_000), (65_530, 10, RANGE_FIRST), (65_535, 0, 65_535)]
        {
            assert_eq!(range_base(wanted, size), expected, "{wanted} {size}");
        }
    }
}
