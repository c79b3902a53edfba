//! Replication to other regions and accounts of the same Gantry, and backfills; with a store that dies at every step.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_api::{Caller, PrincipalKind};
use gantry_domain::arn::Scope;
use gantry_registry::digest::Digest;
use gantry_registry::replication::Place;
use gantry_store::{Engine, KeyRange, Memory, MemoryOptions, Txn};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::dying::{Dying, process};
use crate::ecr::{call, call_as, refusal, without_times};
use crate::harness::{ACCOUNT, REGION, World, caller_of, index};

const THERE: &str = "eu-west-1";

fn there() -> Caller {
    caller_of(ACCOUNT, THERE, PrincipalKind::Root)
}

fn destinations(places: &[(&str, &str)]) -> Value {
    places.iter().map(|(region, account)| json!({"region": region, "registryId": account})).collect()
}

async fn replicate(world: &World, places: &[(&str, &str)], more: Value) -> Value {
    let mut rule = json!({"destinations": destinations(places)});
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let input = json!({"replicationConfiguration": {"rules": [rule]}});
    call(world, "PutReplicationConfiguration", input).await
}

/// Lets the workers work until nothing is left to do.
async fn settle(world: &World) {
    settle_or(world, &Notify::new()).await;
}

/// The same, or until `end`.
async fn settle_or(world: &World, end: &Notify) {
    let workers = [
        tokio::spawn(Arc::clone(&world.registry).deliver_changes()),
        tokio::spawn(Arc::clone(&world.registry).replicate()),
    ];
    let settled = async {
        let mut watch = world.store.watch("/ecr/", world.store.revision() + 1);
        for prefix in ["/ecr/changes/", "/ecr/replication/"] {
            while !world.store.range(prefix, 1).await.unwrap().kvs.is_empty() {
                watch.next_or_progress().await.unwrap();
            }
        }
    };
    tokio::select! {
        () = settled => {}
        () = end.notified() => {}
    }
    for worker in workers {
        worker.abort();
        let _ = worker.await;
    }
}

/// The images of a repository, by digest, with their tags.
async fn images(world: &World, caller: &Caller, name: &str) -> BTreeMap<String, Vec<String>> {
    let described = call_as(world, caller, "DescribeImages", json!({"repositoryName": name})).await;
    let Ok(described) = described else { return BTreeMap::new() };
    let tags = |image: &Value| {
        let mut tags: Vec<String> =
            image["imageTags"].as_array().into_iter().flatten().map(|tag| tag.as_str().unwrap().to_owned()).collect();
        tags.sort();
        tags
    };
    let images = described["imageDetails"].as_array().unwrap().iter();
    images.map(|image| (image["imageDigest"].as_str().unwrap().to_owned(), tags(image))).collect()
}

fn expected(images: &[(&Digest, &[&str])]) -> BTreeMap<String, Vec<String>> {
    let tags = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect();
    images.iter().map(|(digest, list)| (digest.to_string(), tags(list))).collect()
}

async fn status(world: &World, name: &str, digest: &Digest) -> Value {
    let input = json!({"repositoryName": name, "imageId": {"imageDigest": digest}});
    call(world, "DescribeImageReplicationStatus", input).await["replicationStatuses"].clone()
}

#[tokio::test]
async fn the_configuration_is_put_read_and_removed() {
    let world = World::new().await;
    let unset = json!({"registryId": ACCOUNT, "replicationConfiguration": {"rules": []}});
    assert_eq!(call(&world, "DescribeRegistry", json!({})).await, unset);
    let rule = json!({"destinations": [{"region": THERE, "registryId": ACCOUNT}],
        "repositoryFilters": [{"filter": "prod", "filterType": "PREFIX_MATCH"}],
        "deleteReplication": {"enabled": true}});
    let input = json!({"replicationConfiguration": {"rules": [rule]}});
    assert_eq!(call(&world, "PutReplicationConfiguration", input.clone()).await, input);
    let described = call(&world, "DescribeRegistry", json!({})).await;
    assert_eq!(described["replicationConfiguration"], input["replicationConfiguration"]);
    call(&world, "PutReplicationConfiguration", json!({"replicationConfiguration": {"rules": []}})).await;
    assert_eq!(call(&world, "DescribeRegistry", json!({})).await, unset);
    for rules in [
        json!([{"destinations": [{"region": REGION, "registryId": ACCOUNT}]}]),
        json!([{"destinations": [{"region": THERE, "registryId": "12"}]}]),
        json!([{"destinations": [{"region": THERE, "registryId": ACCOUNT}], "repositoryFilters": []}]),
        json!([{}]),
    ] {
        let input = json!({"replicationConfiguration": {"rules": rules}});
        let refused = refusal(&world, "PutReplicationConfiguration", input.clone()).await;
        assert_eq!(refused.0, "InvalidParameterException", "{input}");
    }
    let own =
        json!({"replicationConfiguration": {"rules": [{"destinations": [{"region": REGION, "registryId": ACCOUNT}]}]}});
    let refused = refusal(&world, "PutReplicationConfiguration", own).await.1;
    assert!(refused.contains("Replication destination cannot be the same as the source registry"), "{refused}");
}

