//! CloudWatch Logs as a client sees it, without the wire.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use gantry_api::logs::*;
use gantry_api::{Caller, Fault};
use gantry_companions::logs::Logs as Service;
use gantry_domain::Timestamp;
use gantry_store::{Memory, Store};

const DAY: i64 = 24 * 60 * 60 * 1000;
const NOW: i64 = 1_750_000_000_000;

struct World {
    logs: Service,
    store: Store,
    dir: tempfile::TempDir,
    now: Arc<AtomicI64>,
    caller: Caller,
}

fn caller(region: &str) -> Caller {
    Caller::root("000000000000", region)
}

impl World {
    async fn new() -> Self {
        let (dir, store, now) = (tempfile::tempdir().unwrap(), Memory::store(), Arc::new(AtomicI64::new(NOW)));
        let logs = open(&store, &dir, &now).await;
        Self { logs, store, dir, now, caller: caller("us-east-1") }
    }

    async fn with_stream() -> Self {
        let world = Self::new().await;
        world.group("g").await.unwrap();
        world.stream("g", "s").await.unwrap();
        world
    }

    async fn reopen(&mut self) {
        self.logs.close().await;
        self.logs = open(&self.store, &self.dir, &self.now).await;
    }

    async fn group(&self, name: &str) -> Result<(), Fault> {
        let input = CreateLogGroupRequest { log_group_name: Some(name.into()), ..Default::default() };
        self.logs.create_log_group(&self.caller, input).await.map(|_| ())
    }

    async fn stream(&self, group: &str, name: &str) -> Result<(), Fault> {
        let input = CreateLogStreamRequest { log_group_name: Some(group.into()), log_stream_name: Some(name.into()) };
        self.logs.create_log_stream(&self.caller, input).await.map(|_| ())
    }

    async fn put(&self, group: &str, stream: &str, events: &[(i64, &str)]) -> Result<PutLogEventsResponse, Fault> {
        let event = |(time, message): &(i64, &str)| InputLogEvent {
            timestamp: Some(NOW + time),
            message: Some((*message).into()),
        };
        let input = PutLogEventsRequest {
            log_group_name: Some(group.into()),
            log_stream_name: Some(stream.into()),
            log_events: Some(events.iter().map(event).collect()),
            sequence_token: Some("whatever".into()),
            entity: None,
        };
        self.logs.put_log_events(&self.caller, input).await
    }

    async fn get(&self, change: impl FnOnce(&mut GetLogEventsRequest)) -> GetLogEventsResponse {
        let mut input = GetLogEventsRequest {
            log_group_name: Some("g".into()),
            log_stream_name: Some("s".into()),
            ..Default::default()
        };
        change(&mut input);
        self.logs.get_log_events(&self.caller, input).await.unwrap()
    }

    async fn filter(&self, change: impl FnOnce(&mut FilterLogEventsRequest)) -> Result<FilterLogEventsResponse, Fault> {
        let mut input = FilterLogEventsRequest { log_group_name: Some("g".into()), ..Default::default() };
        change(&mut input);
        self.logs.filter_log_events(&self.caller, input).await
    }

    async fn groups(&self, change: impl FnOnce(&mut DescribeLogGroupsRequest)) -> Vec<String> {
        let mut input = DescribeLogGroupsRequest::default();
        change(&mut input);
        let found = self.logs.describe_log_groups(&self.caller, input).await.unwrap();
        found.log_groups.unwrap().into_iter().map(|group| group.log_group_name.unwrap()).collect()
    }
}

async fn open(store: &Store, dir: &tempfile::TempDir, now: &Arc<AtomicI64>) -> Service {
    let now = now.clone();
    let clock = Arc::new(move || Timestamp::from_millis(now.load(Ordering::SeqCst)));
    Service::open(store.clone(), dir.path().join("logs"), clock).await.unwrap()
}

fn messages(found: &GetLogEventsResponse) -> Vec<&str> {
    found.events.as_ref().unwrap().iter().map(|event| event.message.as_deref().unwrap()).collect()
}

