//! Limits that the kernel enforces.

use gantry_runtime::container::{Containers, TaskLimits};

use super::fixture::Fixture;

#[tokio::test]
async fn too_much_memory_is_an_oom_kill() {
    let fixture = Fixture::new();
    let mut spec = fixture.shell("x=$(dd if=/dev/zero bs=1M count=64 2>/dev/null | tr '\\0' x); echo BAD");
    spec.limits.memory_bytes = Some(16 << 20);
    let (record, output) = fixture.run(&spec).await;
    assert!(record.oom_killed, "{record:?} {output}");
    let mut spec = fixture.spec(&["tail", "/dev/zero"]);
    spec.limits.memory_bytes = Some(16 << 20);
    let (record, _) = fixture.run(&spec).await;
    assert_eq!(record.exit_code, 137);
    assert!(record.oom_killed);
    fixture.clean_up().await;
}

#[tokio::test]
async fn the_task_limit_counts_for_its_containers() {
    let fixture = Fixture::new();
    let limits = TaskLimits { cpu_units: Some(512), memory_bytes: Some(16 << 20), pids: Some(20) };
    let mut spec = fixture.spec(&["tail", "/dev/zero"]);
    spec.task_cgroup = fixture.task("limited", &limits);
    let (record, _) = fixture.run(&spec).await;
    assert_eq!(record.exit_code, 137);
    assert!(record.oom_killed);
    fixture.clean_up().await;
}

#[tokio::test]
async fn too_many_processes_are_refused() {
    let fixture = Fixture::new();
    let mut spec = fixture.shell("for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1000 & done; echo BAD");
    spec.limits.pids = Some(5);
    let (record, output) = fixture.run(&spec).await;
    assert_ne!(record.exit_code, 0);
    assert!(!output.contains("BAD"));
    fixture.clean_up().await;
}

#[tokio::test]
async fn values_are_in_the_cgroup_files_that_the_container_sees() {
    let fixture = Fixture::new();
    let mut spec = fixture.shell(
        "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory.max 2>/dev/null; \
         cat cpu/cpu.shares cpu,cpuacct/cpu.shares cpu.weight 2>/dev/null; \
         cat pids/pids.max pids.max 2>/dev/null; cat cpu/cpu.cfs_quota_us cpu,cpuacct/cpu.cfs_quota_us cpu.max 2>/dev/null",
    );
    spec.limits.memory_bytes = Some(64 << 20);
    spec.limits.cpu_shares = Some(1024);
    spec.limits.pids = Some(33);
    spec.limits.cpu_quota_units = Some(256);
    let (_, output) = fixture.run(&spec).await;
    let v1 = "67108864\n1024\n33\n25000\n";
    let v2 = "67108864\n39\n33\n25000 100000\n";
    assert!(output == v1 || output == v2, "{output}");
    fixture.clean_up().await;
}

#[tokio::test]
async fn limits_of_processes_are_set() {
    let fixture = Fixture::new();
    let mut spec = fixture.shell("ulimit -n; ulimit -Hn; ulimit -c");
    spec.ulimits = [("nofile".to_owned(), (123, 456)), ("core".to_owned(), (0, -1))].into();
    assert_eq!(fixture.run(&spec).await.1, "123\n456\n0\n");
    fixture.clean_up().await;
}

#[tokio::test]
async fn use_of_resources_is_counted() {
    let fixture = Fixture::new();
    let spec = fixture.shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo ready; exec sleep 1000");
    fixture.containers.start(&spec).await.unwrap();
    fixture.until_printed(&spec, "ready").await;
    let usage = fixture.containers.usage(&spec.id).await.unwrap();
    assert!(usage.cpu_ns > 1_000_000, "{usage:?}");
    assert!(usage.memory_bytes > 10_000, "{usage:?}");
    assert_eq!(usage.pids, 1, "{usage:?}");
    fixture.clean_up().await;
}