#[tokio::test]
async fn an_image_goes_where_the_rules_say_and_no_further() {
    let world = World::new().await;
    world.repository("other").await;
    let before = world.push_image("app", "old", "old").await;
    settle(&world).await;
    let filters = json!({"repositoryFilters": [{"filter": "app", "filterType": "PREFIX_MATCH"}]});
    replicate(&world, &[(THERE, ACCOUNT)], filters).await;
    // The destination replicates too, but not what was replicated to it.
    let rule =
        json!({"replicationConfiguration": {"rules": [{"destinations": destinations(&[("ap-east-1", ACCOUNT)])}]}});
    call_as(&world, &there(), "PutReplicationConfiguration", rule).await.unwrap();
    let one = world.push_image("app", "v1", "1").await;
    let elsewhere = world.push_image("other", "v1", "1").await;
    let in_progress = json!([{"region": THERE, "registryId": ACCOUNT, "status": "IN_PROGRESS"}]);
    let seen = status(&world, "app", &one).await;
    assert!(seen == in_progress || seen == json!([]), "{seen}");
    settle(&world).await;
    let complete = json!([{"region": THERE, "registryId": ACCOUNT, "status": "COMPLETE"}]);
    assert_eq!(status(&world, "app", &one).await, complete);
    assert_eq!(status(&world, "app", &before).await, json!([]));
    assert_eq!(status(&world, "other", &elsewhere).await, json!([]));
    assert_eq!(images(&world, &there(), "app").await, expected(&[(&one, &["v1"])]));
    assert!(images(&world, &there(), "other").await.is_empty());
    assert!(images(&world, &caller_of(ACCOUNT, "ap-east-1", PrincipalKind::Root), "app").await.is_empty());
    // It can be pulled there, to the last byte.
    let token = world.token(ACCOUNT, THERE, PrincipalKind::Root);
    let layer = format!("/v2/app/blobs/{}", Digest::of(b"layer 1"));
    let pulled = world.anonymous("GET", &layer).header("authorization", &token).send().await;
    assert_eq!(pulled.body, "layer 1");
    // A tag that is added or moved later goes too; the image it left stays.
    world.push_image("app", "latest", "1").await;
    let two = world.push_image("app", "v1", "2").await;
    settle(&world).await;
    assert_eq!(images(&world, &there(), "app").await, expected(&[(&one, &["latest"]), (&two, &["v1"])]));
}

#[tokio::test]
async fn a_list_arrives_with_its_children() {
    let world = World::new().await;
    let children = [world.image("app", "amd64").await, world.image("app", "arm64").await];
    let digests = children.each_ref().map(|child| Digest::of(child.as_bytes()));
    for (child, digest) in children.iter().zip(&digests) {
        world.put_manifest("app", digest.as_str(), child).await;
    }
    settle(&world).await;
    // Only the list is pushed while replication is on.
    replicate(&world, &[(THERE, ACCOUNT)], json!({})).await;
    let list = index(&[(&digests[0], children[0].len()), (&digests[1], children[1].len())]);
    assert_eq!(world.put_manifest("app", "latest", &list).await.status, 201);
    settle(&world).await;
    let list = Digest::of(list.as_bytes());
    let all = [(&list, &["latest"][..]), (&digests[0], &[]), (&digests[1], &[])];
    assert_eq!(images(&world, &there(), "app").await, expected(&all));
}

