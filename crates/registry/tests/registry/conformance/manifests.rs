//! Manifests of every shape: pushed by tag and by digest, asked for, pulled, listed, found by their subject, deleted.

use std::collections::BTreeSet;

use gantry_registry::digest::{Algorithm, Digest};
use serde_json::json;

use super::shapes::{self, DOCKER_LIST, DOCKER_MANIFEST, Shape};
use crate::harness::{OCI_INDEX, OCI_MANIFEST, World};

/// HEAD and GET agree, give the exact bytes, and do not care what `Accept` says.
async fn check_pull(world: &World, shape: &Shape, reference: &str, digest: &Digest) {
    let path = format!("/v2/app/manifests/{reference}");
    let accepts: [&[&str]; 4] = [
        &[],
        &[shape.media_type],
        &[OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST, "*/*"],
        &["application/vnd.docker.distribution.manifest.v1+prettyjws"],
    ];
    for accept in accepts {
        let call = |method| accept.iter().fold(world.call(method, &path), |call, value| call.header("accept", value));
        let (head, got) = (call("HEAD").send().await, call("GET").send().await);
        assert_eq!((got.status.as_u16(), head.status.as_u16()), (200, 200), "{} {reference}", shape.name);
        assert!(got.body == shape.text.as_bytes(), "{}: other bytes", shape.name);
        assert!(head.body.is_empty());
        for answer in [&head, &got] {
            assert_eq!(answer.header("content-type"), shape.media_type, "{}", shape.name);
            assert_eq!(answer.header("content-length"), shape.text.len().to_string(), "{}", shape.name);
            assert_eq!(answer.header("docker-content-digest"), digest.as_str(), "{}", shape.name);
        }
    }
}

async fn push(world: &World, shape: &Shape, reference: &str) -> Digest {
    let call = world.call("PUT", &format!("/v2/app/manifests/{reference}")).header("content-type", shape.media_type);
    let pushed = call.body(shape.text.as_bytes()).send().await;
    assert_eq!(pushed.status, 201, "{} {reference}: {pushed:?}", shape.name);
    let digest: Digest = pushed.header("docker-content-digest").parse().unwrap();
    assert_eq!(pushed.header("location"), format!("/v2/app/manifests/{digest}"), "{}", shape.name);
    let subject = shape.refers.as_ref().map_or("", |(subject, _)| subject.as_str());
    assert_eq!(pushed.header("oci-subject"), subject, "{}", shape.name);
    digest
}

#[tokio::test]
async fn every_shape_goes_in_comes_out_and_goes_away() {
    let world = World::new().await;
    for algorithm in Algorithm::ALL {
        for shape in shapes::all(&world, algorithm).await {
            let name = shape.name;
            // By tag, twice: the digest is the SHA-256 one.
            let by_tag = Digest::of(shape.text.as_bytes());
            for _ in 0..2 {
                assert_eq!(push(&world, &shape, "tagged").await, by_tag, "{name}");
            }
            check_pull(&world, &shape, "tagged", &by_tag).await;
            check_pull(&world, &shape, by_tag.as_str(), &by_tag).await;
            // By digest, with tags in the query.
            let by_digest = Digest::of_with(algorithm, shape.text.as_bytes());
            assert_eq!(push(&world, &shape, by_digest.as_str()).await, by_digest, "{name}");
            check_pull(&world, &shape, by_digest.as_str(), &by_digest).await;
            push(&world, &shape, &format!("{by_digest}?tag=one&tag=two")).await;
            check_pull(&world, &shape, "two", &by_digest).await;
            let tags = world.get("/v2/app/tags/list").await.json();
            assert_eq!(tags["tags"], json!(["one", "tagged", "two"]), "{name}");
            check_referrers(&world, &shape, &by_digest).await;
            // A tag goes alone, a digest with its tags, and both at once.
            assert_eq!(world.delete("/v2/app/manifests/one").await.status, 202, "{name}");
            assert_eq!(world.head("/v2/app/manifests/one").await.status, 404, "{name}");
            check_pull(&world, &shape, by_digest.as_str(), &by_digest).await;
            for digest in BTreeSet::from([&by_digest, &by_tag]) {
                let path = format!("/v2/app/manifests/{digest}");
                assert_eq!(world.delete(&path).await.status, 202, "{name} {digest}");
                assert_eq!(world.head(&path).await.status, 404, "{name}");
                assert_eq!(world.get(&path).await.refusal(), (404, "MANIFEST_UNKNOWN".to_owned()), "{name}");
            }
            assert_eq!(world.head("/v2/app/manifests/two").await.status, 404, "{name}");
            assert_eq!(world.get("/v2/app/tags/list").await.json()["tags"], json!([]), "{name}");
            if let Some((subject, _)) = &shape.refers {
                let listed = world.get(&format!("/v2/app/referrers/{subject}")).await.json();
                assert_eq!(listed["manifests"], json!([]), "{name}");
            }
        }
    }
}