fn filtered(found: &FilterLogEventsResponse) -> Vec<&str> {
    found.events.as_ref().unwrap().iter().map(|event| event.message.as_deref().unwrap()).collect()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Fault>, code: &str, message: &str) {
    let fault = result.unwrap_err();
    assert_eq!((fault.code, fault.message.as_str()), (code, message));
}

const NOT_FOUND: &str = "ResourceNotFoundException";
const NO_GROUP: &str = "The specified log group does not exist.";
const NO_STREAM: &str = "The specified log stream does not exist.";

#[tokio::test]
async fn names_are_taken_once_and_absence_is_told() {
    let world = World::with_stream().await;
    refused(world.group("g").await, "ResourceAlreadyExistsException", "The specified log group already exists");
    refused(world.stream("g", "s").await, "ResourceAlreadyExistsException", "The specified log stream already exists");
    refused(world.stream("no", "s").await, NOT_FOUND, NO_GROUP);
    refused(world.put("no", "s", &[(0, "m")]).await, NOT_FOUND, NO_GROUP);
    refused(world.put("g", "no", &[(0, "m")]).await, NOT_FOUND, NO_STREAM);
    refused(world.filter(|input| input.log_group_name = Some("no".into())).await, NOT_FOUND, NO_GROUP);
    refused(world.filter(|input| input.log_stream_names = Some(vec!["no".into()])).await, NOT_FOUND, NO_STREAM);
    refused(
        world.group("aws/x").await,
        "InvalidParameterException",
        "Log groups starting with AWS/ are reserved for AWS.",
    );
}

#[tokio::test]
async fn other_regions_are_other_worlds() {
    let mut world = World::with_stream().await;
    world.caller = caller("eu-west-1");
    assert_eq!(world.groups(|_| ()).await, [""; 0]);
    world.group("g").await.unwrap();
    refused(world.put("g", "s", &[(0, "m")]).await, NOT_FOUND, NO_STREAM);
}

#[tokio::test]
async fn a_group_describes_itself_as_the_service_does() {
    let world = World::new().await;
    let input = CreateLogGroupRequest {
        log_group_name: Some("/ecs/web".into()),
        tags: Some(BTreeMap::from([("a".into(), "b".into())])),
        ..Default::default()
    };
    world.logs.create_log_group(&world.caller, input).await.unwrap();
    let retention = PutRetentionPolicyRequest { log_group_name: Some("/ecs/web".into()), retention_in_days: Some(7) };
    world.logs.put_retention_policy(&world.caller, retention).await.unwrap();
    let found = world.logs.describe_log_groups(&world.caller, DescribeLogGroupsRequest::default()).await.unwrap();
    let group = &found.log_groups.unwrap()[0];
    assert_eq!(group.arn.as_deref(), Some("arn:aws:logs:us-east-1:000000000000:log-group:/ecs/web:*"));
    assert_eq!(group.log_group_arn.as_deref(), Some("arn:aws:logs:us-east-1:000000000000:log-group:/ecs/web"));
    assert_eq!((group.creation_time, group.retention_in_days), (Some(NOW), Some(7)));
    assert_eq!(group.log_group_class, Some(LogGroupClass::Standard));
    let odd = PutRetentionPolicyRequest { log_group_name: Some("/ecs/web".into()), retention_in_days: Some(8) };
    assert_eq!(
        world.logs.put_retention_policy(&world.caller, odd).await.unwrap_err().code,
        "InvalidParameterException"
    );
}

