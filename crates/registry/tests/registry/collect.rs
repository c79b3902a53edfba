//! What is taken away, when, and what stays.

use gantry_registry::digest::Digest;

use crate::harness::World;

fn is_on_disk(world: &World, digest: &Digest) -> bool {
    world.directory.path().join("blobs/sha256").join(&digest.hex()[..2]).join(digest.hex()).exists()
}

#[tokio::test]
async fn a_blob_nobody_uses_goes_after_its_grace_and_not_before() {
    let mut world = World::new().await;
    let unused = world.push_blob("app", b"unused").await;
    let image = world.push_image("app", "v1", "x").await;
    world.advance_hours(23);
    world.log_in();
    assert_eq!(world.registry.collect().await.unwrap(), Default::default());
    world.advance_hours(2);
    world.log_in();
    let collected = world.registry.collect().await.unwrap();
    assert_eq!((collected.links, collected.blobs, collected.bytes), (1, 1, 6));
    assert!(!is_on_disk(&world, &unused));
    assert_eq!(world.head(&format!("/v2/app/blobs/{unused}")).await.status, 404);
    assert_eq!(world.get("/v2/app/manifests/v1").await.status, 200);
    assert!(is_on_disk(&world, &image));
    assert!(is_on_disk(&world, &Digest::of(b"layer x")));
    assert_eq!(world.registry.collect().await.unwrap(), Default::default());
}

#[tokio::test]
async fn a_client_that_was_told_the_blob_is_there_can_count_on_it() {
    let mut world = World::new().await;
    world.repository("other").await;
    let seen = world.push_blob("app", b"seen").await;
    let mounted = world.push_blob("app", b"mounted").await;
    world.advance_hours(25);
    world.log_in();
    assert_eq!(world.head(&format!("/v2/app/blobs/{seen}")).await.status, 200);
    let mount = format!("/v2/other/blobs/uploads/?mount={mounted}&from=app");
    assert_eq!(world.call("POST", &mount).send().await.status, 201);
    world.registry.collect().await.unwrap();
    assert_eq!(world.head(&format!("/v2/app/blobs/{seen}")).await.status, 200);
    assert_eq!(world.head(&format!("/v2/other/blobs/{mounted}")).await.status, 200);
    assert_eq!(world.head(&format!("/v2/app/blobs/{mounted}")).await.status, 404);
}

#[tokio::test]
async fn deleted_images_and_repositories_give_their_space_back() {
    let mut world = World::new().await;
    world.repository("other").await;
    let deleted = world.push_image("app", "v1", "x").await;
    let moved = world.push_image("app", "v2", "y").await;
    world.push_image("app", "v2", "z").await;
    world.push_image("other", "v1", "only here").await;
    world.push_image("other", "v2", "z").await;
    world.delete(&format!("/v2/app/manifests/{deleted}")).await;
    world.registry.repository_delete(&crate::harness::keys("other"), true, &Default::default()).await.unwrap();
    world.advance_hours(25);
    world.log_in();
    world.registry.collect().await.unwrap();
    for gone in [deleted, Digest::of(b"layer x"), Digest::of(b"layer only here")] {
        assert!(!is_on_disk(&world, &gone), "{gone}");
    }
    // An image that lost its tag stays, and so does what another repository still uses.
    for stays in [moved, Digest::of(b"layer y"), Digest::of(b"layer z")] {
        assert!(is_on_disk(&world, &stays), "{stays}");
    }
    assert_eq!(world.get("/v2/app/manifests/v2").await.status, 200);
    assert_eq!(world.get(&format!("/v2/app/blobs/{}", Digest::of(b"layer z"))).await.body, "layer z");
}

#[tokio::test]
async fn files_without_metadata_are_removed() {
    let world = World::new().await;
    let stray = Digest::of(b"stray");
    world.registry.blobs().put(&stray, bytes::Bytes::from_static(b"stray")).await.unwrap();
    world.registry.collect().await.unwrap();
    assert!(is_on_disk(&world, &stray));
    world.advance_hours(25);
    assert_eq!(world.registry.collect().await.unwrap().blobs, 1);
    assert!(!is_on_disk(&world, &stray));
}

#[tokio::test]
async fn scrubbing_finds_damage_before_a_pull_does() {
    let world = World::new().await;
    let bytes = vec![5; 300_000];
    let digest = world.push_blob("app", &bytes).await;
    assert_eq!(world.registry.scrub().await.unwrap(), 0);
    let file = world.directory.path().join("blobs/sha256").join(&digest.hex()[..2]).join(digest.hex());
    std::fs::write(file, vec![6; 300_000]).unwrap();
    assert_eq!(world.registry.scrub().await.unwrap(), 1);
    assert_eq!(world.head(&format!("/v2/app/blobs/{digest}")).await.status, 404);
    world.push_blob("app", &bytes).await;
    assert_eq!(world.get(&format!("/v2/app/blobs/{digest}")).await.body, bytes);
}
