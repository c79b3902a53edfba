//! What containers use, in the shape of Docker's statistics. A reading is compared with the one before it of the same
//! container, whoever asked for that.

use std::{collections::BTreeMap, path::Path, time::Duration};

use gantry_runtime::container::Usage;
use serde_json::{Map, Value, json};
use tracing::debug;

use super::{TaskEndpoint, route::Version};
use crate::{
    clock::rfc3339,
    engine::state::{Phase, TaskState},
    host::Host,
    reason::chain,
    record::blocking,
    task::{TaskNetwork, TaskSpec},
};

/// USER_HZ, the unit of /proc/stat, which is the same everywhere.
const NANOSECONDS_PER_TICK: u64 = 10_000_000;

/// One reading.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    at_ms: u64,
    usage: Usage,
    /// CPU time of the whole host, nanoseconds.
    system_ns: u64,
    /// CPUs of the host.
    cpus: usize,
    /// Interface → its counters: received and sent.
    networks: BTreeMap<String, [Counters; 2]>,
}

/// Bytes, packets, errors, drops.
type Counters = [u64; 4];

/// Container `index`; `null` while it does not run.
pub(super) async fn container(
    host: &Host,
    endpoint: &TaskEndpoint,
    state: &TaskState,
    index: usize,
    version: Version,
) -> Value {
    let known = &state.containers[index];
    if known.phase != Phase::Running {
        return Value::Null;
    }
    let usage = match host.runtime.containers.usage(&known.id).await {
        Ok(usage) => usage,
        Err(error) => {
            debug!(id = known.id, error = chain(&error), "container was not measured");
            return Value::Null;
        }
    };
    let namespace = match endpoint.task.network {
        TaskNetwork::Host => None,
        _ => host.runtime.containers.namespace_path(&known.id, "net").await.ok(),
    };
    let read = blocking(move || {
        // `/proc/PID/ns/net` → `/proc/PID/net/dev`.
        let of_process = namespace.as_deref().and_then(Path::parent).and_then(Path::parent);
        let networks = of_process.and_then(|process| std::fs::read_to_string(process.join("net/dev")).ok());
        let system = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        Ok((networks.unwrap_or_default(), system))
    });
    let (networks, system) = read.await.unwrap_or_default();
    let now = Sample {
        at_ms: host.now_ms(),
        usage,
        system_ns: system_cpu(&system),
        cpus: cpus(&system),
        networks: interfaces(&networks, matches!(endpoint.task.network, TaskNetwork::Bridge)),
    };
    let before = endpoint.samples.lock().insert(known.id.clone(), now.clone());
    let names = (known.id.as_str(), endpoint.task.containers[index].name.as_str());
    document(names, &now, &before.unwrap_or_default(), memory_limit(host, &endpoint.task, index), version)
}

/// All containers of the task by their ids at the runtime.
pub(super) async fn task(host: &Host, endpoint: &TaskEndpoint, state: &TaskState, version: Version) -> Value {
    let mut all = Map::new();
    for (index, known) in state.containers.iter().enumerate() {
        if known.spec.is_some() || known.first_started_ms.is_some() {
            all.insert(known.id.clone(), container(host, endpoint, state, index, version).await);
        }
    }
    Value::Object(all)
}

fn memory_limit(host: &Host, task: &TaskSpec, index: usize) -> u64 {
    let mib = task.containers[index].memory_mib.or(task.memory_mib);
    mib.map_or(host.memory_bytes, |mib| mib << 20)
}

fn document((id, name): (&str, &str), now: &Sample, before: &Sample, limit: u64, version: Version) -> Value {
    let mut networks = Map::new();
    for (name, [received, sent]) in &now.networks {
        let counters = |prefix: &str, [bytes, packets, errors, dropped]: &Counters| {
            [("bytes", bytes), ("packets", packets), ("errors", errors), ("dropped", dropped)]
                .map(|(what, number)| (format!("{prefix}_{what}"), json!(number)))
        };
        let all = counters("rx", received).into_iter().chain(counters("tx", sent));
        networks.insert(name.clone(), Value::Object(all.collect()));
    }
    let mut document = json!({
        "read": rfc3339(now.at_ms),
        "preread": rfc3339(before.at_ms),
        "num_procs": 0,
        "pids_stats": {"current": now.usage.pids},
        "cpu_stats": cpu(now),
        "precpu_stats": cpu(before),
        "memory_stats": {"usage": now.usage.memory_bytes, "limit": limit},
        "name": name,
        "id": id,
        "networks": networks,
    });
    if version == Version::V4
        && let Some(rates) = rates(now, before)
    {
        document["network_rate_stats"] = rates;
    }
    document
}

