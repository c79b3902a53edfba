//! What every engine must do. Each check runs on the in-memory and on the embedded engine.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use gantry_store::{
    Embedded, EmbeddedOptions, Event, KeyRange, LeaseId, Memory, MemoryOptions, Model, Revision, Store, StoreError,
    Txn, TxnError, View, WatchError,
};

/// A store to test, with history so short that a test can outrun it.
struct Subject {
    store: Store,
    _dir: Option<tempfile::TempDir>,
}

fn memory() -> Subject {
    let options = MemoryOptions { history_batches: 64, ..MemoryOptions::default() };
    Subject { store: Store::new(Memory::new(&options)), _dir: None }
}

async fn embedded() -> Subject {
    let dir = tempfile::tempdir().unwrap();
    // Events are dropped from memory after 4 transactions and from the file after about 64 small ones.
    let options = EmbeddedOptions { history_bytes: 64 * 90, recent_batches: 4, ..EmbeddedOptions::default() };
    let store = Embedded::open(dir.path().join("state"), options).await.unwrap();
    Subject { store, _dir: Some(dir) }
}

macro_rules! conformance {
    ($($check:ident),* $(,)?) => {
        mod on_memory {
            $(#[tokio::test] async fn $check() { super::$check(super::memory().store).await; })*
        }
        mod on_embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                let subject = super::embedded().await;
                super::$check(subject.store.clone()).await;
            })*
        }
    };
}

conformance! {
    an_empty_store_is_at_revision_zero,
    a_put_is_read_back_with_its_history,
    a_deleted_key_starts_a_new_life,
    compares_decide_and_name_the_key,
    a_refused_transaction_changes_nothing,
    one_transaction_one_revision_for_all_its_keys,
    a_transaction_without_effect_makes_no_revision,
    of_racing_writers_exactly_one_wins,
    ranges_page_in_order_and_end,
    a_range_between_two_keys_holds_what_is_between,
    a_scan_sees_every_key_once,
    bounds_are_refused_by_name,
    a_watch_delivers_every_transaction_in_order,
    a_watch_can_start_in_the_past,
    a_watch_skips_keys_outside_its_range_but_tells_progress,
    what_is_put_untold_is_read_but_not_watched,
    what_is_put_untold_costs_watchers_no_history,
    a_watch_that_fell_behind_is_told,
    a_watch_ends_when_the_store_closes,
    a_lease_takes_its_keys_with_it,
    a_lease_kept_alive_stays,
    a_put_without_lease_leaves_the_lease,
    an_unknown_lease_is_refused,
    a_view_shows_what_was_written,
    a_view_that_fell_behind_loads_again,
    values_of_every_size_survive,
    concurrent_writers_all_get_their_own_revision,
}

async fn put(store: &Store, key: &str, value: &str) -> Revision {
    store.txn(Txn::new().put(key, value.to_owned())).await.unwrap()
}

async fn value(store: &Store, key: &str) -> Option<String> {
    store.get(key).await.unwrap().map(|kv| String::from_utf8(kv.value.to_vec()).unwrap())
}

async fn keys(store: &Store, range: impl Into<KeyRange>) -> Vec<String> {
    store.range(range, 0).await.unwrap().kvs.iter().map(|kv| kv.key.to_string()).collect()
}

async fn an_empty_store_is_at_revision_zero(store: Store) {
    assert_eq!(store.revision(), 0);
    assert_eq!(store.get("/a").await.unwrap(), None);
    let range = store.range("/", 10).await.unwrap();
    assert_eq!((range.revision, range.kvs.len(), range.more), (0, 0, false));
}

async fn a_put_is_read_back_with_its_history(store: Store) {
    assert_eq!(put(&store, "/a", "1").await, 1);
    assert_eq!(put(&store, "/b", "x").await, 2);
    assert_eq!(put(&store, "/a", "2").await, 3);
    let kv = store.get("/a").await.unwrap().unwrap();
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version, kv.lease), (1, 3, 2, None));
    assert_eq!(kv.value.as_ref(), b"2");
    assert_eq!(store.revision(), 3);
}

async fn a_deleted_key_starts_a_new_life(store: Store) {
    put(&store, "/a", "1").await;
    store.txn(Txn::new().delete("/a")).await.unwrap();
    assert_eq!(store.get("/a").await.unwrap(), None);
    put(&store, "/a", "2").await;
    let kv = store.get("/a").await.unwrap().unwrap();
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (3, 3, 1));
}

