//! Measures the start of containers: from `start()` to the executed program, one at a time and 20 at once.
//!
//! `cargo run --release -p gantry-runtime --example bench_start [-- COUNT]` as root, with busybox-static installed.
//! Beside it in the same run: `runc run`, when runc is there, with the same root filesystem and limits.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use gantry_runtime::{
    container::{
        ContainerSpec, Containers, Limits, LogFile, Namespace, Runtime, ShimContainers, ShimOptions, TaskLimits,
    },
    image::Rootfs,
};

#[tokio::main]
async fn main() {
    let count: usize = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(100);
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let image = directory.path().join("image");
    for directory in ["bin", "dev", "proc", "sys"] {
        std::fs::create_dir_all(image.join(directory)).unwrap();
    }
    std::fs::copy("/bin/busybox", image.join("bin/busybox")).unwrap();
    let parent = format!("gantry-bench-{}", std::process::id());
    let program = std::env::var_os("GANTRY_SHIM")
        .map_or_else(|| std::env::current_exe().unwrap().parent().unwrap().join("shim"), PathBuf::from);
    let options = ShimOptions { runtime: Runtime::Embedded, program, cgroup_parent: parent.clone() };
    let containers = ShimContainers::open(directory.path().join("containers"), options).unwrap();

    let mut times = Vec::new();
    for number in 0..count {
        times.push(cycle(&containers, directory.path(), &format!("s{number}"), &["sleep", "1000"]).await);
        if number + 1 == count.min(20) {
            memory(&directory.path().join("containers"));
        }
        if number >= 20 {
            end(&containers, &format!("s{}", number - 20)).await;
        }
    }
    report("gantry, one at a time", times);
    let before = cpu_ms(&parent);
    for number in count.saturating_sub(20)..count {
        end(&containers, &format!("s{number}")).await;
    }

    let started = Instant::now();
    let mut times = Vec::new();
    let mut running = tokio::task::JoinSet::new();
    for number in 0..count {
        if running.len() == 20 {
            times.push(running.join_next().await.unwrap().unwrap());
        }
        let (containers, root) = (containers.clone(), directory.path().to_owned());
        running.spawn(async move {
            let id = format!("p{number}");
            let time = cycle(&containers, &root, &id, &["true"]).await;
            containers.wait(&id).await.unwrap();
            end(&containers, &id).await;
            time
        });
    }
    times.extend(running.join_all().await);
    let per_second = count as f64 / started.elapsed().as_secs_f64();
    report(&format!("gantry, 20 at once ({per_second:.0} whole lives/s)"), times);
    println!("CPU of shims and containers per life: {:.1} ms", (cpu_ms(&parent) - before) / count as f64);
    drop(containers);
    runc(directory.path(), count);
    for entry in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        let _ = std::fs::remove_dir(entry.path().join(&parent).join("shims"));
        let _ = std::fs::remove_dir(entry.path().join(&parent));
    }
}

async fn cycle(containers: &ShimContainers, root: &Path, id: &str, command: &[&str]) -> Duration {
    let limits = TaskLimits { cpu_units: None, memory_bytes: Some(256 << 20), pids: Some(100) };
    let task_cgroup = containers.create_task_cgroup(id, &limits).await.unwrap();
    let layer = root.join("layers").join(id);
    let mut args = vec!["/bin/busybox".to_owned()];
    args.extend(command.iter().map(|word| (*word).to_owned()));
    let spec = ContainerSpec {
        id: id.to_owned(),
        task_cgroup,
        rootfs: Rootfs {
            lower_dirs: vec![root.join("image")],
            upper_dir: layer.join("upper"),
            work_dir: layer.join("work"),
            mount_point: layer.join("rootfs"),
        },
        readonly_rootfs: false,
        args,
        env: vec!["PATH=/bin".into()],
        held_env: Default::default(),
        working_dir: "/".into(),
        user: String::new(),
        hostname: None,
        network: Namespace::Private,
        pid: Namespace::Private,
        ipc: Namespace::Private,
        mounts: Vec::new(),
        limits: Limits { cpu_shares: Some(256), memory_bytes: Some(128 << 20), ..Limits::default() },
        privileged: false,
        capabilities_add: Vec::new(),
        capabilities_drop: Vec::new(),
        ulimits: [("nofile".to_owned(), (1024, 4096))].into(),
        sysctls: Default::default(),
        devices: Vec::new(),
        hooks: Vec::new(),
        additional_groups: Vec::new(),
        shm_bytes: None,
        init_process: false,
        no_new_privileges: false,
        stdin_open: false,
        terminal: false,
        log: LogFile { path: root.join(format!("{id}.log")), max_bytes: Some(1 << 20), max_files: 2 },
        labels: Default::default(),
    };
    let started = Instant::now();
    containers.start(&spec).await.unwrap();
    started.elapsed()
}

async fn end(containers: &ShimContainers, id: &str) {
    containers.remove(id).await.unwrap();
    containers.remove_task_cgroup(id).await.unwrap();
}

/// Proportional set size of the shims that run now.
fn memory(bundles: &Path) {
    let (mut shims, mut total) = (0_u64, 0_u64);
    for entry in std::fs::read_dir(bundles).unwrap().flatten() {
        let state: serde_json::Value =
            serde_json::from_slice(&std::fs::read(entry.path().join("state.json")).unwrap()).unwrap();
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", state["shim_pid"])).unwrap();
        let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
        total += pss.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap();
        shims += 1;
    }
    println!("{shims} shims: {} KiB PSS each", total / shims.max(1));
}

fn runc(root: &Path, count: usize) {
    let bundle = root.join("runc");
    std::fs::create_dir_all(bundle.join("rootfs/bin")).unwrap();
    std::fs::copy("/bin/busybox", bundle.join("rootfs/bin/busybox")).unwrap();
    let Ok(output) = std::process::Command::new("runc").args(["spec", "--bundle"]).arg(&bundle).output() else {
        return println!("runc is not installed: nothing to compare with");
    };
    assert!(output.status.success());
    let path = bundle.join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["process"]["args"] = serde_json::json!(["/bin/busybox", "true"]);
    config["process"]["terminal"] = false.into();
    config["linux"]["resources"] = serde_json::json!({"memory": {"limit": 134217728}, "cpu": {"shares": 256}});
    std::fs::write(&path, config.to_string()).unwrap();
    let mut times = Vec::new();
    for number in 0..count.min(30) {
        let started = Instant::now();
        let status = std::process::Command::new("runc")
            .args(["run", "--bundle"])
            .arg(&bundle)
            .arg(format!("gantry-bench-{}-{number}", std::process::id()))
            .stdin(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
        times.push(started.elapsed());
    }
    report("runc run (start to end, no log, no filter)", times);
}

/// CPU time of everything that ever was in the benchmark's control groups: unlike the times above it hardly depends on
/// what else the machine is doing.
fn cpu_ms(parent: &str) -> f64 {
    let root = Path::new("/sys/fs/cgroup");
    let read = |path: PathBuf| std::fs::read_to_string(path).ok();
    let v1 = || Some(read(root.join("cpuacct").join(parent).join("cpuacct.usage"))?.trim().parse::<f64>().ok()? / 1e6);
    let v2 = || {
        let stat = read(root.join(parent).join("cpu.stat"))?;
        Some(stat.lines().next()?.strip_prefix("usage_usec ")?.parse::<f64>().ok()? / 1e3)
    };
    v1().or_else(v2).unwrap_or(f64::NAN)
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    println!("{name}: p50 {:.1} ms, p99 {:.1} ms, n={}", at(0.5), at(0.99), times.len());
}