#[tokio::test]
async fn groups_are_listed_by_prefix_pattern_and_page() {
    let world = World::new().await;
    for i in 0..60 {
        world.group(&format!("/p/{i:02}")).await.unwrap();
    }
    world.group("/q/05").await.unwrap();
    let first = world.groups(|_| ()).await;
    assert_eq!((first.len(), first[0].as_str()), (50, "/p/00"));
    assert_eq!(world.groups(|input| input.log_group_name_pattern = Some("05".into())).await, ["/p/05", "/q/05"]);
    assert_eq!(world.groups(|input| input.log_group_name_prefix = Some("/q".into())).await, ["/q/05"]);
    let arn = "arn:aws:logs:us-east-1:000000000000:log-group:/p/07:*".to_owned();
    assert_eq!(world.groups(|input| input.log_group_identifiers = Some(vec![arn])).await, ["/p/07"]);
    let (mut seen, mut token) = (Vec::new(), None);
    loop {
        let input = DescribeLogGroupsRequest { limit: Some(7), next_token: token, ..Default::default() };
        let page = world.logs.describe_log_groups(&world.caller, input).await.unwrap();
        seen.extend(page.log_groups.unwrap().into_iter().map(|group| group.log_group_name.unwrap()));
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 61);
    assert!(seen.is_sorted());
    let alternatives = ListLogGroupsRequest { log_group_name_pattern: Some("^/q|/59".into()), ..Default::default() };
    let listed = world.logs.list_log_groups(&world.caller, alternatives).await.unwrap().log_groups.unwrap();
    assert_eq!(listed.len(), 2);
    let bad = DescribeLogGroupsRequest { next_token: Some("junk".into()), ..Default::default() };
    refused(
        world.logs.describe_log_groups(&world.caller, bad).await,
        "InvalidParameterException",
        "The specified nextToken is invalid.",
    );
}

#[tokio::test]
async fn streams_are_listed_by_name_or_last_event() {
    let world = World::new().await;
    world.group("g").await.unwrap();
    for (name, time) in [("b", 30), ("a", 10), ("c", 20), ("empty", 0)] {
        world.stream("g", name).await.unwrap();
        if name != "empty" {
            world.put("g", name, &[(time - 5, "x"), (time, "y")]).await.unwrap();
        }
    }
    let list = |order: Option<OrderBy>, descending: bool, prefix: Option<&str>| {
        let input = DescribeLogStreamsRequest {
            log_group_name: Some("g".into()),
            order_by: order,
            descending: Some(descending),
            log_stream_name_prefix: prefix.map(str::to_owned),
            limit: Some(2),
            ..Default::default()
        };
        let world = &world;
        async move {
            let (mut names, mut token) = (Vec::new(), None);
            loop {
                let input = DescribeLogStreamsRequest { next_token: token, ..input.clone() };
                let page = world.logs.describe_log_streams(&world.caller, input).await?;
                names.extend(page.log_streams.unwrap().into_iter().map(|stream| stream.log_stream_name.unwrap()));
                token = page.next_token;
                if token.is_none() {
                    return Ok::<_, Fault>(names);
                }
            }
        }
    };
    assert_eq!(list(None, false, None).await.unwrap(), ["a", "b", "c", "empty"]);
    assert_eq!(list(None, true, None).await.unwrap(), ["empty", "c", "b", "a"]);
    assert_eq!(list(Some(OrderBy::LastEventTime), true, None).await.unwrap(), ["b", "c", "a", "empty"]);
    assert_eq!(list(Some(OrderBy::LastEventTime), false, None).await.unwrap(), ["empty", "a", "c", "b"]);
    assert_eq!(list(None, false, Some("e")).await.unwrap(), ["empty"]);
    refused(
        list(Some(OrderBy::LastEventTime), false, Some("e")).await,
        "InvalidParameterException",
        "Cannot order by LastEventTime with a logStreamNamePrefix.",
    );
    let input = DescribeLogStreamsRequest { log_group_name: Some("g".into()), ..Default::default() };
    let streams = world.logs.describe_log_streams(&world.caller, input).await.unwrap().log_streams.unwrap();
    let a = &streams[0];
    assert_eq!(a.arn.as_deref(), Some("arn:aws:logs:us-east-1:000000000000:log-group:g:log-stream:a"));
    assert_eq!((a.first_event_timestamp, a.last_event_timestamp), (Some(NOW + 5), Some(NOW + 10)));
    assert_eq!((a.last_ingestion_time, a.stored_bytes), (Some(NOW), Some(0)));
    assert_eq!((streams[3].first_event_timestamp, streams[3].last_event_timestamp), (None, None));
}

