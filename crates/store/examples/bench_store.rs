//! Durable transactions per second, their latency, and how soon a watcher hears of them.
//!
//! `cargo run --release -p gantry-store --example bench_store [seconds-per-line] [directory]`
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gantry_store::{Embedded, EmbeddedOptions, Event, Model, Store, Txn, View};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(3, |seconds| seconds.parse().expect("seconds per line"));
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(parent).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
    runtime.block_on(run(dir.path().join("state"), Duration::from_secs(seconds)));
}

async fn run(path: PathBuf, time: Duration) {
    let store = Embedded::open(&path, EmbeddedOptions::default()).await.unwrap();
    println!("{:<44} {:>9} {:>9} {:>9}", "512-byte values", "per s", "p50 ms", "p99 ms");
    for writers in [1, 16, 64, 256] {
        writes(&store, writers, time, None).await;
    }
    let view: View<Count> = View::start(&store, "/").await.unwrap();
    for writers in [1, 64] {
        writes(&store, writers, time, Some(&view)).await;
    }
    reads(&store, time).await;
    let started = Instant::now();
    let mut rows = 0u64;
    store.scan("/", |_| rows += 1).await.unwrap();
    println!("scan of {rows} rows: {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
    // A copy of the open file is what a crash leaves behind.
    let crashed = path.with_extension("crashed");
    std::fs::copy(&path, &crashed).unwrap();
    let started = Instant::now();
    Embedded::open(&crashed, EmbeddedOptions::default()).await.unwrap();
    println!("opening it after a crash: {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
    store.close().await;
    let started = Instant::now();
    Embedded::open(&path, EmbeddedOptions::default()).await.unwrap();
    let megabytes = std::fs::metadata(&path).unwrap().len() >> 20;
    println!("opening {megabytes} MiB after a clean end: {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
}

#[derive(Default)]
struct Count(u64);

impl Model for Count {
    fn apply(&mut self, _: &Event) {
        self.0 += 1;
    }
}

async fn writes(store: &Store, writers: usize, time: Duration, view: Option<&View<Count>>) {
    let stop = Arc::new(AtomicBool::new(false));
    let started = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let (store, view, stop) = (store.clone(), view.cloned(), stop.clone());
            tokio::spawn(async move {
                let mut times = Vec::new();
                let mut i = 0;
                while !stop.load(Ordering::Relaxed) {
                    i = (i + 1) % 500;
                    let started = Instant::now();
                    let txn = Txn::new().put(format!("/bench/{writer}/{i}"), vec![7u8; 512]);
                    let revision = store.txn(txn).await.unwrap();
                    if let Some(view) = &view {
                        view.wait_for(revision).await.unwrap();
                    }
                    times.push(started.elapsed());
                }
                times
            })
        })
        .collect();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    let what = if view.is_some() { "put, durable and seen by a view" } else { "put, durable" };
    report(&format!("{what}, {writers} writers"), times, started.elapsed());
}

async fn reads(store: &Store, time: Duration) {
    let mut times = Vec::new();
    let started = Instant::now();
    while started.elapsed() < time {
        let one = Instant::now();
        store.get("/bench/0/1").await.unwrap().unwrap();
        times.push(one.elapsed());
    }
    report("get, 1 reader", times, started.elapsed());
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn report(what: &str, mut times: Vec<Duration>, took: Duration) {
    times.sort_unstable();
    let ms = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1e3;
    println!("{what:<44} {:>9.0} {:>9.3} {:>9.3}", times.len() as f64 / took.as_secs_f64(), ms(50), ms(99));
}