async fn check_referrers(world: &World, shape: &Shape, digest: &Digest) {
    let Some((subject, artifact_type)) = &shape.refers else { return };
    let mut expected = json!({
        "mediaType": shape.media_type, "digest": digest, "size": shape.text.len(), "annotations": {"shape": shape.name},
    });
    if let Some(artifact_type) = artifact_type {
        expected["artifactType"] = json!(artifact_type);
    }
    let path = format!("/v2/app/referrers/{subject}");
    let all = world.get(&path).await;
    assert_eq!(all.header("oci-filters-applied"), "", "{}", shape.name);
    assert!(all.json()["manifests"].as_array().unwrap().contains(&expected), "{}: {all:?}", shape.name);
    let filtered = world.get(&format!("{path}?artifactType={}", artifact_type.unwrap_or("application/none"))).await;
    assert_eq!(filtered.header("oci-filters-applied"), "artifactType");
    assert_eq!(
        filtered.json()["manifests"].as_array().unwrap().contains(&expected),
        artifact_type.is_some(),
        "{}",
        shape.name
    );
}

#[tokio::test]
async fn the_stored_type_is_the_requests_or_the_documents_or_what_it_looks_like() {
    let world = World::new().await;
    let image = world.image("app", "x").await;
    let silent = image.replace(&format!("\"mediaType\":\"{OCI_MANIFEST}\","), "");
    assert_ne!(image, silent);
    let docker = image.replace(OCI_MANIFEST, DOCKER_MANIFEST);
    let index = json!({"schemaVersion": 2, "manifests": []}).to_string();
    for (what, declared, text, expected) in [
        ("request", Some(OCI_MANIFEST), &silent, OCI_MANIFEST),
        (
            "request with parameters",
            Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"),
            &image,
            OCI_MANIFEST,
        ),
        ("request for a silent Docker manifest", Some(DOCKER_MANIFEST), &silent, DOCKER_MANIFEST),
        ("document", None, &docker, DOCKER_MANIFEST),
        ("looks like an image", None, &silent, OCI_MANIFEST),
        ("looks like an index", None, &index, OCI_INDEX),
    ] {
        let mut call = world.call("PUT", "/v2/app/manifests/typed");
        if let Some(declared) = declared {
            call = call.header("content-type", declared);
        }
        let pushed = call.body(text.as_bytes()).send().await;
        assert_eq!(pushed.status, 201, "{what}: {pushed:?}");
        // The same bytes under another type are the same image: it keeps the type it came with first.
        assert_eq!(
            world.delete(&format!("/v2/app/manifests/{}", pushed.header("docker-content-digest"))).await.status,
            202
        );
        let mut call = world.call("PUT", "/v2/app/manifests/typed");
        if let Some(declared) = declared {
            call = call.header("content-type", declared);
        }
        call.body(text.as_bytes()).send().await;
        let got = world.get("/v2/app/manifests/typed").await;
        assert_eq!(got.header("content-type"), expected, "{what}");
    }
}

