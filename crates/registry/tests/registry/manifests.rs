//! Manifests: what is taken, what is refused, what comes back.

use gantry_registry::digest::{Algorithm, Digest};
use gantry_registry::metadata::RepositoryRow;
use gantry_registry::mutability::Mutability;
use serde_json::json;

use crate::harness::{OCI_INDEX, OCI_MANIFEST, World, index, manifest};

#[tokio::test]
async fn an_image_comes_back_byte_for_byte_by_tag_and_by_digest() {
    let world = World::new().await;
    let text = world.image("app", "x").await.replace("{\"config\"", "{ \n\"unknown\": [1, null], \"config\"");
    let digest = Digest::of(text.as_bytes());
    let put = world.put_manifest("app", "v1", &text).await;
    assert_eq!(put.status, 201, "{put:?}");
    assert_eq!(put.header("location"), format!("/v2/app/manifests/{digest}"));
    assert_eq!(put.header("docker-content-digest"), digest.as_str());
    for reference in ["v1", digest.as_str()] {
        let path = format!("/v2/app/manifests/{reference}");
        let got = world.call("GET", &path).header("accept", "text/html").send().await;
        assert_eq!((got.status.as_u16(), &got.body[..]), (200, text.as_bytes()));
        let head = world.head(&path).await;
        for answer in [&got, &head] {
            assert_eq!(answer.header("content-type"), OCI_MANIFEST);
            assert_eq!(answer.header("docker-content-digest"), digest.as_str());
            assert_eq!(answer.header("content-length"), text.len().to_string());
        }
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    }
    assert_eq!(world.put_manifest("app", "v1", &text).await.status, 201);
    assert_eq!(world.restart().get("/v2/app/manifests/v1").await.body, text.as_bytes());
}

#[tokio::test]
async fn every_media_type_of_the_specifications_is_kept() {
    let world = World::new().await;
    for media_type in [OCI_MANIFEST, "application/vnd.docker.distribution.manifest.v2+json"] {
        let text = world.image("app", media_type).await.replace(OCI_MANIFEST, media_type);
        let call =
            world.call("PUT", "/v2/app/manifests/t").header("content-type", &format!("{media_type}; charset=utf-8"));
        assert_eq!(call.body(text.as_bytes()).send().await.status, 201);
        assert_eq!(world.get("/v2/app/manifests/t").await.header("content-type"), media_type);
    }
    for media_type in [OCI_INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"] {
        let child = world.get("/v2/app/manifests/t").await;
        let child = (&Digest::of(&child.body), child.body.len());
        let text = index(&[child]).replace(OCI_INDEX, media_type);
        let call = world.call("PUT", "/v2/app/manifests/list").header("content-type", media_type);
        assert_eq!(call.body(text.as_bytes()).send().await.status, 201);
        assert_eq!(world.get("/v2/app/manifests/list").await.header("content-type"), media_type);
    }
    let refused = world.image("app", "old").await;
    for media_type in ["application/vnd.docker.distribution.manifest.v1+json", "text/plain", OCI_INDEX] {
        let call = world.call("PUT", "/v2/app/manifests/t").header("content-type", media_type);
        let refused = call.body(refused.as_bytes()).send().await;
        assert_eq!(refused.refusal(), (400, "MANIFEST_INVALID".to_owned()), "{media_type}");
    }
}

#[tokio::test]
async fn artifacts_empty_layers_empty_indexes_and_nested_indexes_are_legal() {
    let world = World::new().await;
    let config = world.push_blob("app", b"{}").await;
    let artifact = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/vnd.example+type",
        "config": {"mediaType": "application/vnd.example.config", "digest": config, "size": 2, "data": "e30="},
        "layers": [],
    });
    assert_eq!(world.put_manifest("app", "artifact", &artifact.to_string()).await.status, 201);
    let empty = index(&[]);
    assert_eq!(world.put_manifest("app", "empty", &empty).await.status, 201);
    let nested = index(&[(&Digest::of(empty.as_bytes()), empty.len())]).replacen(OCI_MANIFEST, OCI_INDEX, 1);
    assert_eq!(world.put_manifest("app", "nested", &nested).await.status, 201);
    let foreign = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "digest": Digest::of(b"elsewhere"), "size": 100, "urls": ["https://example.com/layer"]}],
    });
    assert_eq!(world.put_manifest("app", "foreign", &foreign.to_string()).await.status, 201);
    let cache = json!({
        "schemaVersion": 2, "mediaType": OCI_INDEX,
        "manifests": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": config, "size": 2}],
    });
    assert_eq!(world.put_manifest("app", "cache", &cache.to_string()).await.status, 201);
}

