//! `kill -9` in the middle of writing, again and again: what was answered is there, nothing is there by half, and
//! revisions go on.
//!
//! The writer is this test binary started again with [`DIR`] set. It reports every answered transaction on its
//! standard output; the parent kills it after a random number of reports and looks at the file.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use gantry_store::{Embedded, EmbeddedOptions, Event, Store, Txn};

const DIR: &str = "GANTRY_CRASH_TEST_DIR";
const SEED: &str = "GANTRY_CRASH_TEST_SEED";
const WRITERS: u64 = 8;
const TRANSACTIONS: u64 = 10_000;

/// Not a test of its own: the process that is killed. Without [`DIR`] there is nothing to do.
#[test]
fn the_writer_that_is_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let store = open(Path::new(&dir)).await;
        let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(write_for_ever(store.clone(), writer))).collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

static OUTPUT: Mutex<()> = Mutex::new(());

/// Writes transaction after transaction, each with rows that must be there together.
async fn write_for_ever(store: Store, writer: u64) {
    let sequence = format!("/sequence/{writer}");
    loop {
        let before = store.get(&sequence).await.unwrap();
        let last = before.as_ref().map_or(0, |kv| parse(&kv.value));
        let next = last + 1;
        let txn = Txn::new()
            .require(&sequence, before.map_or(0, |kv| kv.mod_revision))
            .put(&sequence, next.to_string())
            .put(format!("/row/{writer}/{next:06}/x"), filler(next))
            .put(format!("/row/{writer}/{next:06}/y"), filler(next))
            .put(format!("/last/{writer}/{next}"), "")
            .delete(format!("/last/{writer}/{last}"));
        let revision = store.txn(txn).await.unwrap();
        let _one_line_at_a_time = OUTPUT.lock().unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "answered {writer} {next} {revision}").and_then(|()| out.flush()).unwrap();
    }
}

#[test]
fn every_answered_transaction_survives_kill_9_and_none_is_there_by_half() {
    let seed = std::env::var(SEED).map_or_else(|_| std::process::id().into(), |seed| seed.parse().unwrap());
    println!("seed {seed}: set {SEED} to repeat");
    let mut random = Random(seed);
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let mut answered = BTreeMap::new();
    let mut rounds = 0;
    while answered.len() < usize::try_from(TRANSACTIONS).unwrap() || rounds < 8 {
        // The first rounds are killed while the file is being created or opened, before anything is answered.
        let kill_after = if rounds < 3 { 0 } else { random.below(2500) };
        let before = answered.len();
        run_and_kill(dir.path(), kill_after, random.below(40), &mut answered);
        runtime.block_on(verify(dir.path(), &answered));
        rounds += 1;
        println!("round {rounds}: killed after {} of {}", answered.len() - before, answered.len());
    }
}

/// Starts the writer, kills it after about `kill_after` answers (or, with 0, after some time however far it came),
/// and notes what it had reported.
fn run_and_kill(dir: &Path, kill_after: u64, wait_ms: u64, answered: &mut BTreeMap<(u64, u64), u64>) {
    let mut child = start_writer(dir);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    if kill_after == 0 {
        // Any moment will do, so this needs no synchronisation.
        std::thread::sleep(std::time::Duration::from_millis(wait_ms));
    }
    for _ in 0..kill_after {
        note(&lines.next().unwrap().unwrap(), answered);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it managed to say after that was answered, too.
    lines.map_while(Result::ok).for_each(|line| note(&line, answered));
}

fn start_writer(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_writer_that_is_killed", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn note(line: &str, answered: &mut BTreeMap<(u64, u64), u64>) {
    // The harness prints lines of its own, and the last line may be cut.
    let Some(report) = line.split("answered ").nth(1) else { return };
    let numbers: Vec<u64> = report.split(' ').filter_map(|number| number.parse().ok()).collect();
    if let [writer, number, revision] = numbers[..] {
        answered.insert((writer, number), revision);
    }
}

async fn verify(dir: &Path, answered: &BTreeMap<(u64, u64), u64>) {
    let store = open(dir).await;
    let mut revisions = BTreeMap::new();
    for writer in 0..WRITERS {
        let sequence = store.get(&format!("/sequence/{writer}")).await.unwrap();
        let last = sequence.as_ref().map_or(0, |kv| parse(&kv.value));
        let mut rows = BTreeMap::new();
        store.scan(format!("/row/{writer}/"), |kv| drop(rows.insert(kv.key.to_string(), kv))).await.unwrap();
        assert_eq!(rows.len() as u64, last * 2, "writer {writer} has exactly its {last} transactions");
        for number in 1..=last {
            let x = &rows[&format!("/row/{writer}/{number:06}/x")];
            let y = &rows[&format!("/row/{writer}/{number:06}/y")];
            assert_eq!(x.mod_revision, y.mod_revision);
            assert_eq!((&x.value[..], &y.value[..]), (&filler(number)[..], &filler(number)[..]));
            assert!(revisions.insert(x.mod_revision, (writer, number)).is_none(), "one revision, one transaction");
        }
        let markers = store.range(format!("/last/{writer}/"), 0).await.unwrap().kvs;
        assert_eq!(markers.len(), usize::from(last > 0));
        if let Some(marker) = markers.first() {
            assert_eq!(*marker.key, format!("/last/{writer}/{last}"));
        }
    }
    for (which, revision) in answered {
        assert_eq!(revisions.get(revision), Some(which), "answered, so it is there");
    }
    assert_eq!(store.revision(), revisions.len() as u64, "revisions have no gaps");
    verify_log(&store).await;
    store.close().await;
}

/// The event log ends where the rows do.
async fn verify_log(store: &Store) {
    let last = store.revision();
    let mut from = last.saturating_sub(200).max(1);
    let mut watch = store.watch("", from);
    while from <= last {
        let batch = watch.next().await.unwrap();
        assert_eq!(batch.revision, from);
        assert!(batch.events.iter().all(|event| match event {
            Event::Put(kv) => kv.mod_revision == from,
            Event::Delete { revision, .. } => *revision == from,
        }));
        from += 1;
    }
}

async fn open(dir: &Path) -> Store {
    // A small log, so that its old end is cut while we are killed.
    let options = EmbeddedOptions { history_bytes: 512 << 10, ..EmbeddedOptions::default() };
    Embedded::open(dir.join("state"), options).await.unwrap()
}

fn parse(value: &[u8]) -> u64 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

fn filler(number: u64) -> Vec<u8> {
    vec![u8::try_from(number % 256).unwrap(); usize::try_from(number * 37 % 700).unwrap()]
}

/// Small and repeatable: SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