async fn compares_decide_and_name_the_key(store: Store) {
    let conflict = |result: Result<Revision, TxnError>| match result {
        Err(TxnError::Conflict { key }) => key,
        other => panic!("no conflict: {other:?}"),
    };
    let revision = store.txn(Txn::new().require_absent("/a").put("/a", "1")).await.unwrap();
    assert_eq!(conflict(store.txn(Txn::new().require_absent("/a").put("/a", "2")).await), "/a");
    assert_eq!(conflict(store.txn(Txn::new().require("/a", revision + 1).put("/a", "2")).await), "/a");
    store.txn(Txn::new().require("/a", revision).require_exists("/a").put("/a", "2")).await.unwrap();
    assert_eq!(conflict(store.txn(Txn::new().require("/a", revision).put("/a", "3")).await), "/a");
    let second = Txn::new().require_exists("/a").require_exists("/b").put("/c", "1");
    assert_eq!(conflict(store.txn(second).await), "/b");
    assert_eq!(value(&store, "/a").await.unwrap(), "2");
}

async fn a_refused_transaction_changes_nothing(store: Store) {
    put(&store, "/a", "1").await;
    let txn = Txn::new().require("/a", 99).put("/b", "1").delete("/a");
    store.txn(txn).await.unwrap_err();
    assert_eq!(store.revision(), 1);
    assert_eq!(keys(&store, "/").await, ["/a"]);
}

async fn one_transaction_one_revision_for_all_its_keys(store: Store) {
    put(&store, "/t/old", "1").await;
    put(&store, "/u/1", "1").await;
    put(&store, "/u/2", "1").await;
    let txn = Txn::new().put("/t/1", "a").put("/t/2", "b").delete("/t/old").delete_prefix("/u/");
    let revision = store.txn(txn).await.unwrap();
    let range = store.range("/", 0).await.unwrap();
    assert_eq!(
        range.kvs.iter().map(|kv| (&*kv.key, kv.mod_revision)).collect::<Vec<_>>(),
        [("/t/1", revision), ("/t/2", revision)]
    );
    let batch = store.watch("/", revision).next().await.unwrap();
    assert_eq!(batch.events.len(), 5);
    assert_eq!(batch.events.iter().map(Event::key).collect::<Vec<_>>(), ["/t/1", "/t/2", "/t/old", "/u/1", "/u/2"]);
}

async fn a_transaction_without_effect_makes_no_revision(store: Store) {
    put(&store, "/a", "1").await;
    assert_eq!(store.txn(Txn::new().delete("/nothing").delete_prefix("/none/")).await.unwrap(), 1);
    assert_eq!(store.txn(Txn::new().require("/a", 1)).await.unwrap(), 1);
    assert_eq!(put(&store, "/b", "1").await, 2);
}

async fn of_racing_writers_exactly_one_wins(store: Store) {
    for round in 0..10 {
        let key = format!("/race/{round}");
        let writers = (0..16).map(|writer| {
            let (store, key) = (store.clone(), key.clone());
            tokio::spawn(async move {
                store.txn(Txn::new().require_absent(&key).put(&key, writer.to_string())).await.is_ok()
            })
        });
        let mut won = 0;
        for writer in writers.collect::<Vec<_>>() {
            won += usize::from(writer.await.unwrap());
        }
        assert_eq!(won, 1);
    }
}

async fn ranges_page_in_order_and_end(store: Store) {
    for i in 0..25 {
        put(&store, &format!("/p/{i:02}"), "v").await;
    }
    put(&store, "/q/0", "v").await;
    let mut seen = Vec::new();
    let mut range = KeyRange::prefix("/p/");
    loop {
        let page = store.range(range.clone(), 10).await.unwrap();
        seen.extend(page.kvs.iter().map(|kv| kv.key.to_string()));
        if !page.more {
            break;
        }
        range = range.after(seen.last().unwrap());
    }
    assert_eq!(seen, (0..25).map(|i| format!("/p/{i:02}")).collect::<Vec<_>>());
    // A page that ends exactly at the end says so.
    assert!(!store.range("/p/", 25).await.unwrap().more);
}