fn cpu(sample: &Sample) -> Value {
    json!({
        "cpu_usage": {"total_usage": sample.usage.cpu_ns},
        "system_cpu_usage": sample.system_ns,
        "online_cpus": sample.cpus,
    })
}

/// Bytes per second since the reading before.
fn rates(now: &Sample, before: &Sample) -> Option<Value> {
    let elapsed = Duration::from_millis(now.at_ms.saturating_sub(before.at_ms)).as_secs_f64();
    if before.at_ms == 0 || elapsed <= 0.0 || now.networks.is_empty() {
        return None;
    }
    let total = |sample: &Sample, direction: usize| {
        sample.networks.values().map(|counters| counters[direction][0]).fold(0, u64::saturating_add)
    };
    let rate = |direction| total(now, direction).saturating_sub(total(before, direction)) as f64 / elapsed;
    Some(json!({"rx_bytes_per_sec": rate(0), "tx_bytes_per_sec": rate(1)}))
}

/// The counters of /proc/net/dev, without the loopback interface. Docker gives bridge containers `eth0` alone.
fn interfaces(text: &str, only_first: bool) -> BTreeMap<String, [Counters; 2]> {
    let line = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let received = numbers.get(0..4)?.try_into().ok()?;
        let sent = numbers.get(8..12)?.try_into().ok()?;
        Some((name.trim().to_owned(), [received, sent]))
    };
    let named = text.lines().filter_map(line).filter(|(name, _)| name != "lo");
    if only_first { named.filter(|(name, _)| name == "eth0").collect() } else { named.collect() }
}

/// How many CPUs /proc/stat has a line for.
fn cpus(text: &str) -> usize {
    let number =
        |line: &str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    text.lines().filter(|line| number(line)).count()
}

/// The sum of the first line of /proc/stat.
fn system_cpu(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "));
    // Guests' time is in user time already.
    let ticks = line.unwrap_or_default().split_whitespace().take(8).filter_map(|ticks| ticks.parse::<u64>().ok());
    ticks.fold(0, u64::saturating_add).saturating_mul(NANOSECONDS_PER_TICK)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEV: &str = "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0:    2000      20    1    2    0     0          0         0     3000      30    3    4    0     0       0          0
";

    #[test]
    fn readings_are_compared() {
        let networks = interfaces(DEV, false);
        assert_eq!(networks["eth0"], [[2000, 20, 1, 2], [3000, 30, 3, 4]]);
        assert_eq!(networks.len(), 1);
        let stat = "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1\ncpu11 2\nintr 3\n";
        assert_eq!((system_cpu(stat), cpus(stat)), (36 * NANOSECONDS_PER_TICK, 2));
        let usage = Usage { cpu_ns: 5, memory_bytes: 6, pids: 7 };
        let now = Sample { at_ms: 3000, usage, system_ns: 8, cpus: 2, networks };
        let mut before = Sample { at_ms: 1000, ..Sample::default() };
        before.networks.insert("eth0".to_owned(), [[1000, 0, 0, 0], [1000, 0, 0, 0]]);
        let shown = document(("id", "app"), &now, &before, 9, Version::V4);
        assert_eq!(shown["network_rate_stats"], json!({"rx_bytes_per_sec": 500.0, "tx_bytes_per_sec": 1000.0}));
        assert_eq!(shown["networks"]["eth0"]["rx_dropped"], 2);
        assert_eq!((&shown["memory_stats"]["limit"], &shown["pids_stats"]["current"]), (&json!(9), &json!(7)));
        assert_eq!(shown["read"], "1970-01-01T00:00:03Z");
        assert_eq!(shown["cpu_stats"]["online_cpus"], 2);
        let first = document(("id", "app"), &now, &Sample::default(), 9, Version::V4);
        assert!(first.get("network_rate_stats").is_none());
        assert!(document(("id", "app"), &now, &before, 9, Version::V3).get("network_rate_stats").is_none());
    }
}