#[tokio::test]
async fn a_template_makes_the_repository_there_and_its_immutable_tag_stays() {
    let world = World::new().await;
    let template = json!({"prefix": "ROOT", "appliedFor": ["REPLICATION"], "imageTagMutability": "IMMUTABLE"});
    call_as(&world, &there(), "CreateRepositoryCreationTemplate", template).await.unwrap();
    replicate(&world, &[(THERE, ACCOUNT)], json!({})).await;
    let one = world.push_image("app", "v1", "1").await;
    settle(&world).await;
    let two = world.push_image("app", "v1", "2").await;
    settle(&world).await;
    assert_eq!(images(&world, &there(), "app").await, expected(&[(&one, &["v1"]), (&two, &[])]));
    let complete = json!([{"region": THERE, "registryId": ACCOUNT, "status": "COMPLETE"}]);
    assert_eq!(status(&world, "app", &two).await, complete);
}

#[tokio::test]
async fn deletions_go_only_where_a_rule_says_so() {
    for deletes in [false, true] {
        let world = World::new().await;
        replicate(&world, &[(THERE, ACCOUNT)], json!({"deleteReplication": {"enabled": deletes}})).await;
        let one = world.push_image("app", "v1", "1").await;
        world.push_image("app", "v2", "1").await;
        let two = world.push_image("app", "v3", "2").await;
        settle(&world).await;
        let delete = json!({"repositoryName": "app", "imageIds": [{"imageTag": "v1"}, {"imageTag": "v3"}]});
        call(&world, "BatchDeleteImage", delete).await;
        settle(&world).await;
        let left = match deletes {
            true => expected(&[(&one, &["v2"])]),
            false => expected(&[(&one, &["v1", "v2"]), (&two, &["v3"])]),
        };
        assert_eq!(images(&world, &there(), "app").await, left);
    }
}

#[tokio::test]
async fn another_account_must_allow_it() {
    let world = World::new().await;
    replicate(&world, &[(REGION, "111111111111")], json!({})).await;
    let one = world.push_image("app", "v1", "1").await;
    settle(&world).await;
    let failed =
        json!([{"region": REGION, "registryId": "111111111111", "status": "FAILED", "failureCode": "AccessDenied"}]);
    assert_eq!(status(&world, "app", &one).await, failed);
    let other = caller_of("111111111111", REGION, PrincipalKind::Root);
    let allow = |actions: &[&str]| {
        let statement = json!({"Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")},
            "Action": actions, "Resource": format!("arn:aws:ecr:{REGION}:111111111111:repository/*")});
        json!({"policyText": json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()})
    };
    // Without permission to make the repository, there is none.
    call_as(&world, &other, "PutRegistryPolicy", allow(&["ecr:ReplicateImage"])).await.unwrap();
    let two = world.push_image("app", "v2", "2").await;
    settle(&world).await;
    assert_eq!(status(&world, "app", &two).await, failed);
    call_as(&world, &other, "PutRegistryPolicy", allow(&["ecr:ReplicateImage", "ecr:CreateRepository"])).await.unwrap();
    let three = world.push_image("app", "v3", "3").await;
    settle(&world).await;
    let complete = json!([{"region": REGION, "registryId": "111111111111", "status": "COMPLETE"}]);
    assert_eq!(status(&world, "app", &three).await, complete);
    assert_eq!(images(&world, &other, "app").await, expected(&[(&three, &["v3"])]));
}

#[tokio::test]
async fn the_status_of_what_is_not_there_is_refused() {
    let world = World::new().await;
    for (name, code) in [("app", "ImageNotFoundException"), ("nope", "RepositoryNotFoundException")] {
        let input = json!({"repositoryName": name, "imageId": {"imageTag": "v1"}});
        assert_eq!(refusal(&world, "DescribeImageReplicationStatus", input).await.0, code);
    }
}

