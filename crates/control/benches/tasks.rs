//! What starting and reading tasks costs beside the store and the sockets: `cargo bench -p gantry-control`.
//! Prints one line per measurement; nothing here fails for being slow.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use gantry_api::{ecs, ecs::Ecs};
use support::*;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        one_machine().await;
        many_machines().await;
    });
}

fn report(what: &str, count: u32, took: Duration) {
    let each = took / count;
    println!("{what:<62} {each:>12.1?} each {:>12.0} /s", f64::from(count) / took.as_secs_f64());
}

async fn one_machine() {
    let world = Arc::new(World::new().await);
    world.register(definition("web", 1, 16)).await;
    let _agent = world.machine(1 << 30, 1 << 30, &[]).await;
    let start = Instant::now();
    for _ in 0..1000 {
        world.run_some("web", 1).await;
    }
    report("RunTask, one after the other", 1000, start.elapsed());

    let start = Instant::now();
    let calls: Vec<_> = (0..64)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    world.run_some("web", 1).await;
                }
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    report("RunTask, 64 at once, one instance", 64 * 20, start.elapsed());

    let before = resident_kib();
    let mut arns = Vec::new();
    let (start, mut count) = (Instant::now(), 0);
    while count < 10_000 {
        arns.extend(world.run_some("web", 10).await);
        count += 10;
    }
    report("tasks started ten at a time", count, start.elapsed());
    println!("{:<62} {:>9} KiB each (view and store in memory)", "a task takes", (resident_kib() - before) / 10_000);

    let start = Instant::now();
    for number in 0..20_000 {
        world.task(&arns[number % arns.len()]).await;
    }
    report("DescribeTasks of one task among 12,000", 20_000, start.elapsed());
    let start = Instant::now();
    for _ in 0..2000 {
        world.list(ecs::ListTasksRequest { family: Some("web".into()), ..Default::default() }).await;
    }
    report("ListTasks, a page of 100", 2000, start.elapsed());
}

async fn many_machines() {
    let world = World::new().await;
    world.register(definition("web", 1, 16)).await;
    let mut agents = Vec::new();
    for number in 0..5000 {
        agents.push(world.machine(4096, 1 << 14, &[&format!("rack=r{}", number % 50)]).await);
    }
    let start = Instant::now();
    for _ in 0..200 {
        world.run_some("web", 1).await;
    }
    report("RunTask on 5,000 instances", 200, start.elapsed());
    let spread = ecs::PlacementStrategy {
        r#type: Some(ecs::PlacementStrategyType::Spread),
        field: Some("attribute:rack".into()),
    };
    let start = Instant::now();
    for _ in 0..200 {
        let request = ecs::RunTaskRequest { placement_strategy: Some(vec![spread.clone()]), ..run("web", 1) };
        world.run(request).await.unwrap();
    }
    report("RunTask on 5,000 instances, spread over 50 racks", 200, start.elapsed());
    let start = Instant::now();
    world.ecs.list_container_instances(&world.caller, Default::default()).await.unwrap();
    report("ListContainerInstances of 5,000", 1, start.elapsed());
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
