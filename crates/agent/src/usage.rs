//! Measures what each task uses of CPU and memory, from the counters of its containers' control groups.
//!
//! Lossy by design: every reading replaces the one before, and one that no connection took is gone. What is measured is
//! of the moment; nobody waits for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use gantry_api::agent::{ObservedStatus, ObservedTask, TaskUsage};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::debug;

use crate::host::Host;

/// How often everything is measured.
const INTERVAL: Duration = Duration::from_secs(10);
/// Tasks in one message.
const TASKS_MAX: usize = 2000;

/// CPU time of a task's containers when they were last looked at.
#[derive(Debug, Default)]
struct Seen {
    cpu_ns: BTreeMap<String, u64>,
    at: Option<Instant>,
}

/// Measures for ever, and leaves each result with the host for whoever is connected.
pub(crate) async fn run(host: &Host) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
    loop {
        ticks.tick().await;
        let tasks: Vec<ObservedTask> =
            host.outbox.everything().into_iter().filter(|task| task.last_status == ObservedStatus::Running).collect();
        let alive: BTreeSet<&str> = tasks.iter().map(|task| task.task_arn.as_str()).collect();
        seen.retain(|arn, _| alive.contains(arn.as_str()));
        let mut usage = Vec::new();
        for task in &tasks {
            let before = seen.entry(task.task_arn.clone()).or_default();
            usage.extend(measure(host, task, before).await);
        }
        usage.truncate(TASKS_MAX);
        if !usage.is_empty() {
            host.usage.send_replace(usage);
        }
    }
}

/// What the task used since it was last measured; none at the first look, which has nothing to compare with.
async fn measure(host: &Host, task: &ObservedTask, before: &mut Seen) -> Option<TaskUsage> {
    let now = Instant::now();
    let (mut cpu_ns, mut memory_bytes, mut counters) = (0_u64, 0_u64, BTreeMap::new());
    for container in &task.containers {
        let Some(id) = container.runtime_id.as_deref().filter(|_| container.last_status == "RUNNING") else { continue };
        match host.runtime.containers.usage(id).await {
            Ok(usage) => {
                memory_bytes = memory_bytes.saturating_add(usage.memory_bytes);
                // A container that is new since began to count at zero; one that was restarted too.
                let known = before.cpu_ns.get(id).copied().unwrap_or(0);
                let since = if usage.cpu_ns < known { usage.cpu_ns } else { usage.cpu_ns - known };
                cpu_ns = cpu_ns.saturating_add(since);
                counters.insert(id.to_owned(), usage.cpu_ns);
            }
            // It ended meanwhile.
            Err(error) => debug!(id, %error, "container was not measured"),
        }
    }
    let since = before.at.replace(now);
    before.cpu_ns = counters;
    let elapsed = now.duration_since(since?);
    Some(TaskUsage {
        task_arn: task.task_arn.clone(),
        cpu_milliunits: milliunits(cpu_ns, elapsed),
        memory_kib: memory_bytes / 1024,
    })
}

/// Thousandths of CPU units (1024 units are one vCPU).
fn milliunits(cpu_ns: u64, elapsed: Duration) -> u64 {
    let elapsed = elapsed.as_nanos().max(1);
    u64::try_from(u128::from(cpu_ns) * 1024 * 1000 / elapsed).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_core_is_1024_units() {
        assert_eq!(milliunits(10_000_000_000, Duration::from_secs(10)), 1_024_000);
        assert_eq!(milliunits(500_000_000, Duration::from_secs(10)), 51_200);
        assert_eq!(milliunits(1, Duration::ZERO), 1_024_000);
    }
}