async fn a_range_between_two_keys_holds_what_is_between(store: Store) {
    for key in ["/a", "/b", "/c", "/d"] {
        put(&store, key, "v").await;
    }
    assert_eq!(keys(&store, KeyRange::between("/b", "/d")).await, ["/b", "/c"]);
    assert_eq!(keys(&store, KeyRange::between("/d", "/b")).await, [""; 0]);
    assert_eq!(keys(&store, "").await.len(), 4);
    store.scan(KeyRange::between("/d", "/b"), |kv| panic!("{kv:?}")).await.unwrap();
}

async fn a_scan_sees_every_key_once(store: Store) {
    for chunk in 0..3 {
        let txn = (0..400).fold(Txn::new(), |txn, i| txn.put(format!("/s/{:04}", chunk * 400 + i), "v"));
        store.txn(txn).await.unwrap();
    }
    let mut seen = Vec::new();
    let revision = store.scan("/s/", |kv| seen.push(kv.key.to_string())).await.unwrap();
    assert_eq!(revision, 3);
    assert_eq!(seen, (0..1200).map(|i| format!("/s/{i:04}")).collect::<Vec<_>>());
}

async fn bounds_are_refused_by_name(store: Store) {
    let long = "k".repeat(1025);
    assert!(matches!(store.get(&long).await, Err(StoreError::KeyLength { bytes: 1025 })));
    assert!(matches!(store.get("").await, Err(StoreError::KeyLength { bytes: 0 })));
    let refused = store.txn(Txn::new().put("/a", vec![0; (1 << 20) + 1])).await;
    assert!(matches!(refused, Err(TxnError::Store(StoreError::ValueLength { .. }))));
    assert!(matches!(store.lease_grant(Duration::ZERO).await, Err(StoreError::LeaseTtl { seconds: 0 })));
    assert_eq!(store.revision(), 0);
}

async fn a_watch_delivers_every_transaction_in_order(store: Store) {
    let mut watch = store.watch("/w/", 1);
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for i in 0..40 {
                put(&store, &format!("/w/{i}"), "v").await;
            }
        }
    });
    for i in 0..40 {
        let batch = watch.next().await.unwrap();
        assert_eq!(batch.revision, i + 1);
        assert_eq!(batch.events[0].key(), format!("/w/{i}"));
    }
    writer.await.unwrap();
}

async fn a_watch_can_start_in_the_past(store: Store) {
    for i in 0..20 {
        put(&store, "/a", &i.to_string()).await;
    }
    store.txn(Txn::new().delete("/a")).await.unwrap();
    // Further back than the embedded engine keeps in memory: these come from its file.
    let mut watch = store.watch("/a", 3);
    for revision in 3..=20 {
        let batch = watch.next().await.unwrap();
        assert_eq!(batch.revision, revision);
        let Event::Put(kv) = &batch.events[0] else { panic!("{batch:?}") };
        assert_eq!(kv.value, (revision - 1).to_string().as_bytes());
        assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (1, revision, revision));
    }
    assert_eq!(watch.next().await.unwrap().events, [Event::Delete { key: "/a".into(), revision: 21 }]);
}

async fn a_watch_skips_keys_outside_its_range_but_tells_progress(store: Store) {
    let mut watch = store.watch("/in/", 1);
    put(&store, "/out/1", "v").await;
    let batch = watch.next_or_progress().await.unwrap();
    assert_eq!((batch.revision, batch.events.len()), (1, 0));
    let txn = Txn::new().put("/out/2", "v").put("/in/1", "v");
    store.txn(txn).await.unwrap();
    let batch = watch.next().await.unwrap();
    assert_eq!((batch.revision, batch.events.len(), batch.events[0].key()), (2, 1, "/in/1"));
}

