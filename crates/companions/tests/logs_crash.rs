//! `kill -9` in the middle of PutLogEvents: every batch that was answered is there, whole, once and in order.
//!
//! The writer is this test binary started again with [`DIR`] set; see the store's crash test.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use gantry_api::Caller;
use gantry_api::logs::*;
use gantry_companions::logs::Logs as Service;
use gantry_domain::Timestamp;
use gantry_store::{Embedded, EmbeddedOptions, Store};

const DIR: &str = "GANTRY_LOGS_CRASH_TEST_DIR";
const SEED: &str = "GANTRY_LOGS_CRASH_TEST_SEED";
const STREAMS: u64 = 12;
const BATCHES: usize = 4000;

/// Not a test of its own: the process that is killed. Without [`DIR`] there is nothing to do.
#[test]
fn the_writer_that_is_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(async {
        let (_store, logs) = open(Path::new(&dir)).await;
        let group = CreateLogGroupRequest { log_group_name: Some("g".into()), ..Default::default() };
        let _ = logs.create_log_group(&caller(), group).await;
        let writers: Vec<_> = (0..STREAMS).map(|stream| tokio::spawn(write_for_ever(logs.clone(), stream))).collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

static OUTPUT: Mutex<()> = Mutex::new(());

async fn write_for_ever(logs: Service, stream: u64) {
    let name = format!("s{stream}");
    let create = CreateLogStreamRequest { log_group_name: Some("g".into()), log_stream_name: Some(name.clone()) };
    let _ = logs.create_log_stream(&caller(), create).await;
    for number in batches_of(&logs, stream).await.. {
        let event = |part| InputLogEvent { timestamp: Some(now()), message: Some(message(stream, number, part)) };
        let put = PutLogEventsRequest {
            log_group_name: Some("g".into()),
            log_stream_name: Some(name.clone()),
            log_events: Some((0..3).map(event).collect()),
            ..Default::default()
        };
        logs.put_log_events(&caller(), put).await.unwrap();
        let _one_line_at_a_time = OUTPUT.lock().unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "answered {stream} {number}").and_then(|()| out.flush()).unwrap();
    }
}

#[test]
fn every_answered_batch_survives_kill_9() {
    let seed: u64 = std::env::var(SEED).map_or_else(|_| std::process::id().into(), |seed| seed.parse().unwrap());
    println!("seed {seed}: set {SEED} to repeat");
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let mut answered: BTreeMap<u64, u64> = BTreeMap::new();
    let (mut total, mut round) = (0, 0);
    while total < BATCHES || round < 6 {
        let kill_after = usize::try_from(mixed(seed.wrapping_add(round)) % 1500).unwrap();
        total += run_and_kill(dir.path(), kill_after, &mut answered);
        runtime.block_on(verify(dir.path(), &answered));
        round += 1;
        println!("round {round}: {total} batches answered");
    }
}

/// How many batches were answered.
fn run_and_kill(dir: &Path, kill_after: usize, answered: &mut BTreeMap<u64, u64>) -> usize {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_writer_that_is_killed", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut count = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        let Some(report) = line.split("answered ").nth(1) else { continue };
        let numbers: Vec<u64> = report.split(' ').filter_map(|number| number.parse().ok()).collect();
        let [stream, number] = numbers[..] else { continue };
        answered.insert(stream, number);
        count += 1;
        if count > kill_after {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    count
}

async fn verify(dir: &Path, answered: &BTreeMap<u64, u64>) {
    let (store, logs) = open(dir).await;
    for (stream, last) in answered {
        let batches = batches_of(&logs, *stream).await;
        assert!(batches > *last, "stream {stream}: batch {last} was answered, {batches} are there");
    }
    logs.close().await;
    store.close().await;
}

/// Reads a whole stream; checks that it is what was written, without gaps; how many batches there are.
async fn batches_of(logs: &Service, stream: u64) -> u64 {
    let (mut found, mut token) = (Vec::new(), None);
    loop {
        let get = GetLogEventsRequest {
            log_group_name: Some("g".into()),
            log_stream_name: Some(format!("s{stream}")),
            start_from_head: Some(true),
            next_token: token.clone(),
            ..Default::default()
        };
        let Ok(page) = logs.get_log_events(&caller(), get).await else { return 0 };
        found.extend(page.events.unwrap().into_iter().map(|event| event.message.unwrap()));
        if page.next_forward_token == token {
            break;
        }
        token = page.next_forward_token;
    }
    for (index, found) in (0..).zip(&found) {
        assert_eq!(*found, message(stream, index / 3, index % 3));
    }
    assert_eq!(found.len() % 3, 0, "no batch is there by half");
    found.len() as u64 / 3
}

fn message(stream: u64, number: u64, part: u64) -> String {
    format!("{stream} {number} {part} {}", "x".repeat(usize::try_from(mixed(number) % 900).unwrap()))
}

async fn open(dir: &Path) -> (Store, Service) {
    let store = Embedded::open(dir.join("state"), EmbeddedOptions::default()).await.unwrap();
    let clock = Arc::new(|| Timestamp::from_millis(now()));
    let logs = Service::open(store.clone(), dir.join("logs"), clock).await.unwrap();
    (store, logs)
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn caller() -> Caller {
    Caller::root("000000000000", "us-east-1")
}

/// SplitMix64's mixing.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
