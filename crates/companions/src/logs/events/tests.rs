//! The event store by itself: crashes at any place, order, bounds.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use super::*;

fn id(stream: u64) -> StreamId {
    StreamId { group: 7, stream }
}

fn all(streams: impl IntoIterator<Item = u64>) -> Selection {
    Selection {
        streams: streams.into_iter().map(id).collect(),
        from: Position::at(0),
        until: Position::at(u64::MAX),
        order: Order::OldestFirst,
        events_max: 10_000,
        bytes_max: 64 << 20,
        read_max: u64::MAX,
    }
}

async fn messages(events: &Events, selection: Selection) -> Vec<String> {
    let selected = events.select(selection, |_| true).await.unwrap();
    selected.events.into_iter().map(|found| found.message).collect()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn segments(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for group in std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        for stream in std::fs::read_dir(group).unwrap() {
            found.extend(std::fs::read_dir(stream.unwrap().path()).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn events_survive_a_clean_end() {
    let dir = tempfile::tempdir().unwrap();
    let events = Events::open(dir.path()).unwrap();
    events.append(id(1), 100, &[(10, "a".into()), (20, "b".into())]).await.unwrap();
    events.append(id(2), 100, &[(15, "c".into())]).await.unwrap();
    assert_eq!(messages(&events, all([1, 2])).await, ["a", "c", "b"]);
    events.close();
    assert!(matches!(events.append(id(1), 1, &[(1, "x".into())]).await, Err(AppendError::Closed)));
    assert_eq!(journal::list(dir.path()).unwrap(), [0u64; 0], "nothing to repair");
    let events = Events::open(dir.path()).unwrap();
    assert_eq!(messages(&events, all([1, 2])).await, ["a", "c", "b"]);
    events.append(id(1), 100, &[(30, "d".into())]).await.unwrap();
    assert_eq!(messages(&events, all([1])).await, ["a", "b", "d"]);
}

/// The journal is what is synced. Whatever a power failure does to the segments, everything answered comes back.
#[tokio::test(flavor = "multi_thread")]
async fn segments_lost_in_a_crash_come_back_from_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let events = Events::open(&dir.path().join("live")).unwrap();
    let mut expected = Vec::new();
    for i in 0..90u64 {
        // Big enough that stream 1 has several segments.
        let message = format!("{i:03} {}", "x".repeat(if i % 3 == 1 { 200_000 } else { 50 }));
        events.append(id(i % 3), 1000 + i, &[(i, message.clone())]).await.unwrap();
        expected.push(message);
    }
    let live = segments(&dir.path().join("live"));
    assert!(live.len() > 3, "several segments: {}", live.len());
    for (case, victim) in live.iter().enumerate() {
        let name = victim.strip_prefix(dir.path().join("live")).unwrap();
        let len = std::fs::metadata(victim).unwrap().len();
        let damages: [&dyn Fn(&Path); 4] = [
            &|path| std::fs::remove_file(path).unwrap(),
            &|path| std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(len / 2).unwrap(),
            &|path| std::fs::write(path, vec![0; usize::try_from(len).unwrap()]).unwrap(),
            &|path| {
                let mut bytes = std::fs::read(path).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0x55;
                std::fs::write(path, bytes).unwrap();
            },
        ];
        for (kind, damage) in damages.iter().enumerate() {
            let crashed = dir.path().join(format!("crashed-{case}-{kind}"));
            copy(&dir.path().join("live"), &crashed);
            damage(&crashed.join(name));
            let again = Events::open(&crashed).unwrap();
            let found = messages(&again, all([0, 1, 2])).await;
            assert_eq!(found.len(), expected.len(), "{name:?} damaged by {kind}");
            assert!(found == expected, "{name:?} damaged by {kind}");
            again.append(id(1), 5000, &[(5000, "after".into())]).await.unwrap();
            assert_eq!(messages(&again, all([1])).await.len(), 31);
            drop(again);
            std::fs::remove_dir_all(&crashed).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_cut_anywhere_loses_only_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    let events = Events::open(&live).unwrap();
    for i in 0..20u64 {
        events.append(id(i % 2), 1, &[(i, format!("message {i}"))]).await.unwrap();
    }
    let journal = std::fs::read(journal::path(&live, 0)).unwrap();
    for end in (0..journal.len()).step_by(61) {
        let crashed = dir.path().join(format!("cut-{end}"));
        std::fs::create_dir(&crashed).unwrap();
        std::fs::write(journal::path(&crashed, 0), &journal[..end]).unwrap();
        let found = messages(&Events::open(&crashed).unwrap(), all([0, 1])).await;
        let expected: Vec<String> = (0..found.len()).map(|i| format!("message {i}")).collect();
        assert_eq!(found, expected);
        assert!(found.len() * journal.len() / 20 + journal.len() / 10 >= end, "{} of {end}", found.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn full_journals_are_retired() {
    let dir = tempfile::tempdir().unwrap();
    let events = Events::open(dir.path()).unwrap();
    let message = "x".repeat(1_000_000);
    for i in 0..70 {
        events.append(id(i % 5), 1, &[(i, message.clone())]).await.unwrap();
    }
    events.close();
    assert_eq!(journal::list(dir.path()).unwrap(), [0u64; 0]);
    let again = Events::open(dir.path()).unwrap();
    assert_eq!(messages(&again, Selection { bytes_max: 100 << 20, ..all(0..5) }).await.len(), 70);
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_deletes_whole_segments_and_numbers_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let events = Events::open(dir.path()).unwrap();
    let message = "x".repeat(900_000);
    for i in 0..12u64 {
        events.append(id(1), i, &[(i * 10, message.clone())]).await.unwrap();
    }
    let before = segments(dir.path()).len();
    assert!(before >= 3);
    assert_eq!(events.expire(id(1), 0).await.unwrap(), 0);
    assert!(events.expire(id(1), 50).await.unwrap() > 3_000_000);
    assert_eq!(segments(dir.path()).len(), before - 1);
    assert!(events.expire(id(1), 1_000_000).await.unwrap() > 3_000_000);
    assert_eq!(segments(dir.path()).len(), 1);
    assert_eq!(events.summaries(vec![id(1)]).await.unwrap(), [Summary::default()]);
    events.append(id(1), 99, &[(500, "new".into())]).await.unwrap();
    let found = events.select(all([1]), |_| true).await.unwrap().events;
    assert_eq!((found.len(), found[0].position.sequence), (1, 12));
    drop(events);
    let events = Events::open(dir.path()).unwrap();
    assert_eq!(messages(&events, all([1])).await, ["new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_streams_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let events = Events::open(dir.path()).unwrap();
    for stream in 0..3 {
        events.append(id(stream), 1, &[(1, "x".into())]).await.unwrap();
    }
    events.delete_stream(id(0)).await.unwrap();
    assert_eq!(messages(&events, all([0, 1, 2])).await.len(), 2);
    assert_eq!(events.directories(Some(7)).unwrap().len(), 2);
    events.delete_group(7).await.unwrap();
    assert_eq!(messages(&events, all([0, 1, 2])).await.len(), 0);
    assert_eq!(events.directories(None).unwrap(), [0u64; 0]);
    events.delete_group(7).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_read_enough_says_up_to_where_it_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let events = Events::open(dir.path()).unwrap();
    let message = "x".repeat(40_000);
    for i in 0..60u64 {
        events.append(id(i % 4), 1, &[(i, format!("{i} {message}"))]).await.unwrap();
    }
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let mut selection = Selection { read_max: 1, order, ..all(0..4) };
        let mut found = Vec::new();
        let mut pages = 0;
        loop {
            let page = events.select(selection.clone(), |message| message.starts_with("3")).await.unwrap();
            found.extend(page.events.iter().map(|found| found.position.timestamp));
            pages += 1;
            match (page.rest, order) {
                (None, _) => break,
                (Some(rest), Order::OldestFirst) => selection.from = rest,
                (Some(rest), Order::NewestFirst) => selection.until = rest,
            }
        }
        let mut expected: Vec<u64> = vec![3, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39];
        if order == Order::NewestFirst {
            expected.reverse();
        }
        assert_eq!(found, expected);
        assert!(pages > 5, "{pages}");
    }
}

/// Batches of (stream, timestamps, length of messages).
fn batches() -> impl Strategy<Value = Vec<(u64, Vec<u64>, usize)>> {
    let batch =
        (0..4u64, prop::collection::vec(0..60u64, 1..8), prop_oneof![9 => 0..40usize, 1 => 20_000..90_000usize]);
    prop::collection::vec(batch, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// Pages in either direction, put together, are the sorted list of all wanted events.
    #[test]
    fn pages_add_up_to_everything_in_order(
        batches in batches(),
        events_max in 1..9usize,
        bytes_max in 1..100_000usize,
        read_max in 1..200_000u64,
        range in (0..60u64, 0..70u64),
        newest_first in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let events = Events::open(dir.path()).unwrap();
            let mut expected = BTreeMap::new();
            let mut sequences = [0u64; 4];
            for (stream, mut times, len) in batches {
                times.sort_unstable();
                let batch: Vec<_> = times.iter().map(|time| (*time, format!("{time}{}", "x".repeat(len)))).collect();
                events.append(id(stream), 1, &batch).await.unwrap();
                for (timestamp, message) in batch {
                    let sequence = &mut sequences[usize::try_from(stream).unwrap()];
                    let position = Position { timestamp, stream, sequence: *sequence };
                    *sequence += 1;
                    if timestamp >= range.0 && timestamp < range.1 && timestamp % 3 != 0 {
                        expected.insert(position, message);
                    }
                }
            }
            let order = if newest_first { Order::NewestFirst } else { Order::OldestFirst };
            let mut selection = Selection {
                from: Position::at(range.0), until: Position::at(range.1), order, events_max, bytes_max, read_max, ..all(0..4)
            };
            let wanted = |message: &str| message.trim_end_matches('x').parse::<u64>().unwrap() % 3 != 0;
            let mut found = Vec::new();
            for _ in 0..2000 {
                let page = events.select(selection.clone(), wanted).await.unwrap();
                assert!(page.events.len() <= events_max);
                let bytes: usize = page.events.iter().map(|found| found.message.len()).sum();
                assert!(bytes <= bytes_max || page.events.len() == 1);
                found.extend(page.events.into_iter().map(|found| (found.position, found.message)));
                match page.rest {
                    None => break,
                    Some(rest) if newest_first => selection.until = rest,
                    Some(rest) => selection.from = rest,
                }
            }
            let mut expected: Vec<_> = expected.into_iter().collect();
            if newest_first {
                expected.reverse();
            }
            assert_eq!(found.len(), expected.len());
            assert!(found == expected);
        });
    }
}
