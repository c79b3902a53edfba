//! How many repositories and images there may be, and how often they may be asked for.

use gantry_registry::RegistryConfig;
use gantry_registry::digest::Digest;
use gantry_registry::quotas::Quotas;
use serde_json::{Value, json};

use crate::ecr::{call, refusal};
use crate::harness::World;

fn world(repositories: u64, images: u64, rates: &[(&str, u32)]) -> World {
    let rates = rates.iter().map(|(operation, rate)| ((*operation).to_owned(), *rate)).collect();
    World::with_config(RegistryConfig { quotas: Quotas { repositories, images, rates }, ..RegistryConfig::default() })
}

fn full(sentence: &str) -> (String, String) {
    ("LimitExceededException".to_owned(), sentence.to_owned())
}

async fn create(world: &World, name: &str) -> Value {
    call(world, "CreateRepository", json!({"repositoryName": name})).await
}

#[tokio::test]
async fn a_registry_that_is_full_takes_no_repository_until_one_goes() {
    let world = world(2, 100, &[]);
    create(&world, "one").await;
    create(&world, "two").await;
    let sentence =
        "The registry with id '000000000000' already has the maximum allowed number of repositories which is '2'";
    assert_eq!(refusal(&world, "CreateRepository", json!({"repositoryName": "three"})).await, full(sentence));
    // One that exists is still told so.
    let again = refusal(&world, "CreateRepository", json!({"repositoryName": "two"})).await.0;
    assert_eq!(again, "RepositoryAlreadyExistsException");
    call(&world, "DeleteRepository", json!({"repositoryName": "one"})).await;
    create(&world, "three").await;
    assert_eq!(refusal(&world, "CreateRepository", json!({"repositoryName": "one"})).await, full(sentence));
}

#[tokio::test]
async fn a_repository_that_is_full_takes_tags_but_no_image_until_one_goes() {
    let world = world(10, 3, &[]);
    create(&world, "app").await;
    let mut images = Vec::new();
    for number in 0..3 {
        images.push(world.push_image("app", &format!("v{number}"), &number.to_string()).await);
    }
    let fourth = world.image("app", "4").await;
    let sentence = "The repository with name 'app' in registry with id '000000000000' already has the maximum \
                    allowed number of images which is '3'";
    let put = json!({"repositoryName": "app", "imageManifest": fourth, "imageTag": "v4",
        "imageManifestMediaType": "application/vnd.oci.image.manifest.v1+json"});
    assert_eq!(refusal(&world, "PutImage", put).await, full(sentence));
    let refused = world.put_manifest("app", "v4", &fourth).await;
    assert_eq!(refused.refusal(), (403, "DENIED".to_owned()));
    assert_eq!(refused.json()["errors"][0]["message"], sentence);
    assert_eq!(world.push_image("app", "again", "2").await, images[2], "a tag is no image");

    for image in &images[..2] {
        assert_eq!(world.delete(&format!("/v2/app/manifests/{image}")).await.status, 202);
    }
    assert_eq!(world.put_manifest("app", "v4", &fourth).await.status, 201);
    world.push_image("app", "v5", "5").await;
    let sixth = world.image("app", "6").await;
    assert_eq!(world.put_manifest("app", "v6", &sixth).await.refusal(), (403, "DENIED".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_right_after_pushes_and_deletions_side_by_side() {
    let world = std::sync::Arc::new(world(10, 1000, &[]));
    create(&world, "app").await;
    let pushers = (0..8).map(|pusher| {
        let world = std::sync::Arc::clone(&world);
        tokio::spawn(async move {
            for number in 0..20 {
                let image =
                    world.push_image("app", &format!("p{pusher}-{number}"), &format!("{pusher} {number}")).await;
                if number % 3 == 0 {
                    assert_eq!(world.delete(&format!("/v2/app/manifests/{image}")).await.status, 202);
                }
            }
        })
    });
    for pusher in pushers.collect::<Vec<_>>() {
        pusher.await.unwrap();
    }
    let rows =
        async |kind: &str| world.store.range(&format!("/ecr/000000000000/us-east-1/{kind}/app:"), 0).await.unwrap().kvs;
    let counted: u64 = rows("image-counts")
        .await
        .iter()
        .map(|row| serde_json::from_slice::<Value>(&row.value).unwrap()["count"].as_u64().unwrap())
        .sum();
    assert_eq!((counted, rows("images").await.len()), (8 * 13, 8 * 13));
    call(&world, "DeleteRepository", json!({"repositoryName": "app", "force": true})).await;
    assert!(rows("image-counts").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_side_by_side_do_not_go_over_the_number_of_images() {
    const IMAGES: u64 = 20;
    let world = std::sync::Arc::new(world(10, IMAGES, &[]));
    for round in 0..4 {
        let name = format!("app{round}");
        create(&world, &name).await;
        let mut manifests = Vec::new();
        for number in 0..32 {
            manifests.push(world.image(&name, &number.to_string()).await);
        }
        let pushes = manifests.into_iter().enumerate().map(|(number, manifest)| {
            let (world, name) = (std::sync::Arc::clone(&world), name.clone());
            tokio::spawn(async move { world.put_manifest(&name, &number.to_string(), &manifest).await.status })
        });
        let mut statuses = Vec::new();
        for push in pushes.collect::<Vec<_>>() {
            statuses.push(push.await.unwrap());
        }
        let with = |status: u16| statuses.iter().filter(|one| **one == status).count() as u64;
        assert_eq!((with(201), with(403)), (IMAGES, 32 - IMAGES), "{statuses:?}");
        let rows = world.store.range(&format!("/ecr/000000000000/us-east-1/images/{name}:"), 0).await.unwrap().kvs;
        assert_eq!(rows.len() as u64, IMAGES);
    }
}

#[tokio::test]
async fn requests_beyond_the_rate_are_refused_at_both_doors() {
    let world = world(10, 10, &[("BatchGetImage", 2), ("DescribeRepositories", 1)]);
    create(&world, "app").await;
    let image: Digest = world.push_image("app", "v1", "1").await;
    // A burst of two seconds, whichever door they come through.
    let get = json!({"repositoryName": "app", "imageIds": [{"imageDigest": image}]});
    for _ in 0..2 {
        call(&world, "BatchGetImage", get.clone()).await;
        assert_eq!(world.get("/v2/app/manifests/v1").await.status, 200);
    }
    let throttled = ("ThrottlingException".to_owned(), "Rate exceeded".to_owned());
    assert_eq!(refusal(&world, "BatchGetImage", get.clone()).await, throttled);
    let refused = world.get("/v2/app/manifests/v1").await;
    assert_eq!((refused.refusal(), refused.header("retry-after")), ((429, "TOOMANYREQUESTS".to_owned()), "1"));
    // Others are not counted, and each has a measure of its own.
    assert_eq!(world.get("/v2/app/tags/list").await.status, 200);
    call(&world, "DescribeRepositories", json!({})).await;
    world.advance_hours(1);
    call(&world, "BatchGetImage", get).await;
}