#[tokio::test]
async fn the_newest_events_come_first_unless_asked_and_each_page_ascends() {
    let world = World::with_stream().await;
    for i in 0..10 {
        world.put("g", "s", &[(i, &format!("m{i}"))]).await.unwrap();
    }
    let newest = world.get(|input| input.limit = Some(3)).await;
    assert_eq!(messages(&newest), ["m7", "m8", "m9"]);
    let older = world.get(|input| (input.limit, input.next_token) = (Some(3), newest.next_backward_token)).await;
    assert_eq!(messages(&older), ["m4", "m5", "m6"]);
    let back = world.get(|input| (input.limit, input.next_token) = (Some(3), older.next_forward_token)).await;
    assert_eq!(messages(&back), ["m7", "m8", "m9"]);
    let head = world.get(|input| (input.limit, input.start_from_head) = (Some(4), Some(true))).await;
    assert_eq!(messages(&head), ["m0", "m1", "m2", "m3"]);
    let range = world.get(|input| (input.start_time, input.end_time) = (Some(NOW + 2), Some(NOW + 5))).await;
    assert_eq!(messages(&range), ["m2", "m3", "m4"]);
}

#[tokio::test]
async fn at_the_end_of_the_data_the_token_comes_back_and_later_finds_what_came() {
    let world = World::with_stream().await;
    let empty = world.get(|input| input.start_from_head = Some(true)).await;
    assert_eq!(messages(&empty), [""; 0]);
    let mut token = empty.next_forward_token;
    let mut seen = Vec::new();
    for i in 0..5 {
        // Two events of the same millisecond each time.
        world.put("g", "s", &[(7, &format!("m{i}")), (7, &format!("n{i}"))]).await.unwrap();
        let page = world.get(|input| input.next_token = token.clone()).await;
        seen.extend(messages(&page).into_iter().map(str::to_owned));
        token = page.next_forward_token;
        let again = world.get(|input| input.next_token = token.clone()).await;
        assert_eq!((messages(&again).len(), again.next_forward_token), (0, token.clone()));
    }
    assert_eq!(seen, ["m0", "n0", "m1", "n1", "m2", "n2", "m3", "n3", "m4", "n4"]);
    let first = world.get(|input| input.start_from_head = Some(true)).await;
    let before = world.get(|input| input.next_token = first.next_backward_token.clone()).await;
    assert_eq!((messages(&before).len(), before.next_backward_token), (0, first.next_backward_token));
    let input = GetLogEventsRequest {
        log_group_name: Some("g".into()),
        log_stream_name: Some("s".into()),
        next_token: Some("f/12/s".into()),
        ..Default::default()
    };
    assert_eq!(world.logs.get_log_events(&world.caller, input).await.unwrap_err().code, "InvalidParameterException");
}