#[tokio::test]
async fn a_backfill_copies_what_was_there_before() {
    let world = World::new().await;
    let one = world.push_image("app", "v1", "1").await;
    world.push_image("app", "v2", "1").await;
    let two = world.push_image("app", "v3", "2").await;
    settle(&world).await;
    let destination = json!({"destination": {"region": THERE, "registryId": ACCOUNT}});
    let refused = refusal(&world, "StartReplicationBackfill", destination.clone()).await;
    assert_eq!(refused.0, "ValidationException");
    replicate(&world, &[(THERE, ACCOUNT), ("ap-east-1", ACCOUNT)], json!({})).await;
    let started = call(&world, "StartReplicationBackfill", destination.clone()).await;
    assert_eq!((&started["status"], &started["destination"]), (&json!("PREPARING"), &destination["destination"]));
    let again = refusal(&world, "StartReplicationBackfill", destination.clone()).await;
    assert_eq!(again.0, "ReplicationBackfillInProgressException");
    let id = json!({"replicationBackfillId": started["replicationBackfillId"]});
    let described = call(&world, "DescribeReplicationBackfillResults", id.clone()).await;
    assert_eq!((&described["progress"], &described["results"]), (&Value::Null, &json!([])));

    world.registry.backfills_once().await.unwrap();
    let described = call(&world, "DescribeReplicationBackfillResults", id.clone()).await;
    assert_eq!(described["status"], json!("COMPLETE"));
    let progress = json!({"totalReplicationCount": 3, "completedReplicationCount": 3, "failedReplicationCount": 0,
        "failureCodes": []});
    assert_eq!(described["progress"], progress);
    let mut pairs: Vec<(String, String)> = described["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| {
            assert_eq!(result["status"], json!("COMPLETE"));
            let text = |member: &str| result["imageId"][member].as_str().unwrap().to_owned();
            (text("imageTag"), text("imageDigest"))
        })
        .collect();
    pairs.sort();
    let pair = |tag: &str, digest: &Digest| (tag.to_owned(), digest.to_string());
    assert_eq!(pairs, [pair("v1", &one), pair("v2", &one), pair("v3", &two)]);
    assert_eq!(images(&world, &there(), "app").await, expected(&[(&one, &["v1", "v2"]), (&two, &["v3"])]));
    let complete = json!([{"region": THERE, "registryId": ACCOUNT, "status": "COMPLETE"}]);
    assert_eq!(status(&world, "app", &one).await, complete);
    let ended = refusal(&world, "StopReplicationBackfill", id.clone()).await;
    assert_eq!(ended.0, "ReplicationBackfillInvalidStatusException");
    let mut failed = id.clone();
    failed["resultStatusFilter"] = json!("FAILED");
    assert_eq!(call(&world, "DescribeReplicationBackfillResults", failed).await["results"], json!([]));

    // Another may begin now, be stopped, and be listed after the first.
    world.advance_hours(1);
    let second = call(&world, "StartReplicationBackfill", destination).await;
    let stop = json!({"replicationBackfillId": second["replicationBackfillId"]});
    assert_eq!(call(&world, "StopReplicationBackfill", stop).await["status"], json!("STOPPING"));
    world.registry.backfills_once().await.unwrap();
    let mut listed = call(&world, "ListReplicationBackfills", json!({"maxResults": 1})).await;
    assert_eq!(listed["backfills"][0]["status"], json!("COMPLETE"));
    listed = call(&world, "ListReplicationBackfills", json!({"maxResults": 1, "nextToken": listed["nextToken"]})).await;
    assert_eq!(listed["backfills"][0]["status"], json!("STOPPED"));
    assert_eq!(listed["nextToken"], Value::Null);
    let unknown = json!({"replicationBackfillId": "00000000-0000-0000-0000-000000000000"});
    for operation in ["StopReplicationBackfill", "DescribeReplicationBackfillResults"] {
        assert_eq!(refusal(&world, operation, unknown.clone()).await.0, "ReplicationBackfillNotFoundException");
    }
    // They are forgotten in the end.
    world.advance_hours(24 * 91);
    world.registry.backfills_once().await.unwrap();
    let listed = call(&world, "ListReplicationBackfills", json!({})).await;
    assert_eq!(without_times(listed), json!({"registryId": ACCOUNT, "backfills": []}));
}

