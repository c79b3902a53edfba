//! Times what a task costs in namespaces, interfaces and published ports. Needs root; leaves nothing.
//!
//! `cargo run --release -p gantry-runtime --example bench_network [COUNT] [AT_ONCE]`

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::stream::{self, StreamExt};
use gantry_runtime::network::{LinuxNetworks, NetworkOptions, NetworkRequest, Networks, Protocol, Publish};

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>().unwrap());
    let (count, at_once) = (arguments.next().unwrap_or(200), arguments.next().unwrap_or(20));
    let directory = tempfile::tempdir().unwrap();
    let options = NetworkOptions::for_data_dir(directory.path());
    let opened = Instant::now();
    let networks = Arc::new(LinuxNetworks::open(directory.path().join("networks"), options).await.unwrap());
    println!("open {:.1} ms", opened.elapsed().as_secs_f64() * 1e3);
    round(&networks, "one at a time", count, 1).await;
    round(&networks, &format!("{at_once} at once"), count, at_once).await;
    let networks = Arc::into_inner(networks).unwrap();
    networks.tear_down().await.unwrap();
}

async fn round(networks: &Arc<LinuxNetworks>, name: &str, count: usize, at_once: usize) {
    let port = Publish { host_port: 0, container_port: 80, protocol: Protocol::Tcp };
    let started = Instant::now();
    let times: Vec<[Duration; 3]> = stream::iter(0..count)
        .map(|index| {
            let (networks, port) = (networks.clone(), port.clone());
            tokio::spawn(async move {
                let key = format!("task-{index}");
                let start = Instant::now();
                networks.create(&key, &NetworkRequest::Bridge).await.unwrap();
                let created = start.elapsed();
                networks.publish(&key, &[port]).await.unwrap();
                let published = start.elapsed() - created;
                let start = Instant::now();
                networks.remove(&key).await.unwrap();
                [created, published, start.elapsed()]
            })
        })
        .buffer_unordered(at_once)
        .map(Result::unwrap)
        .collect()
        .await;
    println!("{name}: {:.0} cycles/s", count as f64 / started.elapsed().as_secs_f64());
    for (step, label) in ["create", "publish", "remove"].into_iter().enumerate() {
        let mut step: Vec<f64> = times.iter().map(|times| times[step].as_secs_f64() * 1e3).collect();
        step.sort_by(f64::total_cmp);
        println!("  {label:8} p50 {:7.2} ms  p99 {:7.2} ms", step[step.len() / 2], step[step.len() * 99 / 100]);
    }
}
