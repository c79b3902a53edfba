//! /etc/hosts, /etc/hostname and /etc/resolv.conf of a container. The texts are pure; `steps` writes them.

use std::net::IpAddr;

use crate::task::{ContainerDefinition, TaskNetwork, TaskSpec};

/// What the host itself has.
#[derive(Debug, Clone, Default)]
pub(crate) struct HostFiles {
    pub(crate) hosts: String,
    pub(crate) resolv_conf: String,
}

/// The loopback lines that every container starts with.
const LOOPBACK: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
                        ff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";
/// What Docker falls back to when the host has only loopback resolvers.
const PUBLIC_RESOLVERS: &str = "nameserver 8.8.8.8\nnameserver 8.8.4.4\n";

/// /etc/hosts. `links` are (address, names) of linked containers.
pub(crate) fn hosts(
    task: &TaskSpec,
    definition: &ContainerDefinition,
    host: &HostFiles,
    own: Option<(IpAddr, &str)>,
    links: &[(IpAddr, Vec<&str>)],
) -> String {
    let mut text = match task.network {
        TaskNetwork::Host if !host.hosts.is_empty() => ensure_newline(host.hosts.clone()),
        _ => LOOPBACK.to_owned(),
    };
    for (hostname, address) in &definition.extra_hosts {
        text.push_str(&format!("{address}\t{hostname}\n"));
    }
    for (address, names) in links {
        text.push_str(&format!("{address}\t{}\n", names.join(" ")));
    }
    if let Some((address, hostname)) = own {
        text.push_str(&format!("{address}\t{hostname}\n"));
    }
    text
}

/// /etc/resolv.conf: the definition's servers and search list, each falling back to the host's.
pub(crate) fn resolv_conf(task: &TaskSpec, definition: &ContainerDefinition, host: &HostFiles) -> String {
    let in_host_namespace = task.network == TaskNetwork::Host;
    let host_lines = |keyword: &str| -> Vec<&str> {
        host.resolv_conf.lines().filter(|line| line.split_whitespace().next() == Some(keyword)).collect()
    };
    let mut text = String::new();
    if definition.dns_search_domains.is_empty() {
        for line in host_lines("search") {
            text.push_str(&format!("{line}\n"));
        }
    } else {
        text.push_str(&format!("search {}\n", definition.dns_search_domains.join(" ")));
    }
    if definition.dns_servers.is_empty() {
        let servers = host_lines("nameserver");
        let reachable: Vec<&str> =
            servers.into_iter().filter(|line| in_host_namespace || !is_loopback_server(line)).collect();
        if reachable.is_empty() && !in_host_namespace {
            text.push_str(PUBLIC_RESOLVERS);
        }
        for line in reachable {
            text.push_str(&format!("{line}\n"));
        }
    } else {
        for server in &definition.dns_servers {
            text.push_str(&format!("nameserver {server}\n"));
        }
    }
    for line in host_lines("options") {
        text.push_str(&format!("{line}\n"));
    }
    text
}

/// A resolver of the host's own loopback cannot be reached from another namespace.
fn is_loopback_server(line: &str) -> bool {
    let address = line.split_whitespace().nth(1).and_then(|text| text.parse::<IpAddr>().ok());
    address.is_some_and(|address| address.is_loopback())
}

fn ensure_newline(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