async fn what_is_put_untold_is_read_but_not_watched(store: Store) {
    let mut watch = store.watch("/", 1);
    assert_eq!(store.txn(Txn::new().put_untold("/quiet", "1")).await.unwrap(), 1);
    let batch = watch.next_or_progress().await.unwrap();
    assert_eq!((batch.revision, batch.events.len()), (1, 0));
    store.txn(Txn::new().put_untold("/quiet", "2").put("/loud", "v")).await.unwrap();
    let batch = watch.next().await.unwrap();
    assert_eq!((batch.revision, batch.events.len(), batch.events[0].key()), (2, 1, "/loud"));
    assert_eq!(value(&store, "/quiet").await.as_deref(), Some("2"));
    // It is a row like any other otherwise.
    let row = store.get("/quiet").await.unwrap().unwrap();
    assert_eq!((row.create_revision, row.mod_revision, row.version), (1, 2, 2));
    store.txn(Txn::new().require("/quiet", 2).delete("/quiet")).await.unwrap();
    assert_eq!(watch.next().await.unwrap().events[0].key(), "/quiet");
}

async fn what_is_put_untold_costs_watchers_no_history(store: Store) {
    put(&store, "/a", "first").await;
    for i in 0..20 {
        let txn = Txn::new().put_untold("/quiet", vec![b'x'; 1000]).put("/b", i.to_string());
        store.txn(txn).await.unwrap();
    }
    let mut watch = store.watch("/a", 1);
    assert_eq!(watch.next().await.unwrap().events[0].key(), "/a");
}

async fn a_watch_that_fell_behind_is_told(store: Store) {
    let mut watch = store.watch("/", 1);
    for i in 0..300 {
        put(&store, "/a", &i.to_string()).await;
    }
    let oldest = match watch.next().await {
        Err(WatchError::Compacted { oldest }) => oldest,
        other => panic!("not compacted: {other:?}"),
    };
    assert!(oldest > 1 && oldest <= 300, "{oldest}");
    assert_eq!(store.watch("/", oldest).next().await.unwrap().revision, oldest);
}

async fn a_watch_ends_when_the_store_closes(store: Store) {
    put(&store, "/a", "1").await;
    let mut watch = store.watch("/", 1);
    store.close().await;
    // What was there is still delivered if it is at hand; then the end is told, not a silence.
    let mut last = watch.next().await;
    if last.is_ok() {
        last = watch.next().await;
    }
    assert!(matches!(last, Err(WatchError::Store(StoreError::Closed))), "{last:?}");
    assert!(matches!(store.get("/a").await, Err(StoreError::Closed)));
    assert!(matches!(store.txn(Txn::new().put("/a", "2")).await, Err(TxnError::Store(StoreError::Closed))));
}

const TTL: Duration = Duration::from_secs(30);

async fn a_lease_takes_its_keys_with_it(store: Store) {
    let lease = store.lease_grant(TTL).await.unwrap();
    let other = store.lease_grant(TTL * 4).await.unwrap();
    assert_ne!(lease, other);
    let txn = Txn::new().put_with_lease("/l/1", "v", lease).put_with_lease("/l/2", "v", lease);
    store.txn(txn.put_with_lease("/l/3", "v", other)).await.unwrap();
    assert_eq!(store.get("/l/1").await.unwrap().unwrap().lease, Some(lease));
    assert_eq!(store.lease_expire(Instant::now()).await.unwrap(), 0);
    let revision = store.revision();
    assert_eq!(store.lease_expire(Instant::now() + TTL).await.unwrap(), 1);
    assert_eq!(keys(&store, "/l/").await, ["/l/3"]);
    let batch = store.watch("/l/", revision + 1).next().await.unwrap();
    assert_eq!(batch.events.iter().map(Event::key).collect::<Vec<_>>(), ["/l/1", "/l/2"]);
    store.lease_revoke(other).await.unwrap();
    assert_eq!(keys(&store, "/l/").await, [""; 0]);
    assert!(matches!(store.lease_revoke(other).await, Err(StoreError::LeaseNotFound { .. })));
}

async fn a_lease_kept_alive_stays(store: Store) {
    let lease = store.lease_grant(TTL).await.unwrap();
    let granted = Instant::now();
    store.txn(Txn::new().put_with_lease("/l", "v", lease)).await.unwrap();
    assert_eq!(store.lease_keep_alive(lease).await.unwrap(), TTL);
    // Not yet due a moment before its time, whatever the clock did meanwhile.
    assert_eq!(store.lease_expire(granted + TTL - Duration::from_secs(5)).await.unwrap(), 0);
    assert_eq!(keys(&store, "/l").await, ["/l"]);
    assert_eq!(store.lease_expire(Instant::now() + TTL).await.unwrap(), 1);
    assert!(matches!(store.lease_keep_alive(lease).await, Err(StoreError::LeaseNotFound { .. })));
}

