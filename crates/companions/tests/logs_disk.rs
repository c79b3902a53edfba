//! Log events on a disk that fills up.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use gantry_api::Caller;
use gantry_api::logs::*;
use gantry_companions::logs::Logs as Service;
use gantry_domain::Timestamp;
use gantry_store::{Memory, Store};

const NOW: i64 = 1_750_000_000_000;

/// A disk of its own, of a few MiB.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(mebibytes: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "gantry-test"]).arg(dir.path()).status();
        assert!(mounted.unwrap().success(), "this test mounts a small tmpfs and has to run as root");
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.0.path()).status().unwrap();
    }
}

fn caller() -> Caller {
    Caller::root("000000000000", "us-east-1")
}

async fn open(store: &Store, directory: &Path) -> Service {
    Service::open(store.clone(), directory.to_owned(), Arc::new(|| Timestamp::from_millis(NOW))).await.unwrap()
}

async fn put(logs: &Service, number: usize) -> Result<(), gantry_api::Fault> {
    let message = Some(format!("{number:04}{}", "x".repeat(100_000)));
    let put = PutLogEventsRequest {
        log_group_name: Some("g".into()),
        log_stream_name: Some(format!("s{}", number % 2)),
        log_events: Some(vec![InputLogEvent { timestamp: Some(NOW + i64::try_from(number).unwrap()), message }]),
        ..Default::default()
    };
    logs.put_log_events(&caller(), put).await.map(|_| ())
}

async fn numbers(logs: &Service) -> Vec<usize> {
    let (mut found, mut token) = (Vec::new(), None);
    loop {
        let filter =
            FilterLogEventsRequest { log_group_name: Some("g".into()), next_token: token, ..Default::default() };
        let page = logs.filter_log_events(&caller(), filter).await.unwrap();
        found.extend(
            page.events.unwrap().iter().map(|event| event.message.as_ref().unwrap()[..4].parse::<usize>().unwrap()),
        );
        token = page.next_token;
        if token.is_none() {
            return found;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_events_serves_reads_and_recovers() {
    let disk = SmallDisk::new(8);
    let store = Memory::store();
    let logs = open(&store, &disk.path("logs")).await;
    let group = CreateLogGroupRequest { log_group_name: Some("g".into()), ..Default::default() };
    logs.create_log_group(&caller(), group).await.unwrap();
    for stream in ["s0", "s1"] {
        let create = CreateLogStreamRequest { log_group_name: Some("g".into()), log_stream_name: Some(stream.into()) };
        logs.create_log_stream(&caller(), create).await.unwrap();
    }
    std::fs::write(disk.path("ballast"), vec![1; 4 << 20]).unwrap();
    let mut next = 0;
    let mut expected = Vec::new();
    let fault = loop {
        match put(&logs, next).await {
            Ok(()) => expected.push(next),
            Err(fault) => break fault,
        }
        next += 1;
    };
    assert_eq!(fault.code, "ServiceUnavailableException");
    assert!(expected.len() > 5, "{}", expected.len());
    for _ in 0..4 {
        next += 1;
        assert_eq!(put(&logs, next).await.unwrap_err().code, "ServiceUnavailableException");
        assert_eq!(numbers(&logs).await, expected);
    }
    std::fs::remove_file(disk.path("ballast")).unwrap();
    for _ in 0..10 {
        next += 1;
        put(&logs, next).await.unwrap();
        expected.push(next);
    }
    assert_eq!(numbers(&logs).await, expected);
    logs.close().await;
    let logs = open(&store, &disk.path("logs")).await;
    assert_eq!(numbers(&logs).await, expected);
}
