//! Log events in and out: events per second that PutLogEvents takes (durable when answered), and what reading costs.
//!
//! `cargo run --release -p gantry-companions --example bench_logs [seconds-per-line] [directory]`
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gantry_api::Caller;
use gantry_api::logs::*;
use gantry_companions::logs::Logs as Service;
use gantry_domain::Timestamp;
use gantry_store::{Embedded, EmbeddedOptions};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(3, |seconds| seconds.parse().expect("seconds per line"));
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(parent).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let store = Embedded::open(dir.path().join("state"), EmbeddedOptions::default()).await.unwrap();
        let clock = Arc::new(|| Timestamp::from_millis(now()));
        let logs = Service::open(store, dir.path().join("logs"), clock).await.unwrap();
        run(&logs, Duration::from_secs(seconds)).await;
        logs.close().await;
    });
}

async fn run(logs: &Service, time: Duration) {
    let group = CreateLogGroupRequest { log_group_name: Some("g".into()), ..Default::default() };
    logs.create_log_group(&caller(), group).await.unwrap();
    println!("{:<52} {:>10} {:>9} {:>9}", "events of 120 bytes", "events/s", "p50 ms", "p99 ms");
    for (streams, batch) in [(1, 1), (1, 100), (16, 10), (64, 10), (64, 100), (500, 20)] {
        puts(logs, streams, batch, time).await;
    }
    println!("resident: {} MiB", resident_mebibytes());
    for pattern in ["", "nothing_like_this", "{ $.a = 1 }"] {
        filter(logs, pattern).await;
    }
}

async fn puts(logs: &Service, streams: usize, batch: usize, time: Duration) {
    let stop = Arc::new(AtomicBool::new(false));
    let started = Instant::now();
    let tasks: Vec<_> =
        (0..streams).map(|stream| tokio::spawn(put_until(logs.clone(), stream, batch, stop.clone()))).collect();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    times.sort_unstable();
    let took = started.elapsed().as_secs_f64();
    let ms = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1e3;
    let what = format!("put, {streams} streams, {batch} a request");
    println!("{what:<52} {:>10.0} {:>9.3} {:>9.3}", (times.len() * batch) as f64 / took, ms(50), ms(99));
}

async fn put_until(logs: Service, stream: usize, batch: usize, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let name = format!("s{stream}");
    let create = CreateLogStreamRequest { log_group_name: Some("g".into()), log_stream_name: Some(name.clone()) };
    let _ = logs.create_log_stream(&caller(), create).await;
    let message = Some("x".repeat(120));
    let mut times = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let event = InputLogEvent { timestamp: Some(now()), message: message.clone() };
        let put = PutLogEventsRequest {
            log_group_name: Some("g".into()),
            log_stream_name: Some(name.clone()),
            log_events: Some(vec![event; batch]),
            ..Default::default()
        };
        let started = Instant::now();
        logs.put_log_events(&caller(), put).await.unwrap();
        times.push(started.elapsed());
    }
    times
}

/// The first page of a search.
async fn filter(logs: &Service, pattern: &str) {
    let (mut pages, mut found, mut token) = (0, 0, None);
    let started = Instant::now();
    while pages < 20 {
        let filter = FilterLogEventsRequest {
            log_group_name: Some("g".into()),
            filter_pattern: Some(pattern.into()),
            next_token: token,
            ..Default::default()
        };
        let page = logs.filter_log_events(&caller(), filter).await.unwrap();
        (pages, found, token) = (pages + 1, found + page.events.unwrap().len(), page.next_token);
        if token.is_none() {
            break;
        }
    }
    let took = started.elapsed().as_secs_f64() * 1e3;
    println!("filter {pattern:?}: {pages} pages with {found} events in {took:.0} ms");
}

fn resident_mebibytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn caller() -> Caller {
    Caller::root("000000000000", "us-east-1")
}