#[tokio::test]
async fn a_backfill_that_is_refused_everything_fails() {
    let world = World::new().await;
    let image = world.image("app", "1").await;
    for number in 0..120 {
        world.put_manifest("app", &format!("t{number}"), &image.replace("{\"", &format!("{{\"x{number}\":1,\""))).await;
    }
    let place = Place { region: REGION.to_owned(), account: "111111111111".to_owned() };
    replicate(&world, &[(REGION, "111111111111")], json!({})).await;
    let (id, _) = world.registry.backfill_start(&Scope::new(ACCOUNT, REGION), &place).await.unwrap();
    world.registry.backfills_once().await.unwrap();
    let input = json!({"replicationBackfillId": id, "maxResults": 1000});
    let described = call(&world, "DescribeReplicationBackfillResults", input).await;
    assert_eq!((&described["status"], &described["failureCode"]), (&json!("FAILED"), &json!("TooManyFailures")));
    assert_eq!(described["progress"]["failedReplicationCount"], json!(100));
    assert_eq!(described["progress"]["failureCodes"], json!(["AccessDenied"]));
    assert_eq!(described["results"].as_array().unwrap().len(), 100);
}

/// Makes the row of an image at the destination one that cannot be read, or takes it away.
async fn spoil(world: &World, digest: &Digest, spoiled: bool) {
    let key = format!("/ecr/{ACCOUNT}/{THERE}/images/app:{digest}");
    let txn = if spoiled { Txn::new().put(key, "no row") } else { Txn::new().delete(key) };
    world.store.txn(txn).await.unwrap();
}

/// Two images that are there, and the repository at the destination.
async fn two_images(world: &World) -> [Digest; 2] {
    let one = world.push_image("app", "v1", "1").await;
    let two = world.push_image("app", "v2", "2").await;
    call_as(world, &there(), "CreateRepository", json!({"repositoryName": "app"})).await.unwrap();
    [one, two]
}

