//! Prepared images: made after a push, seen by agents alone, gone with their image.

use std::sync::Arc;
use std::time::Duration;

use gantry_layers::prepared::{PreparedImage, chunks::Chunks, unpack};
use gantry_registry::digest::Digest;

use crate::harness::{OCI_MANIFEST, World, manifest};

const EROFS_MAGIC: [u8; 4] = 0xE0F5_E1E2_u32.to_le_bytes();

/// A layer that is large enough to be worth it, and does not compress.
fn layer(seed: u8) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for number in 0..4u8 {
        let mut state = u32::from(seed) * 7 + u32::from(number);
        let content: Vec<u8> = (0..100_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, format!("etc/file{number}"), &content[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

async fn push(world: &World, tag: &str, layer: &[u8], diff_id: &Digest) -> Digest {
    let config = format!(
        "{{\"architecture\":\"amd64\",\"os\":\"linux\",\"author\":\"{tag}\",\"rootfs\":{{\"diff_ids\":[\"{diff_id}\"]}}}}"
    );
    let config_digest = world.push_blob("app", config.as_bytes()).await;
    let layer_digest = world.push_blob("app", layer).await;
    let manifest = manifest(&config_digest, config.len(), &layer_digest, layer.len()).to_string();
    let answer = world.put_manifest("app", tag, &manifest).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    Digest::of(manifest.as_bytes())
}

fn path(image: &Digest) -> String {
    format!("/v2/app/_gantry/prepared/{image}")
}

async fn state(world: &World, image: &Digest) -> serde_json::Value {
    let answer = world.get(&format!("/v2/app/_gantry/preparation/{image}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Works until nothing waits any more.
async fn work(world: &World) {
    let changes = tokio::spawn(Arc::clone(&world.registry).deliver_changes());
    let preparation = tokio::spawn(Arc::clone(&world.registry).prepare_images());
    for prefix in ["/ecr/changes/", "/ecr/prepare/"] {
        while !world.store.range(prefix, 1).await.unwrap().kvs.is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    changes.abort();
    preparation.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_image_is_prepared_and_what_was_prepared_goes_with_it() {
    let mut world = World::preparing().await;
    let layer = layer(1);
    let diff_id = Digest::of(&layer);
    let first = push(&world, "v1", &layer, &diff_id).await;
    assert_eq!(world.get(&path(&first)).await.status, 404);
    work(&world).await;

    let answer = world.get(&path(&first)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let prepared: PreparedImage = serde_json::from_slice(&answer.body).unwrap();
    let [one] = prepared.layers.as_slice() else { panic!("{prepared:?}") };
    assert_eq!((one.diff_id.as_str(), one.layer.entries), (diff_id.as_str(), 4));
    assert_eq!(one.layer.implied, ["etc"]);
    let blob = world.get(&format!("/v2/app/blobs/{}", one.blob)).await;
    assert_eq!((blob.status.as_u16(), blob.body.len() as u64), (200, one.size));
    assert_eq!(Digest::of(&blob.body).as_str(), one.blob);
    let mut image = Vec::new();
    unpack(&blob.body[..], &mut image, one.image_size).unwrap();
    assert_eq!(image[1024..1028], EROFS_MAGIC);
    let place = one.chunks.as_ref().unwrap();
    let chunks = Chunks::read(&blob.body[place.at as usize..][..place.size as usize], place, one.image_size).unwrap();
    let frame = chunks.frame(0);
    let start = chunks.unpack(0, &blob.body[frame.start as usize..frame.end as usize]).unwrap();
    assert!(image.starts_with(&start));
    assert_eq!(state(&world, &first).await, serde_json::json!({"status": "PREPARED"}));

    // Clients see the one image that was pushed.
    let tags = world.get("/v2/app/tags/list").await;
    assert_eq!(tags.json()["tags"], serde_json::json!(["v1"]));
    let referrers = world.get(&format!("/v2/app/referrers/{first}")).await;
    assert_eq!(referrers.json()["manifests"], serde_json::json!([]));

    // Another image with the same layer shares what was made of it.
    let second = push(&world, "v2", &layer, &diff_id).await;
    work(&world).await;
    let same: PreparedImage = serde_json::from_slice(&world.get(&path(&second)).await.body).unwrap();
    assert_eq!(same, prepared);

    world.delete(&format!("/v2/app/manifests/{first}")).await;
    assert_eq!(world.get(&path(&first)).await.status, 404);
    world.advance_hours(25);
    world.log_in();
    world.registry.collect().await.unwrap();
    assert_eq!(world.get(&format!("/v2/app/blobs/{}", one.blob)).await.status, 200, "the other image needs it");

    world.delete(&format!("/v2/app/manifests/{second}")).await;
    world.registry.collect().await.unwrap();
    assert_eq!(world.get(&format!("/v2/app/blobs/{}", one.blob)).await.status, 404);
    assert!(world.store.range("/ecr/holders/", 0).await.unwrap().kvs.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_prepared_is_left_alone() {
    let world = World::preparing().await;
    // A layer that is not what its image says; one that is no archive; an image that is gone before its turn comes.
    let other = push(&world, "other", &layer(2), &Digest::of(b"something else")).await;
    let noise = vec![7; 300_000];
    let broken = push(&world, "broken", &noise, &Digest::of(&noise)).await;
    let layer = layer(3);
    let gone = push(&world, "gone", &layer, &Digest::of(&layer)).await;
    world.delete(&format!("/v2/app/manifests/{gone}")).await;
    work(&world).await;
    for image in [&other, &broken, &gone] {
        assert_eq!(world.get(&path(image)).await.status, 404);
    }
    let failed = state(&world, &other).await;
    assert_eq!((&failed["status"], &failed["failures"]), (&"FAILED".into(), &1.into()), "{failed}");
    assert!(failed["error"].as_str().unwrap().contains("unpacks to"), "{failed}");
    assert_eq!(state(&world, &gone).await, serde_json::json!({"status": "NONE"}));
    assert_eq!(world.get("/v2/app/manifests/other").await.header("content-type"), OCI_MANIFEST);
    world.delete(&format!("/v2/app/manifests/{other}")).await;
    assert_eq!(state(&world, &other).await, serde_json::json!({"status": "NONE"}), "gone with its image");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_for_want_of_a_host_is_tried_again() {
    let mut world = World::preparing().await;
    let layer = layer(4);
    let image = push(&world, "v1", &layer, &Digest::of(&layer)).await;
    // The scratch directory is no directory for the moment.
    let scratch = world.directory.path().join("scratch");
    std::fs::remove_dir(&scratch).unwrap();
    let changes = tokio::spawn(Arc::clone(&world.registry).deliver_changes());
    let preparation = tokio::spawn(Arc::clone(&world.registry).prepare_images());
    let failed = loop {
        let state = state(&world, &image).await;
        if state["failures"] == 1 {
            break state;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    assert_eq!(failed["status"], "WAITING", "{failed}");
    assert_eq!(
        failed["notBeforeMs"].as_i64().unwrap() - world.now_ms.load(std::sync::atomic::Ordering::SeqCst),
        60_000
    );
    preparation.abort();
    changes.abort();

    std::fs::create_dir(&scratch).unwrap();
    world.advance_hours(1);
    world.log_in();
    work(&world).await;
    assert_eq!(state(&world, &image).await, serde_json::json!({"status": "PREPARED"}));
}

#[tokio::test]
async fn nobody_can_push_what_agents_take_for_prepared() {
    let world = World::preparing().await;
    let image = world.push_image("app", "v1", "x").await;
    for method in ["PUT", "POST", "PATCH", "DELETE"] {
        let answer = world.call(method, &path(&image)).send().await;
        assert!(answer.status.is_client_error(), "{method}: {answer:?}");
    }
    assert_eq!(world.get(&path(&image)).await.status, 404);
}