#[tokio::test]
async fn many_tags_come_with_one_push() {
    let world = World::new().await;
    let text = world.image("app", "x").await;
    for algorithm in Algorithm::ALL {
        let digest = Digest::of_with(algorithm, text.as_bytes());
        let tags: Vec<String> = (0..50).map(|number| format!("{}-{number:02}", algorithm.as_str())).collect();
        let query = tags.iter().map(|tag| format!("tag={tag}")).collect::<Vec<_>>().join("&");
        let pushed = world.put_manifest("app", &format!("{digest}?{query}"), &text).await;
        assert_eq!((pushed.status.as_u16(), pushed.header("oci-tag")), (201, tags.join(", ").as_str()));
        for tag in &tags {
            let head = world.head(&format!("/v2/app/manifests/{tag}")).await;
            assert_eq!((head.status.as_u16(), head.header("docker-content-digest")), (200, digest.as_str()));
        }
        let too_many = world.put_manifest("app", &format!("{digest}?{query}&tag=more"), &text).await;
        assert_eq!(too_many.status, 414);
        assert_eq!(world.head("/v2/app/manifests/more").await.status, 404);
    }
}

#[tokio::test]
async fn each_missing_reference_is_an_error_of_its_own() {
    let world = World::new().await;
    let there = world.push_blob("app", b"{}").await;
    let absent: Vec<Digest> = (0..5_u8).map(|n| Digest::of(&[n])).collect();
    let descriptor = |digest: &Digest, media_type: &str| json!({"mediaType": media_type, "digest": digest, "size": 1});
    let layer = "application/vnd.oci.image.layer.v1.tar";
    let image = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(&absent[0], "application/x"),
        "layers": [descriptor(&absent[1], layer), descriptor(&absent[2], layer), descriptor(&absent[1], layer)],
    });
    let index = json!({
        "schemaVersion": 2, "mediaType": OCI_INDEX,
        "manifests": [
            descriptor(&absent[3], OCI_MANIFEST), descriptor(&absent[4], OCI_INDEX), descriptor(&absent[0], layer),
            {"mediaType": layer, "digest": there, "size": 2},
        ],
    });
    for (manifest, missing) in [(image, vec![0, 1, 2]), (index, vec![0, 3, 4])] {
        let refused = world.put_manifest("app", "v1", &manifest.to_string()).await;
        assert_eq!(refused.refusal(), (400, "MANIFEST_BLOB_UNKNOWN".to_owned()));
        let errors = refused.json()["errors"].as_array().unwrap().clone();
        let mut named: Vec<&str> = errors.iter().map(|error| error["detail"]["digest"].as_str().unwrap()).collect();
        named.sort_unstable();
        let mut expected: Vec<&str> = missing.iter().map(|n: &usize| absent[*n].as_str()).collect();
        expected.sort_unstable();
        assert_eq!(named, expected);
        assert!(errors.iter().all(|error| error["code"] == "MANIFEST_BLOB_UNKNOWN"));
    }
}

#[tokio::test]
async fn parents_are_deleted_before_their_children() {
    let world = World::new().await;
    let shape = shapes::all(&world, Algorithm::Sha256).await.into_iter().find(|shape| shape.name == "index of indexes");
    let shape = shape.unwrap();
    let outer = push(&world, &shape, "nested").await;
    let inner: serde_json::Value = serde_json::from_str(&shape.text).unwrap();
    let inner = inner["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let refused = world.delete(&format!("/v2/app/manifests/{inner}")).await;
    assert_eq!(refused.refusal(), (403, "DENIED".to_owned()));
    assert!(refused.json()["errors"][0]["message"].as_str().unwrap().contains(outer.as_str()));
    assert_eq!(world.delete(&format!("/v2/app/manifests/{outer}")).await.status, 202);
    assert_eq!(world.delete(&format!("/v2/app/manifests/{inner}")).await.status, 202);
}
