//! Tags, referrers and the catalogue, page by page.

use gantry_registry::digest::Digest;
use serde_json::json;

use crate::harness::{OCI_INDEX, OCI_MANIFEST, World};

#[tokio::test]
async fn tags_come_sorted_and_in_pages() {
    let world = World::new().await;
    assert_eq!(world.get("/v2/app/tags/list").await.json(), json!({"name": "app", "tags": []}));
    assert_eq!(world.get("/v2/missing/tags/list").await.refusal(), (404, "NAME_UNKNOWN".to_owned()));
    for tag in ["b", "a", "C", "a-1", "_x"] {
        world.push_image("app", tag, "x").await;
    }
    // Another repository whose name begins alike has its own.
    world.repository("app/sub").await;
    world.push_image("app/sub", "z", "x").await;
    for (query, tags, next) in [
        ("", json!(["C", "_x", "a", "a-1", "b"]), ""),
        ("?n=2", json!(["C", "_x"]), "</v2/app/tags/list?n=2&last=_x>; rel=\"next\""),
        ("?n=2&last=_x", json!(["a", "a-1"]), "</v2/app/tags/list?n=2&last=a-1>; rel=\"next\""),
        ("?last=a-1&n=2", json!(["b"]), ""),
        ("?last=a", json!(["a-1", "b"]), ""),
        ("?last=aa", json!(["b"]), ""),
        ("?n=0", json!([]), ""),
        ("?n=100000", json!(["C", "_x", "a", "a-1", "b"]), ""),
    ] {
        let answer = world.get(&format!("/v2/app/tags/list{query}")).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["tags"]), (200, &tags), "{query}");
        assert_eq!(answer.header("link"), next, "{query}");
    }
    for query in ["?n=-1", "?n=x", "?n=1.5"] {
        assert_eq!(world.get(&format!("/v2/app/tags/list{query}")).await.status, 400, "{query}");
    }
}

#[tokio::test]
async fn the_catalogue_lists_the_registrys_repositories() {
    let world = World::new().await;
    for name in ["zoo", "app/b1", "app/a1"] {
        world.repository(name).await;
    }
    assert_eq!(world.get("/v2/_catalog").await.json()["repositories"], json!(["app", "app/a1", "app/b1", "zoo"]));
    let page = world.get("/v2/_catalog?n=2").await;
    assert_eq!(page.json()["repositories"], json!(["app", "app/a1"]));
    assert_eq!(page.header("link"), "</v2/_catalog?n=2&last=app%2Fa1>; rel=\"next\"");
    let page = world.get("/v2/_catalog?n=2&last=app%2Fa1").await;
    assert_eq!(page.json()["repositories"], json!(["app/b1", "zoo"]));
}

#[tokio::test]
async fn referrers_are_listed_filtered_and_forgotten() {
    let world = World::new().await;
    let subject = Digest::of(b"nothing yet");
    let path = format!("/v2/app/referrers/{subject}");
    let empty = world.get(&path).await;
    assert_eq!(empty.header("content-type"), OCI_INDEX);
    assert_eq!(empty.json(), json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}));
    assert_eq!(world.get("/v2/app/referrers/sha256:x").await.refusal(), (400, "DIGEST_INVALID".to_owned()));

    let config = world.push_blob("app", b"{}").await;
    let mut digests = Vec::new();
    for (artifact_type, annotation) in [("application/a", "1".to_owned()), ("application/b", "x".repeat(100_000))] {
        let text = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": artifact_type,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2},
            "layers": [], "annotations": {"k": annotation},
            "subject": {"mediaType": OCI_MANIFEST, "digest": subject, "size": 7},
        })
        .to_string();
        let put = world.put_manifest("app", Digest::of(text.as_bytes()).as_str(), &text).await;
        assert_eq!((put.status.as_u16(), put.header("oci-subject")), (201, subject.as_str()));
        digests.push((artifact_type, annotation, Digest::of(text.as_bytes()), text.len()));
    }
    digests.sort_by(|a, b| a.2.cmp(&b.2));
    let listed = world.get(&path).await.json();
    for (index, (artifact_type, annotation, digest, size)) in digests.iter().enumerate() {
        assert_eq!(
            listed["manifests"][index],
            json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": size, "artifactType": artifact_type,
                "annotations": {"k": annotation}})
        );
    }
    let filtered = world.get(&format!("{path}?artifactType=application%2Fb")).await;
    assert_eq!(filtered.header("oci-filters-applied"), "artifactType");
    assert_eq!(filtered.json()["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(filtered.json()["manifests"][0]["artifactType"], "application/b");

    assert_eq!(world.delete(&format!("/v2/app/manifests/{}", digests[0].2)).await.status, 202);
    let listed = world.get(&path).await.json();
    assert_eq!(listed["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(listed["manifests"][0]["digest"], digests[1].2.as_str());
}

#[tokio::test]
async fn many_referrers_come_in_pages_that_clients_can_read() {
    let world = World::new().await;
    let subject = Digest::of(b"subject");
    let config = world.push_blob("app", b"{}").await;
    for number in 0..5 {
        let text = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": {"mediaType": "application/example", "digest": config, "size": 2},
            "layers": [], "annotations": {"n": number.to_string(), "x": "x".repeat(1_000_000)},
            "subject": {"mediaType": OCI_MANIFEST, "digest": subject, "size": 7},
        });
        assert_eq!(world.put_manifest("app", &format!("r{number}"), &text.to_string()).await.status, 201);
    }
    let (mut path, mut seen) = (format!("/v2/app/referrers/{subject}?artifactType=application/example"), 0);
    loop {
        let page = world.get(&path).await;
        assert!(page.body.len() < 4 * 1024 * 1024);
        seen += page.json()["manifests"].as_array().unwrap().len();
        let Some(next) = page.header("link").strip_prefix('<') else { break };
        path = next.split('>').next().unwrap().to_owned();
    }
    assert_eq!(seen, 5);
}