#[tokio::test]
async fn filtering_merges_streams_by_time_and_pages() {
    let world = World::new().await;
    world.group("g").await.unwrap();
    for name in ["web/1", "web/2", "db/1"] {
        world.stream("g", name).await.unwrap();
    }
    for i in 0..9 {
        let stream = ["web/1", "web/2", "db/1"][i % 3];
        let time = i64::try_from(i).unwrap();
        world.put("g", stream, &[(time, &format!("{} {i}", if i % 2 == 0 { "ERROR" } else { "ok" }))]).await.unwrap();
    }
    let all = world.filter(|_| ()).await.unwrap();
    assert_eq!(filtered(&all), ["ERROR 0", "ok 1", "ERROR 2", "ok 3", "ERROR 4", "ok 5", "ERROR 6", "ok 7", "ERROR 8"]);
    assert_eq!(all.next_token, None);
    let events = all.events.as_ref().unwrap();
    assert_eq!(events[2].log_stream_name.as_deref(), Some("db/1"));
    let ids: std::collections::BTreeSet<_> = events.iter().map(|event| event.event_id.clone().unwrap()).collect();
    assert_eq!(ids.len(), 9);
    assert!(ids.iter().all(|id| id.len() == 56 && id.bytes().all(|digit| digit.is_ascii_digit())));
    let errors = world.filter(|input| input.filter_pattern = Some("ERROR".into())).await.unwrap();
    assert_eq!(filtered(&errors).len(), 5);
    let web = world.filter(|input| input.log_stream_name_prefix = Some("web/".into())).await.unwrap();
    assert_eq!(filtered(&web).len(), 6);
    let one = world.filter(|input| input.log_stream_names = Some(vec!["db/1".into()])).await.unwrap();
    assert_eq!(filtered(&one), ["ERROR 2", "ok 5", "ERROR 8"]);
    let newest = world.filter(|input| (input.start_from_head, input.limit) = (Some(false), Some(2))).await.unwrap();
    assert_eq!(filtered(&newest), ["ERROR 8", "ok 7"]);
    let (mut seen, mut token) = (Vec::new(), None);
    loop {
        let page = world.filter(|input| (input.limit, input.next_token) = (Some(2), token)).await.unwrap();
        seen.extend(filtered(&page).into_iter().map(str::to_owned));
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen, filtered(&all));
    refused(
        world.filter(|input| input.filter_pattern = Some("foo-bar".into())).await,
        "InvalidParameterException",
        "Invalid character(s) in term 'foo-bar'",
    );
}

