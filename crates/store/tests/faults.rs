//! Full disks, locked files, damaged files, restarts.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use gantry_store::{Embedded, EmbeddedOptions, Event, Model, OpenError, Store, StoreError, Txn, TxnError, View};

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

    /// Takes all room but `leave` bytes.
    fn fill(&self, leave: u64) {
        let disk = rustix::fs::statvfs(self.0.path()).unwrap();
        let len = (disk.f_bavail * disk.f_frsize).saturating_sub(leave);
        std::fs::write(self.path("ballast"), vec![1; usize::try_from(len).unwrap()]).unwrap();
    }

    fn free(&self) {
        std::fs::remove_file(self.path("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.0.path()).status().unwrap();
    }
}

#[derive(Default)]
struct Count(usize);

impl Model for Count {
    fn apply(&mut self, event: &Event) {
        self.0 += usize::from(matches!(event, Event::Put(_)));
    }
}

/// Writes until the disk is full; how many writes were answered.
async fn write_until_full(store: &Store, from: usize) -> usize {
    for i in from.. {
        match store.txn(Txn::new().put(format!("/k/{i:05}"), vec![7; 20_000])).await {
            Ok(_) => {}
            Err(TxnError::Store(StoreError::NoSpace)) => return i,
            Err(other) => panic!("not a full disk: {other:?}"),
        }
    }
    unreachable!("disks are finite")
}

async fn count(store: &Store) -> usize {
    let mut rows = 0;
    store.scan("/k/", |_| rows += 1).await.unwrap();
    rows
}

async fn a_full_disk(options: EmbeddedOptions) {
    let disk = SmallDisk::new(24);
    let store = Embedded::open(disk.path("state"), options.clone()).await.unwrap();
    let view: View<Count> = View::start(&store, "/k/").await.unwrap();
    disk.fill(6 << 20);
    let mut written = write_until_full(&store, 0).await;
    assert!(written > 10, "{written}");
    for _ in 0..3 {
        // Refused again and again, and reads go on.
        assert_eq!(write_until_full(&store, written).await, written);
        assert_eq!(count(&store).await, written);
        assert!(store.get("/k/00000").await.unwrap().is_some());
    }
    disk.free();
    for i in 0..20 {
        let revision = store.txn(Txn::new().put(format!("/k/{written:05}"), format!("{i}"))).await.unwrap();
        written += 1;
        assert_eq!(revision, written as u64);
        view.wait_for(revision).await.unwrap();
        assert_eq!(view.read().0, written);
    }
    store.close().await;
    let store = Embedded::open(disk.path("state"), options).await.unwrap();
    assert_eq!(count(&store).await, written);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_serves_reads_and_recovers() {
    a_full_disk(EmbeddedOptions::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_in_the_middle_of_a_commit_does_the_same() {
    a_full_disk(EmbeddedOptions { check_room: false, ..EmbeddedOptions::default() }).await;
}

async fn open(path: &Path) -> Result<Store, OpenError> {
    Embedded::open(path, EmbeddedOptions::default()).await
}

#[tokio::test]
async fn a_second_opening_is_told_that_the_store_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let store = open(&path).await.unwrap();
    let error = open(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }));
    assert!(error.to_string().contains("another process is using"), "{error}");
    store.close().await;
    drop(open(&path).await.unwrap());
    // Dropping the last handle lets go, too.
    open(&path).await.unwrap();
}

#[tokio::test]
async fn a_file_of_something_else_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    for content in [&b"hello"[..], &[0x55; 100_000], b"SQLite format 3\0 and so on"] {
        std::fs::write(&path, content).unwrap();
        let error = open(&path).await.unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains("is not a usable Gantry store"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), content);
    }
    let missing = open(&dir.path().join("no/such/directory/state")).await.unwrap_err();
    assert!(matches!(missing, OpenError::Io { .. }));
}

#[tokio::test]
async fn a_damaged_file_is_an_error_never_a_panic_of_ours() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let store = open(&path).await.unwrap();
    for i in 0..200 {
        store.txn(Txn::new().put(format!("/k/{i}"), vec![7; 900])).await.unwrap();
    }
    store.close().await;
    let good = std::fs::read(&path).unwrap();
    for cut in [1, 64, 300, 4096, 5000, 50_000] {
        std::fs::write(&path, &good[..cut]).unwrap();
        assert!(matches!(open(&path).await, Err(OpenError::Damaged { .. })), "cut to {cut}");
    }
    for at in (0..320).step_by(8) {
        let mut bad = good.clone();
        bad[at] ^= 0xff;
        std::fs::write(&path, &bad).unwrap();
        // Some of the header is spare; then everything must be there.
        match open(&path).await {
            Ok(store) => {
                assert_eq!(count(&store).await, 200, "byte {at}");
                store.close().await;
            }
            Err(OpenError::Damaged { .. } | OpenError::Format { .. }) => {}
            Err(other) => panic!("byte {at}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_file_of_a_newer_program_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    open(&path).await.unwrap().close().await;
    {
        let meta: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("meta");
        let database = redb::Database::open(&path).unwrap();
        let write = database.begin_write().unwrap();
        write.open_table(meta).unwrap().insert("format", 99).unwrap();
        write.commit().unwrap();
    }
    assert!(matches!(open(&path).await, Err(OpenError::Format { found: 99, known: 1, .. })));
}

#[tokio::test]
async fn leases_survive_a_restart_and_then_end_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let store = open(&path).await.unwrap();
    let lease = store.lease_grant(Duration::from_secs(1)).await.unwrap();
    store.txn(Txn::new().put_with_lease("/leader", "me", lease)).await.unwrap();
    store.close().await;
    let store = open(&path).await.unwrap();
    assert_eq!(store.lease_keep_alive(lease).await.unwrap(), Duration::from_secs(1));
    // Waits for the event itself, however long the writer takes to notice.
    let batch = store.watch("/leader", 2).next().await.unwrap();
    assert_eq!(batch.events, [Event::Delete { key: "/leader".into(), revision: 2 }]);
    let next = store.lease_grant(Duration::from_secs(9)).await.unwrap();
    assert!(next > lease, "a lease's number is not used again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_leaves_its_transaction_done_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("state")).await.unwrap();
    for i in 0..50 {
        let txn = Txn::new().put(format!("/a/{i}"), "v").put(format!("/b/{i}"), "v");
        let call = tokio::spawn({
            let store = store.clone();
            async move { store.txn(txn).await }
        });
        tokio::task::yield_now().await;
        call.abort();
        let _ = call.await;
    }
    // A later transaction comes after all of those.
    store.txn(Txn::new().put("/end", "v")).await.unwrap();
    let rows = |prefix: &'static str| {
        let store = store.clone();
        async move { store.range(prefix, 0).await.unwrap().kvs.iter().map(|kv| kv.key[3..].to_owned()).collect::<Vec<_>>() }
    };
    assert_eq!(rows("/a/").await, rows("/b/").await);
}