#[tokio::test]
async fn an_image_that_a_backfill_cannot_copy_is_tried_again_and_holds_up_nothing() {
    for mended in [false, true] {
        let world = World::new().await;
        let [one, two] = two_images(&world).await;
        spoil(&world, &one, true).await;
        replicate(&world, &[(THERE, ACCOUNT)], json!({})).await;
        let place = Place { region: THERE.to_owned(), account: ACCOUNT.to_owned() };
        let (id, _) = world.registry.backfill_start(&Scope::new(ACCOUNT, REGION), &place).await.unwrap();
        let mut tries = 0;
        let described = loop {
            let retry_at_ms = world.registry.backfills_once().await.unwrap();
            tries += 1;
            let input = json!({"replicationBackfillId": id});
            let described = call(&world, "DescribeReplicationBackfillResults", input).await;
            if retry_at_ms.is_none() {
                break described;
            }
            assert_eq!(described["status"], json!("IN_PROGRESS"));
            assert_eq!(described["progress"]["completedReplicationCount"], json!(1), "the other image went on");
            assert_eq!(status(&world, "app", &two).await[0]["status"], json!("COMPLETE"));
            if mended {
                spoil(&world, &one, false).await;
            }
            world.advance_hours(1);
        };
        let counts = |described: &Value| {
            let progress = &described["progress"];
            (progress["completedReplicationCount"].clone(), progress["failedReplicationCount"].clone())
        };
        assert_eq!(described["status"], json!("COMPLETE"));
        if mended {
            assert_eq!((tries, counts(&described)), (2, (json!(2), json!(0))));
        } else {
            assert_eq!((tries, counts(&described)), (8, (json!(1), json!(1))));
            assert_eq!(described["progress"]["failureCodes"], json!(["InternalError"]));
            assert_eq!(status(&world, "app", &one).await[0]["failureCode"], json!("InternalError"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_that_cannot_be_replicated_holds_up_no_other_of_its_repository() {
    let world = World::new().await;
    replicate(&world, &[(THERE, ACCOUNT)], json!({})).await;
    let [one, two] = two_images(&world).await;
    spoil(&world, &one, true).await;
    let workers = [
        tokio::spawn(Arc::clone(&world.registry).deliver_changes()),
        tokio::spawn(Arc::clone(&world.registry).replicate()),
    ];
    let until = async |digest: &Digest, wanted: Value| {
        let mut watch = world.store.watch("/ecr/", world.store.revision() + 1);
        while status(&world, "app", digest).await[0]["status"] != wanted {
            watch.next_or_progress().await.unwrap();
        }
    };
    until(&two, json!("COMPLETE")).await;
    assert_eq!(status(&world, "app", &one).await[0]["status"], json!("IN_PROGRESS"));
    spoil(&world, &one, false).await;
    until(&one, json!("COMPLETE")).await;
    workers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn replication_that_dies_at_any_step_is_completed_after_a_restart() {
    let mut died = 0;
    for writes in 0.. {
        let memory = Arc::new(Memory::new(&MemoryOptions::default()));
        let (store, _) = Dying::store(&memory, usize::MAX);
        let world = World::with_store(store).await;
        replicate(&world, &[(THERE, ACCOUNT)], json!({"deleteReplication": {"enabled": true}})).await;
        let child = world.image("app", "child").await;
        let child_digest = Digest::of(child.as_bytes());
        world.put_manifest("app", child_digest.as_str(), &child).await;
        let list = index(&[(&child_digest, child.len())]);
        world.put_manifest("app", "list", &list).await;
        world.push_image("app", "moving", "1").await;
        let moved = world.push_image("app", "moving", "2").await;
        let deleted = world.push_image("app", "gone", "3").await;
        assert_eq!(world.delete(&format!("/v2/app/manifests/{deleted}")).await.status, 202);

        let (store, dead) = Dying::store(&memory, writes);
        let dying = world.reopen(store);
        process(move || async move { settle_or(&dying, &dead).await }).await;
        let settled = memory.range(KeyRange::prefix("/ecr/changes/"), 1).await.unwrap().kvs.is_empty()
            && memory.range(KeyRange::prefix("/ecr/replication/"), 1).await.unwrap().kvs.is_empty();
        let world = world.restart();
        settle(&world).await;
        let seen = images(&world, &there(), "app").await;
        let tags: BTreeMap<&str, &str> =
            seen.iter().flat_map(|(digest, tags)| tags.iter().map(|tag| (tag.as_str(), digest.as_str()))).collect();
        let list = Digest::of(list.as_bytes());
        assert_eq!(tags, BTreeMap::from([("list", list.as_str()), ("moving", moved.as_str())]), "{writes}");
        assert!(seen.contains_key(child_digest.as_str()) && !seen.contains_key(deleted.as_str()), "{writes}");
        let complete = json!([{"region": THERE, "registryId": ACCOUNT, "status": "COMPLETE"}]);
        assert_eq!(status(&world, "app", &list).await, complete, "{writes}");
        if settled {
            break;
        }
        died += 1;
    }
    assert!(died > 15, "it died {died} times");
}

#[tokio::test]
async fn a_backfill_that_dies_at_any_step_is_completed_after_a_restart() {
    let mut died = 0;
    for writes in 0.. {
        let memory = Arc::new(Memory::new(&MemoryOptions::default()));
        let (store, _) = Dying::store(&memory, usize::MAX);
        let world = World::with_store(store).await;
        world.repository("web").await;
        let one = world.push_image("app", "v1", "1").await;
        let two = world.push_image("web", "v1", "2").await;
        world.push_image("web", "v2", "2").await;
        replicate(&world, &[(THERE, ACCOUNT)], json!({})).await;
        let place = Place { region: THERE.to_owned(), account: ACCOUNT.to_owned() };
        let (id, _) = world.registry.backfill_start(&Scope::new(ACCOUNT, REGION), &place).await.unwrap();

        let (store, _) = Dying::store(&memory, writes);
        let dying = world.reopen(store);
        let completed = process(move || async move { dying.registry.backfills_once().await.is_ok() }).await;
        let world = world.restart();
        world.registry.backfills_once().await.unwrap();
        let described = call(&world, "DescribeReplicationBackfillResults", json!({"replicationBackfillId": id})).await;
        assert_eq!(described["status"], json!("COMPLETE"), "{writes}");
        assert_eq!(described["progress"]["totalReplicationCount"], json!(3), "{writes}");
        assert_eq!(described["progress"]["completedReplicationCount"], json!(3), "{writes}");
        assert_eq!(described["results"].as_array().unwrap().len(), 3, "{writes}");
        assert_eq!(images(&world, &there(), "app").await, expected(&[(&one, &["v1"])]), "{writes}");
        assert_eq!(images(&world, &there(), "web").await, expected(&[(&two, &["v1", "v2"])]), "{writes}");
        if completed {
            break;
        }
        died += 1;
    }
    assert!(died > 8, "it died {died} times");
}
