//! Many at once: exactly one wins where only one may, and nothing acknowledged is lost.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use gantry_registry::digest::Digest;
use gantry_registry::metadata::RepositoryRow;
use gantry_registry::mutability::Mutability;

use crate::harness::{World, index, keys, manifest};
use crate::interleaved::{Gate, Interleaved};

/// Where the interleavings start; any number will do.
const SEED: u64 = 0x5eed;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_pushes_of_an_immutable_tag_exactly_one_wins() {
    let world = World::with_store(Interleaved::store(SEED)).await;
    let row = RepositoryRow { mutability: Mutability::Immutable, ..Default::default() };
    world.repository_with("fixed", row).await;
    let mut images = Vec::new();
    for number in 0..6 {
        images.push(world.image("fixed", &number.to_string()).await);
    }
    for round in 0..20 {
        let tag = format!("v{round}");
        let pushes = images.iter().map(|image| world.put_manifest("fixed", &tag, image));
        let answers = join_all(pushes).await;
        let won: Vec<usize> = (0..images.len()).filter(|i| answers[*i].status == 201).collect();
        assert_eq!(won.len(), 1, "{tag}");
        assert!(answers.iter().all(|answer| answer.status == 201 || answer.status == 400));
        let tagged = world.get(&format!("/v2/fixed/manifests/{tag}")).await;
        assert_eq!(tagged.body, images[won[0]].as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_pushed_by_many_points_at_one_image_and_only_that_image_knows_it() {
    let world = World::with_store(Interleaved::store(SEED)).await;
    let mut images = Vec::new();
    for number in 0..8 {
        images.push(world.image("app", &number.to_string()).await);
    }
    for _ in 0..10 {
        let answers = join_all(images.iter().map(|image| world.put_manifest("app", "latest", image))).await;
        assert!(answers.iter().all(|answer| answer.status == 201));
    }
    let winner = world.get("/v2/app/manifests/latest").await.header("docker-content-digest").to_owned();
    // Deleting every other image leaves the tag: none of them still claims it.
    for image in &images {
        let digest = Digest::of(image.as_bytes());
        if digest.as_str() != winner {
            assert_eq!(world.delete(&format!("/v2/app/manifests/{digest}")).await.status, 202);
        }
    }
    assert_eq!(world.get("/v2/app/manifests/latest").await.status, 200);
    assert_eq!(world.delete(&format!("/v2/app/manifests/{winner}")).await.status, 202);
    assert_eq!(world.get("/v2/app/manifests/latest").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifests_that_share_layers_are_pushed_side_by_side() {
    let world = World::with_store(Interleaved::store(SEED)).await;
    let layer = world.push_blob("app", b"base").await;
    let mut images = Vec::new();
    for number in 0..32 {
        let config = format!("{{\"n\":{number}}}");
        let digest = world.push_blob("app", config.as_bytes()).await;
        images.push(manifest(&digest, config.len(), &layer, 4).to_string());
    }
    let tags: Vec<String> = (0..32).map(|number| format!("t{number}")).collect();
    let pushes = images.iter().zip(&tags).map(|(image, tag)| world.put_manifest("app", tag, image));
    assert!(join_all(pushes).await.iter().all(|answer| answer.status == 201));
    let listed = world.get("/v2/app/tags/list").await.json();
    assert_eq!(listed["tags"].as_array().unwrap().len(), 32);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_deleted_as_empty_never_takes_an_acknowledged_image_with_it() {
    let world = World::with_store(Interleaved::store(SEED)).await;
    for round in 0..30 {
        let name = format!("r{round}");
        world.repository(&name).await;
        let image = world.image(&name, "x").await;
        let repository = keys(&name);
        let actor = Default::default();
        let (pushed, deleted) = tokio::join!(
            world.put_manifest(&name, "v1", &image),
            world.registry.repository_delete(&repository, false, &actor),
        );
        let found = world.get(&format!("/v2/{name}/manifests/v1")).await.status;
        match (pushed.status.as_u16(), &deleted) {
            (201, Err(_)) => assert_eq!(found, 200),
            (201, Ok(_)) => panic!("{name}: the image was acknowledged and its repository deleted as empty"),
            (_, Ok(_)) => assert_eq!(found, 404),
            (status, Err(error)) => panic!("{name}: neither happened: {status} {error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_pushed_while_its_child_is_deleted_never_lacks_it() {
    let world = World::with_store(Interleaved::store(SEED)).await;
    for round in 0..30 {
        let text = world.image("app", &format!("child {round}")).await;
        let child = Digest::of(text.as_bytes());
        world.put_manifest("app", child.as_str(), &text).await;
        let list = index(&[(&child, text.len())]);
        let tag = format!("list{round}");
        let child_path = format!("/v2/app/manifests/{child}");
        let (pushed, deleted) = tokio::join!(world.put_manifest("app", &tag, &list), world.delete(&child_path));
        let child_is_there = world.head(&child_path).await.status == 200;
        match (pushed.status.as_u16(), deleted.status.as_u16()) {
            (201, 403) => assert!(child_is_there),
            (400, 202) => assert!(!child_is_there),
            other => panic!("{round}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_removed_while_a_manifest_begins_to_use_it_is_either_or() {
    let world = World::with_store(Interleaved::store(SEED)).await;
    for round in 0..100 {
        let image = world.image("app", &format!("x{round}")).await;
        let layer = Digest::of(format!("layer x{round}").as_bytes());
        let layer_path = format!("/v2/app/blobs/{layer}");
        let tag = format!("v{round}");
        let (pushed, removed) = tokio::join!(world.put_manifest("app", &tag, &image), world.delete(&layer_path));
        let layer_is_there = world.head(&layer_path).await.status == 200;
        match (pushed.status.as_u16(), removed.status.as_u16()) {
            (201, 405) => assert!(layer_is_there),
            (400, 202) => assert!(!layer_is_there),
            other => panic!("{round}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collecting_beside_pushes_loses_nothing() {
    let world = World::with_store(Interleaved::store(SEED)).await;
    // Everything is always past its grace here, so the collector takes whatever the rules allow.
    let eager = std::sync::Arc::new(gantry_registry::Registry::new(
        std::sync::Arc::clone(world.registry.blobs()),
        world.store.clone(),
        gantry_registry::token::TokenKey::new([0; 32]),
        gantry_registry::system_clock(),
        gantry_registry::RegistryConfig { grace: std::time::Duration::ZERO, ..Default::default() },
    ));
    let mut images = Vec::new();
    let collector = tokio::spawn({
        let registry = std::sync::Arc::clone(&eager);
        async move {
            for _ in 0..40 {
                registry.collect().await.unwrap();
            }
        }
    });
    let router = gantry_registry::http::router(std::sync::Arc::clone(&eager));
    let world = World { router, registry: eager, ..world };
    let world =
        World { authorization: world.token("000000000000", "us-east-1", gantry_api::PrincipalKind::Root), ..world };
    let mut number = 0;
    while !collector.is_finished() {
        number += 1;
        let image = world.image("app", &number.to_string()).await;
        // The collector may have taken a blob before the manifest came: then it is refused, and that is all.
        let pushed = world.put_manifest("app", &format!("v{number}"), &image).await;
        match pushed.status.as_u16() {
            201 => images.push((number, image)),
            400 => assert_eq!(pushed.refusal().1, "MANIFEST_BLOB_UNKNOWN"),
            other => panic!("{other}"),
        }
    }
    collector.await.unwrap();
    let seen: BTreeSet<usize> = images.iter().map(|(number, _)| *number).collect();
    assert_eq!(seen.len(), images.len());
    for (number, image) in images {
        assert_eq!(world.get(&format!("/v2/app/manifests/v{number}")).await.body, image.as_bytes());
        let layer = Digest::of(format!("layer {number}").as_bytes());
        let got = world.get(&format!("/v2/app/blobs/{layer}")).await;
        assert_eq!(got.body, format!("layer {number}").as_bytes());
    }
}

#[tokio::test]
async fn a_manifest_that_comes_before_the_last_step_of_a_removal_keeps_its_blob() {
    let gate = Gate::before_deleting("/ecr/000000000000/us-east-1/blobs/");
    let world = World::with_store(Interleaved::with_gate(std::sync::Arc::clone(&gate))).await;
    let image = world.image("app", "x").await;
    let layer_path = format!("/v2/app/blobs/{}", Digest::of(b"layer x"));
    let push = async {
        gate.reached.notified().await;
        let pushed = world.put_manifest("app", "v1", &image).await;
        gate.open.notify_one();
        pushed
    };
    let (removed, pushed) = tokio::join!(world.delete(&layer_path), push);
    assert_eq!((pushed.status.as_u16(), removed.status.as_u16()), (201, 405));
    assert_eq!(world.get(&layer_path).await.body, "layer x");
}

#[tokio::test]
async fn an_image_pushed_before_the_last_step_of_a_deletion_keeps_its_repository() {
    let gate = Gate::before_deleting("/ecr/000000000000/us-east-1/repositories/");
    let world = World::with_store(Interleaved::with_gate(std::sync::Arc::clone(&gate))).await;
    let image = world.image("app", "x").await;
    let push = async {
        gate.reached.notified().await;
        let pushed = world.put_manifest("app", "v1", &image).await;
        gate.open.notify_one();
        pushed
    };
    let repository = keys("app");
    let actor = Default::default();
    let (deleted, pushed) = tokio::join!(world.registry.repository_delete(&repository, false, &actor), push);
    assert_eq!(pushed.status, 201);
    assert!(deleted.is_err());
    assert_eq!(world.get("/v2/app/manifests/v1").await.body, image.as_bytes());
}