#[tokio::test]
async fn rejected_events_are_told_and_the_others_kept() {
    let world = World::with_stream().await;
    let answer = world.put("g", "s", &[(-14 * DAY - 1, "old"), (-14 * DAY, "kept")]).await.unwrap();
    assert_eq!(answer.rejected_log_events_info.unwrap().too_old_log_event_end_index, Some(1));
    assert!(answer.next_sequence_token.unwrap().bytes().all(|digit| digit.is_ascii_digit()));
    let answer = world.put("g", "s", &[(0, "now"), (DAY / 12 + 1, "new")]).await.unwrap();
    assert_eq!(answer.rejected_log_events_info.unwrap().too_new_log_event_start_index, Some(1));
    assert_eq!(messages(&world.get(|_| ()).await), ["kept", "now"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_hides_at_once_and_then_deletes() {
    let world = World::with_stream().await;
    for i in 0..8 {
        world.put("g", "s", &[(i, &"x".repeat(900_000))]).await.unwrap();
    }
    let retention = PutRetentionPolicyRequest { log_group_name: Some("g".into()), retention_in_days: Some(1) };
    world.logs.put_retention_policy(&world.caller, retention).await.unwrap();
    assert_eq!(world.filter(|_| ()).await.unwrap().events.unwrap().len(), 1, "a page is about a mebibyte");
    world.now.store(NOW + DAY + 100, Ordering::SeqCst);
    world.put("g", "s", &[(DAY, "fresh")]).await.unwrap();
    assert_eq!(messages(&world.get(|_| ()).await), ["fresh"]);
    world.logs.enforce_retention().await.unwrap();
    assert!(disk_usage(world.dir.path(), "seg") < 100_000, "{}", disk_usage(world.dir.path(), "seg"));
    assert_eq!(messages(&world.get(|_| ()).await), ["fresh"]);
    world.now.store(NOW + 3 * DAY, Ordering::SeqCst);
    world.logs.enforce_retention().await.unwrap();
    assert_eq!(disk_usage(world.dir.path(), "seg"), 0);
    let late = world.put("g", "s", &[(0, "too late")]).await.unwrap();
    assert_eq!(late.rejected_log_events_info.unwrap().expired_log_event_end_index, Some(1));
}

fn disk_usage(directory: &std::path::Path, extension: &str) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.file_type().unwrap().is_dir() {
            true => disk_usage(&entry.path(), extension),
            false if entry.path().extension().is_some_and(|found| found == extension) => {
                entry.metadata().unwrap().len()
            }
            false => 0,
        })
        .sum()
}

#[tokio::test]
async fn a_deleted_stream_or_group_comes_back_empty() {
    let mut world = World::with_stream().await;
    world.put("g", "s", &[(0, "before")]).await.unwrap();
    let stream = DeleteLogStreamRequest { log_group_name: Some("g".into()), log_stream_name: Some("s".into()) };
    world.logs.delete_log_stream(&world.caller, stream.clone()).await.unwrap();
    refused(world.logs.delete_log_stream(&world.caller, stream).await, NOT_FOUND, NO_STREAM);
    world.stream("g", "s").await.unwrap();
    assert_eq!(messages(&world.get(|_| ()).await), [""; 0]);
    world.put("g", "s", &[(0, "second")]).await.unwrap();
    let group = DeleteLogGroupRequest { log_group_name: Some("g".into()) };
    world.logs.delete_log_group(&world.caller, group.clone()).await.unwrap();
    refused(world.logs.delete_log_group(&world.caller, group).await, NOT_FOUND, NO_GROUP);
    world.group("g").await.unwrap();
    refused(world.put("g", "s", &[(0, "m")]).await, NOT_FOUND, NO_STREAM);
    world.stream("g", "s").await.unwrap();
    world.reopen().await;
    assert_eq!(messages(&world.get(|_| ()).await), [""; 0]);
}

#[tokio::test]
async fn a_protected_group_stays() {
    let world = World::new().await;
    let input = CreateLogGroupRequest {
        log_group_name: Some("g".into()),
        deletion_protection_enabled: Some(true),
        ..Default::default()
    };
    world.logs.create_log_group(&world.caller, input).await.unwrap();
    let delete = DeleteLogGroupRequest { log_group_name: Some("g".into()) };
    assert_eq!(world.logs.delete_log_group(&world.caller, delete).await.unwrap_err().code, "ValidationException");
}

#[tokio::test]
async fn tags_by_arn_and_by_name_are_the_same() {
    let world = World::with_stream().await;
    let arn = Some("arn:aws:logs:us-east-1:000000000000:log-group:g".to_owned());
    let tags = |pairs: &[(&str, &str)]| {
        Some(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>())
    };
    let tag = TagResourceRequest { resource_arn: arn.clone(), tags: tags(&[("a", "1"), ("b", "2")]) };
    world.logs.tag_resource(&world.caller, tag).await.unwrap();
    let old = TagLogGroupRequest { log_group_name: Some("g".into()), tags: tags(&[("b", "3")]) };
    world.logs.tag_log_group(&world.caller, old).await.unwrap();
    let list = ListTagsLogGroupRequest { log_group_name: Some("g".into()) };
    assert_eq!(
        world.logs.list_tags_log_group(&world.caller, list).await.unwrap().tags,
        tags(&[("a", "1"), ("b", "3")])
    );
    let untag = UntagResourceRequest { resource_arn: arn.clone(), tag_keys: Some(vec!["a".into(), "none".into()]) };
    world.logs.untag_resource(&world.caller, untag).await.unwrap();
    let list = ListTagsForResourceRequest { resource_arn: arn };
    assert_eq!(world.logs.list_tags_for_resource(&world.caller, list).await.unwrap().tags, tags(&[("b", "3")]));
    let many: BTreeMap<String, String> = (0..50).map(|i| (format!("k{i}"), String::new())).collect();
    let tag = TagLogGroupRequest { log_group_name: Some("g".into()), tags: Some(many) };
    assert_eq!(world.logs.tag_log_group(&world.caller, tag).await.unwrap_err().code, "TooManyTagsException");
    let reserved = TagLogGroupRequest { log_group_name: Some("g".into()), tags: tags(&[("aws:x", "")]) };
    assert_eq!(world.logs.tag_log_group(&world.caller, reserved).await.unwrap_err().code, "InvalidParameterException");
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let mut world = World::with_stream().await;
    world.put("g", "s", &[(1, "one"), (2, "two")]).await.unwrap();
    let token = world.get(|_| ()).await.next_forward_token;
    world.reopen().await;
    assert_eq!(messages(&world.get(|_| ()).await), ["one", "two"]);
    world.put("g", "s", &[(3, "three")]).await.unwrap();
    assert_eq!(messages(&world.get(|input| input.next_token = token).await), ["three"]);
}

/// What `aws logs tail --follow` does: ask from the last time seen, leave out the ids seen already.
#[tokio::test]
async fn a_follower_sees_every_event_once() {
    let world = World::with_stream().await;
    let (mut since, mut seen, mut lines) = (NOW, std::collections::BTreeSet::new(), Vec::new());
    for round in 0..6 {
        world.put("g", "s", &[(round, &format!("a{round}")), (round, &format!("b{round}"))]).await.unwrap();
        let page =
            world.filter(|input| (input.start_time, input.interleaved) = (Some(since), Some(true))).await.unwrap();
        for event in page.events.unwrap() {
            if seen.insert(event.event_id.unwrap()) {
                lines.push(event.message.unwrap());
            }
            since = event.timestamp.unwrap();
        }
    }
    assert_eq!(lines, ["a0", "b0", "a1", "b1", "a2", "b2", "a3", "b3", "a4", "b4", "a5", "b5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_runs_in_the_background_and_its_results_are_kept() {
    let world = World::with_stream().await;
    for i in 0..50 {
        let message = format!(r#"{{"n":{i},"level":"{}"}}"#, if i % 5 == 0 { "ERROR" } else { "INFO" });
        world.put("g", "s", &[(i, &message)]).await.unwrap();
    }
    let start = |query: &str| {
        let input = StartQueryRequest {
            log_group_name: Some("g".into()),
            start_time: Some(NOW / 1000 - 60),
            end_time: Some(NOW / 1000 + 60),
            query_string: Some(query.to_owned()),
            ..Default::default()
        };
        world.logs.start_query(&world.caller, input)
    };
    let results = async |id: String| {
        loop {
            let input = GetQueryResultsRequest { query_id: Some(id.clone()), ..Default::default() };
            let found = world.logs.get_query_results(&world.caller, input).await.unwrap();
            if found.status != Some(QueryStatus::Running) {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    let id = start("stats count(*) as n by level | sort n desc").await.unwrap().query_id.unwrap();
    let found = results(id.clone()).await;
    assert_eq!(found.status, Some(QueryStatus::Complete));
    let rows = found.results.unwrap();
    let value = |row: usize, column: usize| rows[row][column].value.clone().unwrap();
    assert_eq!((value(0, 0), value(0, 1), value(1, 1)), ("INFO".into(), "40".into(), "10".into()));
    let statistics = found.statistics.unwrap();
    assert_eq!((statistics.records_scanned, statistics.records_matched), (Some(50.0), Some(50.0)));
    let newest = start("fields n | filter level = 'ERROR' | limit 2").await.unwrap().query_id.unwrap();
    let rows = results(newest).await.results.unwrap();
    assert_eq!(rows[0][0].value.as_deref(), Some("45"));
    assert_eq!((rows.len(), rows[0][1].field.as_deref()), (2, Some("@ptr")));
    let described = world.logs.describe_queries(&world.caller, DescribeQueriesRequest::default()).await.unwrap();
    assert_eq!(described.queries.unwrap().len(), 2);
    assert_eq!(start("nonsense").await.unwrap_err().code, "MalformedQueryException");
    let ended = StopQueryRequest { query_id: Some(id) };
    assert_eq!(world.logs.stop_query(&world.caller, ended).await.unwrap_err().code, "InvalidParameterException");
    let unknown = GetQueryResultsRequest { query_id: Some("no".into()), ..Default::default() };
    assert_eq!(world.logs.get_query_results(&world.caller, unknown).await.unwrap_err().code, NOT_FOUND);
}