async fn a_put_without_lease_leaves_the_lease(store: Store) {
    let lease = store.lease_grant(TTL).await.unwrap();
    store.txn(Txn::new().put_with_lease("/a", "v", lease).put_with_lease("/b", "v", lease)).await.unwrap();
    put(&store, "/a", "mine now").await;
    store.txn(Txn::new().delete("/b")).await.unwrap();
    put(&store, "/b", "new").await;
    store.lease_revoke(lease).await.unwrap();
    assert_eq!(keys(&store, "/").await, ["/a", "/b"]);
}

async fn an_unknown_lease_is_refused(store: Store) {
    let refused = store.txn(Txn::new().put("/a", "v").put_with_lease("/b", "v", LeaseId(77))).await;
    assert!(matches!(refused, Err(TxnError::Store(StoreError::LeaseNotFound { lease: 77 }))));
    assert_eq!(store.revision(), 0);
}

/// The simplest model: keys and values.
#[derive(Default)]
struct Copy(std::collections::BTreeMap<String, Vec<u8>>);

impl Model for Copy {
    fn apply(&mut self, event: &Event) {
        match event {
            Event::Put(kv) => drop(self.0.insert(kv.key.to_string(), kv.value.to_vec())),
            Event::Delete { key, .. } => drop(self.0.remove(&**key)),
        }
    }
}

async fn a_view_shows_what_was_written(store: Store) {
    put(&store, "/v/old", "1").await;
    let view: View<Copy> = View::start(&store, "/v/").await.unwrap();
    assert_eq!(view.read().0.len(), 1);
    for i in 0..30 {
        let revision = put(&store, &format!("/v/{i}"), "v").await;
        view.wait_for(revision).await.unwrap();
        let guard = view.read();
        assert!(guard.revision() >= revision);
        assert_eq!(guard.0.len(), i + 2);
    }
    let revision = store.txn(Txn::new().delete_prefix("/v/")).await.unwrap();
    view.wait_for(revision).await.unwrap();
    assert!(view.read().0.is_empty());
    // A write elsewhere counts as seen, too.
    let revision = put(&store, "/elsewhere", "v").await;
    view.wait_for(revision).await.unwrap();
}

async fn a_view_that_fell_behind_loads_again(store: Store) {
    put(&store, "/v/gone", "1").await;
    let view: View<Copy> = View::start(&store, "/v/").await.unwrap();
    {
        // The view cannot follow while it is being read: hold it until its next event has been dropped.
        let store = store.clone();
        let writes = async move {
            store.txn(Txn::new().delete("/v/gone")).await.unwrap();
            for i in 0..400 {
                put(&store, "/v/a", &i.to_string()).await;
            }
        };
        let guard = view.read();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(writes);
            });
        });
        assert_eq!(guard.0.len(), 1);
    }
    view.wait_for(store.revision()).await.unwrap();
    let guard = view.read();
    assert_eq!(guard.0.len(), 1);
    assert_eq!(guard.0["/v/a"], b"399");
}

async fn values_of_every_size_survive(store: Store) {
    for size in [0usize, 1, 31, 32, 4095, 4096, 65_536, 1 << 20] {
        let value = vec![u8::try_from(size % 251).unwrap(); size];
        store.txn(Txn::new().put("/big", value.clone())).await.unwrap();
        assert_eq!(store.get("/big").await.unwrap().unwrap().value, value);
    }
    let key = "k".repeat(1024);
    put(&store, &key, "v").await;
    assert_eq!(value(&store, &key).await.unwrap(), "v");
}

async fn concurrent_writers_all_get_their_own_revision(store: Store) {
    let writers = (0..8).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut revisions = Vec::new();
            for i in 0..25 {
                revisions.push(put(&store, &format!("/c/{writer}/{i}"), "v").await);
            }
            revisions
        })
    });
    let mut all = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        let revisions = writer.await.unwrap();
        assert!(revisions.is_sorted());
        all.extend(revisions);
    }
    all.sort_unstable();
    assert_eq!(all, (1..=200).collect::<Vec<_>>());
    for kv in store.range("/c/", 0).await.unwrap().kvs {
        assert!(all.binary_search(&kv.mod_revision).is_ok());
    }
}
