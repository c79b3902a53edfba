//! Random transactions against the plainest possible model of the store, on both engines, with reopening.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use gantry_store::{Embedded, EmbeddedOptions, Event, KeyRange, Memory, Revision, Store, Txn, TxnError};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Txn { compares: Vec<(u8, Expect)>, ops: Vec<Change> },
    Reopen,
}

#[derive(Debug, Clone, Copy)]
enum Expect {
    Absent,
    Exists,
    Current,
    Stale,
}

#[derive(Debug, Clone)]
enum Change {
    Put(u8, Vec<u8>),
    Delete(u8),
    DeletePrefix(u8),
}

#[derive(Debug, Clone, PartialEq)]
struct Row {
    value: Vec<u8>,
    create: Revision,
    modified: Revision,
    version: u64,
}

#[derive(Debug, Default)]
struct Expected {
    rows: BTreeMap<String, Row>,
    revision: Revision,
}

/// 24 keys under 6 prefixes: small enough that transactions meet.
fn key(number: u8) -> String {
    format!("/{}/{}", number % 6, (number / 6) % 4)
}

impl Expected {
    fn revision_of(&self, key: &str) -> Revision {
        self.rows.get(key).map_or(0, |row| row.modified)
    }

    fn txn(&self, compares: &[(u8, Expect)], ops: &[Change]) -> Txn {
        let mut txn = Txn::new();
        for (number, expect) in compares {
            let key = key(*number);
            let current = self.revision_of(&key);
            txn = match expect {
                Expect::Absent => txn.require_absent(key),
                Expect::Exists => txn.require_exists(key),
                Expect::Current => txn.require(key, current),
                Expect::Stale => txn.require(key, current + 1),
            };
        }
        for op in ops {
            txn = match op {
                Change::Put(number, value) => txn.put(key(*number), value.clone()),
                Change::Delete(number) => txn.delete(key(*number)),
                Change::DeletePrefix(number) => txn.delete_prefix(format!("/{}/", number % 6)),
            };
        }
        txn
    }

    /// Whether every compare holds.
    fn holds(&self, compares: &[(u8, Expect)]) -> bool {
        compares.iter().all(|(number, expect)| match expect {
            Expect::Absent => !self.rows.contains_key(&key(*number)),
            Expect::Exists => self.rows.contains_key(&key(*number)),
            Expect::Current => true,
            Expect::Stale => false,
        })
    }

    fn apply(&mut self, ops: &[Change]) {
        let revision = self.revision + 1;
        let mut changed = false;
        for op in ops {
            match op {
                Change::Put(number, value) => {
                    let before = self.rows.get(&key(*number));
                    let row = Row {
                        value: value.clone(),
                        create: before.map_or(revision, |row| row.create),
                        modified: revision,
                        version: before.map_or(0, |row| row.version) + 1,
                    };
                    self.rows.insert(key(*number), row);
                    changed = true;
                }
                Change::Delete(number) => changed |= self.rows.remove(&key(*number)).is_some(),
                Change::DeletePrefix(number) => {
                    let before = self.rows.len();
                    let prefix = format!("/{}/", number % 6);
                    self.rows.retain(|key, _| !key.starts_with(&prefix));
                    changed |= self.rows.len() != before;
                }
            }
        }
        self.revision += u64::from(changed);
    }
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(key, value)| Change::Put(key, value)),
        3 => any::<u8>().prop_map(Change::Delete),
        1 => any::<u8>().prop_map(Change::DeletePrefix),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let expect = prop_oneof![
        Just(Expect::Current),
        Just(Expect::Current),
        Just(Expect::Exists),
        Just(Expect::Absent),
        Just(Expect::Stale)
    ];
    let txn = (prop::collection::vec((any::<u8>(), expect), 0..3), prop::collection::vec(change(), 0..6))
        .prop_map(|(compares, ops)| Step::Txn { compares, ops });
    prop_oneof![30 => txn, 1 => Just(Step::Reopen)]
}

async fn rows(store: &Store) -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    store
        .scan("", |kv| {
            let row = Row {
                value: kv.value.to_vec(),
                create: kv.create_revision,
                modified: kv.mod_revision,
                version: kv.version,
            };
            rows.insert(kv.key.to_string(), row);
        })
        .await
        .unwrap();
    rows
}

/// Plays the steps; `reopen` gives the store after a restart.
async fn play(mut store: Store, steps: &[Step], reopen: impl AsyncFn(Store) -> Store) {
    let mut expected = Expected::default();
    let mut followed = BTreeMap::new();
    let mut watch = store.watch("", 1);
    for step in steps {
        match step {
            Step::Reopen => {
                store = reopen(store).await;
                watch = store.watch("", expected.revision + 1);
            }
            Step::Txn { compares, ops } => {
                let txn = expected.txn(compares, ops);
                match store.txn(txn).await {
                    Ok(revision) => {
                        assert!(expected.holds(compares));
                        let before = expected.revision;
                        expected.apply(ops);
                        assert_eq!(revision, expected.revision);
                        if revision > before {
                            follow(&mut followed, watch.next().await.unwrap().events);
                        }
                    }
                    Err(TxnError::Conflict { .. }) => assert!(!expected.holds(compares)),
                    // The generator may touch a key twice, which every engine refuses.
                    Err(TxnError::Store(error)) => {
                        assert!(matches!(error, gantry_store::StoreError::DuplicateKey { .. }), "{error:?}");
                    }
                }
            }
        }
        assert_eq!(store.revision(), expected.revision);
    }
    assert_eq!(rows(&store).await, expected.rows);
    let values: BTreeMap<_, _> = expected.rows.iter().map(|(key, row)| (key.clone(), row.value.clone())).collect();
    assert_eq!(followed, values, "what the watch told adds up to what is there");
    let page = store.range(KeyRange::prefix("/1/"), 2).await.unwrap();
    assert_eq!(page.more, expected.rows.keys().filter(|key| key.starts_with("/1/")).count() > 2);
}

fn follow(rows: &mut BTreeMap<String, Vec<u8>>, events: Vec<Event>) {
    for event in events {
        match event {
            Event::Put(kv) => drop(rows.insert(kv.key.to_string(), kv.value.to_vec())),
            Event::Delete { key, .. } => drop(rows.remove(&*key)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn random_transactions_do_what_the_model_does(steps in prop::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(async {
            // The in-memory engine has nothing to reopen.
            play(Memory::store(), &steps, async |store| store).await;
            let dir = tempfile::tempdir().unwrap();
            let open = async || Embedded::open(dir.path().join("state"), EmbeddedOptions::default()).await.unwrap();
            play(open().await, &steps, async |store: Store| {
                store.close().await;
                open().await
            })
            .await;
        });
    }
}