#[tokio::test]
async fn what_a_manifest_needs_must_be_there() {
    let world = World::new().await;
    let config = world.push_blob("app", b"{}").await;
    let absent = Digest::of(b"absent");
    let refused = world.put_manifest("app", "v1", &manifest(&config, 2, &absent, 6).to_string()).await;
    assert_eq!(refused.refusal(), (400, "MANIFEST_BLOB_UNKNOWN".to_owned()));
    assert_eq!(refused.json()["errors"][0]["detail"]["digest"], absent.as_str());
    assert_eq!(
        refused.json()["errors"][0]["message"],
        format!(
            "Layers with digests '[{absent}]' required for pushing image into repository with name 'app' in the registry with id '000000000000' do not exist"
        )
    );
    let refused = world.put_manifest("app", "v1", &index(&[(&absent, 6)])).await;
    assert_eq!(refused.refusal(), (400, "MANIFEST_BLOB_UNKNOWN".to_owned()));
    // A blob of another repository does not count, nor does a wrong size.
    world.repository("other").await;
    let refused = world.put_manifest("other", "v1", &manifest(&config, 2, &config, 2).to_string()).await;
    assert_eq!(refused.refusal(), (400, "MANIFEST_BLOB_UNKNOWN".to_owned()));
    let refused = world.put_manifest("app", "v1", &manifest(&config, 3, &config, 3).to_string()).await;
    assert_eq!(refused.refusal(), (400, "MANIFEST_INVALID".to_owned()));
    assert_eq!(world.get("/v2/app/manifests/v1").await.refusal(), (404, "MANIFEST_UNKNOWN".to_owned()));
    assert_eq!(world.get("/v2/missing/manifests/v1").await.refusal(), (404, "NAME_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn a_manifest_pushed_by_digest_must_have_it() {
    let world = World::new().await;
    let text = world.image("app", "x").await;
    let refused = world.put_manifest("app", Digest::of(b"other").as_str(), &text).await;
    assert_eq!(refused.refusal(), (400, "DIGEST_INVALID".to_owned()));
    for algorithm in Algorithm::ALL {
        let digest = Digest::of_with(algorithm, text.as_bytes());
        let put = world.put_manifest("app", digest.as_str(), &text).await;
        assert_eq!((put.status.as_u16(), put.header("docker-content-digest")), (201, digest.as_str()));
        let got = world.get(&format!("/v2/app/manifests/{digest}")).await;
        assert_eq!(got.header("docker-content-digest"), digest.as_str());
        assert_eq!(got.body, text.as_bytes());
    }
    let digest = Digest::of(text.as_bytes());
    let tagged = world.put_manifest("app", &format!("{digest}?tag=a&tag=b"), &text).await;
    assert_eq!((tagged.status.as_u16(), tagged.header("oci-tag")), (201, "a, b"));
    assert_eq!(world.get("/v2/app/manifests/b").await.body, text.as_bytes());
}

#[tokio::test]
async fn malformed_references_and_documents_are_refused() {
    let world = World::new().await;
    let text = world.image("app", "x").await;
    for (method, reference, expected) in [
        ("GET", ".INVALID", (404, "MANIFEST_UNKNOWN")),
        ("DELETE", ".INVALID", (404, "MANIFEST_UNKNOWN")),
        ("PUT", ".INVALID", (400, "TAG_INVALID")),
        ("GET", "sha256:totallywrong", (400, "DIGEST_INVALID")),
        ("PUT", "sha256:totallywrong", (400, "DIGEST_INVALID")),
        ("GET", "sha999:abcd", (400, "DIGEST_INVALID")),
        ("POST", "v1", (405, "UNSUPPORTED")),
    ] {
        let call = world.call(method, &format!("/v2/app/manifests/{reference}")).body(text.as_bytes());
        let (status, code) = call.send().await.refusal();
        assert_eq!((status, code.as_str()), expected, "{method} {reference}");
    }
    for document in ["", "{", "[]", "null", "{\"schemaVersion\":2}", "\u{0}", &"[".repeat(50_000)] {
        let refused = world.put_manifest("app", "v1", document).await;
        assert_eq!(refused.refusal(), (400, "MANIFEST_INVALID".to_owned()), "{document:.20}");
    }
    let mut large = text.clone().replacen('{', "{\"annotations\":{\"x\":\"", 1);
    large.insert_str("{\"annotations\":{\"x\":\"".len(), &format!("{}\"}},", "a".repeat(3_900_000)));
    assert_eq!(world.put_manifest("app", "large", &large).await.status, 201);
    assert_eq!(world.get("/v2/app/manifests/large").await.body, large.as_bytes());
    let too_large = large.replacen("aaa", &"a".repeat(400_000), 1);
    assert_eq!(world.put_manifest("app", "large", &too_large).await.status, 413);
}

#[tokio::test]
async fn a_tag_moves_and_leaves_the_former_image() {
    let world = World::new().await;
    let first = world.push_image("app", "v1", "first").await;
    let second = world.push_image("app", "v1", "second").await;
    assert_eq!(world.get("/v2/app/manifests/v1").await.header("docker-content-digest"), second.as_str());
    assert_eq!(world.get(&format!("/v2/app/manifests/{first}")).await.status, 200);
    assert_eq!(world.delete("/v2/app/manifests/v1").await.status, 202);
    assert_eq!(world.get("/v2/app/manifests/v1").await.status, 404);
    assert_eq!(world.delete("/v2/app/manifests/v1").await.refusal(), (404, "MANIFEST_UNKNOWN".to_owned()));
    assert_eq!(world.get(&format!("/v2/app/manifests/{second}")).await.status, 200);
}

#[tokio::test]
async fn deleting_an_image_takes_its_tags_along() {
    let world = World::new().await;
    let image = world.push_image("app", "a", "x").await;
    world.push_image("app", "b", "x").await;
    world.push_image("app", "c", "other").await;
    assert_eq!(world.delete(&format!("/v2/app/manifests/{image}")).await.status, 202);
    for reference in ["a", "b", image.as_str()] {
        assert_eq!(world.head(&format!("/v2/app/manifests/{reference}")).await.status, 404);
    }
    assert_eq!(world.delete(&format!("/v2/app/manifests/{image}")).await.status, 404);
    assert_eq!(world.get("/v2/app/tags/list").await.json()["tags"], json!(["c"]));
}

#[tokio::test]
async fn a_child_of_a_list_stays_while_the_list_does() {
    let world = World::new().await;
    let text = world.image("app", "child").await;
    let child = Digest::of(text.as_bytes());
    world.put_manifest("app", child.as_str(), &text).await;
    let list = index(&[(&child, text.len())]);
    let parent = Digest::of(list.as_bytes());
    assert_eq!(world.put_manifest("app", "list", &list).await.status, 201);
    assert_eq!(world.delete(&format!("/v2/app/manifests/{child}")).await.refusal(), (403, "DENIED".to_owned()));
    assert_eq!(world.delete(&format!("/v2/app/manifests/{parent}")).await.status, 202);
    assert_eq!(world.delete(&format!("/v2/app/manifests/{child}")).await.status, 202);
}

#[tokio::test]
async fn an_immutable_tag_stays_where_it_is() {
    let world = World::new().await;
    let rows = [
        ("immutable", Mutability::Immutable, vec![], "v1"),
        ("excluding", Mutability::ImmutableWithExclusion, vec!["dev-*".to_owned()], "v1"),
        ("protecting", Mutability::MutableWithExclusion, vec!["v*".to_owned()], "v1"),
    ];
    for (name, mutability, mutability_filters, tag) in rows {
        world.repository_with(name, RepositoryRow { mutability, mutability_filters, ..Default::default() }).await;
        let first = world.image(name, "first").await;
        let second = world.image(name, "second").await;
        assert_eq!(world.put_manifest(name, tag, &first).await.status, 201);
        // The same again is no change.
        assert_eq!(world.put_manifest(name, tag, &first).await.status, 201);
        let refused = world.put_manifest(name, tag, &second).await;
        assert_eq!(refused.refusal(), (400, "TAG_INVALID".to_owned()), "{name}");
        assert_eq!(
            refused.json()["errors"][0]["message"],
            format!(
                "The image tag 'v1' already exists in the '{name}' repository and cannot be overwritten because the tag is immutable."
            )
        );
        assert_eq!(world.get(&format!("/v2/{name}/manifests/{tag}")).await.body, first.as_bytes());
        if mutability != Mutability::Immutable {
            assert_eq!(world.put_manifest(name, "dev-1", &first).await.status, 201);
            assert_eq!(world.put_manifest(name, "dev-1", &second).await.status, 201);
        }
        // A deleted tag is free again.
        assert_eq!(world.delete(&format!("/v2/{name}/manifests/{tag}")).await.status, 202);
        assert_eq!(world.put_manifest(name, tag, &second).await.status, 201);
    }
}

#[tokio::test]
async fn a_damaged_manifest_looks_absent_and_can_be_pushed_again_or_deleted() {
    let world = World::new().await;
    let text = world.image("app", "x").await;
    let digest = Digest::of(text.as_bytes());
    world.put_manifest("app", "v1", &text).await;
    let file = world.directory.path().join("blobs/sha256").join(&digest.hex()[..2]).join(digest.hex());
    std::fs::write(&file, &text[1..]).unwrap();
    let world = world.restart();
    assert_eq!(world.head("/v2/app/manifests/v1").await.status, 404);
    assert_eq!(world.get("/v2/app/manifests/v1").await.refusal(), (404, "MANIFEST_UNKNOWN".to_owned()));
    assert_eq!(world.put_manifest("app", "v1", &text).await.status, 201);
    assert_eq!(world.get("/v2/app/manifests/v1").await.body, text.as_bytes());
    std::fs::remove_file(&file).unwrap();
    let world = world.restart();
    assert_eq!(world.delete(&format!("/v2/app/manifests/{digest}")).await.status, 202);
    assert_eq!(world.delete(&format!("/v2/app/blobs/{}", Digest::of(b"layer x"))).await.status, 202);
}
