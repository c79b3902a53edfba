//! Tags, catalogue and referrers: order, pages, filters, and the tags that stand in for referrers.

use gantry_registry::digest::{Algorithm, Digest};
use serde_json::{Value, json};

use super::shapes;
use crate::harness::{Answer, OCI_INDEX, OCI_MANIFEST, World};

/// The address of the next page.
fn next(answer: &Answer) -> Option<String> {
    let (target, rel) = answer.header("link").strip_prefix('<')?.split_once('>')?;
    assert_eq!(rel, "; rel=\"next\"");
    Some(target.to_owned())
}

/// Every entry of `member`, following the pages from `path`; and how many entries each page had.
async fn pages(world: &World, path: &str, member: &str) -> (Vec<Value>, Vec<usize>) {
    let (mut path, mut entries, mut sizes) = (Some(path.to_owned()), Vec::new(), Vec::new());
    while let Some(current) = path {
        let answer = world.get(&current).await;
        assert_eq!(answer.status, 200, "{current}");
        let page = answer.json()[member].as_array().unwrap().clone();
        sizes.push(page.len());
        entries.extend(page);
        path = next(&answer);
        assert!(sizes.len() < 100, "pages without end");
    }
    (entries, sizes)
}

#[tokio::test]
async fn tags_are_listed_in_byte_order_by_any_page_size() {
    let world = World::new().await;
    let digest = world.push_image("app", "_first", "x").await;
    let manifest = world.get("/v2/app/manifests/_first").await.body;
    let manifest = std::str::from_utf8(&manifest).unwrap().to_owned();
    let mut tags = vec!["_first".to_owned(), "A".to_owned(), "a".to_owned(), "a-".to_owned(), "a.1".to_owned()];
    tags.extend((0..20).map(|number| format!("t{number}")));
    for tag in &tags {
        assert_eq!(world.put_manifest("app", tag, &manifest).await.status, 201);
    }
    assert_eq!(world.head("/v2/app/manifests/a-").await.header("docker-content-digest"), digest.as_str());
    tags.sort();
    for size in [1, 2, 7, 24, 25, 26, 5000] {
        let (listed, sizes) = pages(&world, &format!("/v2/app/tags/list?n={size}"), "tags").await;
        assert_eq!(listed, tags, "{size}");
        assert!(sizes[..sizes.len() - 1].iter().all(|length| *length == size), "{size}: {sizes:?}");
        assert_eq!(sizes.len(), tags.len().div_ceil(size), "{size}: {sizes:?}");
    }
    for (query, from) in [("last=", 0), ("last=a-", 4), ("last=a-0", 4), ("last=zzz", 25), ("last=..%2F..", 0)] {
        let answer = world.get(&format!("/v2/app/tags/list?{query}")).await;
        assert_eq!(answer.json()["tags"], json!(tags[from..]), "{query}");
        assert_eq!(next(&answer), None);
    }
    let none = world.get("/v2/app/tags/list?n=0").await;
    assert_eq!((none.json()["tags"].clone(), next(&none)), (json!([]), None));
}

#[tokio::test]
async fn the_catalogue_is_paged_alike() {
    let world = World::new().await;
    let mut names: Vec<String> = (0..12).map(|number| format!("team-{}/image-{number}", number % 3)).collect();
    for name in &names {
        world.repository(name).await;
    }
    names.push("app".to_owned());
    names.sort();
    for size in [1, 5, 13, 14, 2000] {
        let (listed, sizes) = pages(&world, &format!("/v2/_catalog?n={size}"), "repositories").await;
        assert_eq!(listed, names, "{size}");
        assert_eq!(sizes.len(), names.len().div_ceil(size));
    }
    let from = world.get("/v2/_catalog?last=team-1").await.json();
    assert_eq!(from["repositories"], json!(names[5..]));
    let none = world.get("/v2/_catalog?n=0").await;
    assert_eq!((none.json(), next(&none)), (json!({"repositories": []}), None));
    for query in ["n=-1", "n=x", "n=99999999999999999999999999"] {
        assert_eq!(world.get(&format!("/v2/_catalog?{query}")).await.status, 400, "{query}");
        assert_eq!(world.get(&format!("/v2/app/tags/list?{query}")).await.status, 400, "{query}");
    }
}

#[tokio::test]
async fn referrers_of_anything_are_a_list() {
    let world = World::new().await;
    for algorithm in Algorithm::ALL {
        let absent = Digest::of_with(algorithm, b"absent");
        for query in ["", "?artifactType=application/x"] {
            let answer = world.get(&format!("/v2/app/referrers/{absent}{query}")).await;
            assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, OCI_INDEX));
            assert_eq!(answer.json(), json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}));
            assert_eq!(answer.header("oci-filters-applied"), if query.is_empty() { "" } else { "artifactType" });
        }
    }
    for bad in ["sha256:x", "sha257:00", "latest"] {
        let answer = world.get(&format!("/v2/app/referrers/{bad}")).await;
        assert_eq!(answer.refusal(), (400, "DIGEST_INVALID".to_owned()), "{bad}");
    }
}

/// A signature of `subject`; `pad` makes it large.
async fn signature(world: &World, subject: &Digest, number: usize, pad: usize) -> (Digest, String) {
    let config = shapes::blob(world, Algorithm::Sha256, "application/vnd.oci.empty.v1+json", b"{}").await;
    let text = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [],
        "artifactType": format!("application/vnd.example.{}", number % 2),
        "annotations": {"number": number.to_string(), "pad": "p".repeat(pad)},
        "subject": {"mediaType": OCI_MANIFEST, "digest": subject, "size": 7},
    });
    let text = text.to_string();
    (Digest::of(text.as_bytes()), text)
}

#[tokio::test]
async fn many_and_large_referrers_come_in_pages_and_each_once() {
    let world = World::new().await;
    let subject = Digest::of(b"subject");
    let mut digests = Vec::new();
    for number in 0..24 {
        let (digest, text) = signature(&world, &subject, number, 300_000).await;
        assert_eq!(world.put_manifest("app", digest.as_str(), &text).await.status, 201);
        digests.push(digest.to_string());
    }
    digests.sort();
    let (listed, sizes) = pages(&world, &format!("/v2/app/referrers/{subject}"), "manifests").await;
    let listed: Vec<&str> = listed.iter().map(|entry| entry["digest"].as_str().unwrap()).collect();
    assert_eq!(listed, digests);
    assert!(sizes.len() > 2, "{sizes:?}");
    let filtered = format!("/v2/app/referrers/{subject}?artifactType=application%2Fvnd.example.1");
    let (listed, _) = pages(&world, &filtered, "manifests").await;
    assert_eq!(listed.len(), 12);
    assert!(listed.iter().all(|entry| entry["artifactType"] == "application/vnd.example.1"));
}

#[tokio::test]
async fn a_subject_may_come_before_after_or_never_and_referrers_outlive_it() {
    let world = World::new().await;
    let image = world.image("app", "x").await;
    let subject = Digest::of(image.as_bytes());
    let path = format!("/v2/app/referrers/{subject}");
    let (before, text) = signature(&world, &subject, 0, 0).await;
    assert_eq!(world.put_manifest("app", before.as_str(), &text).await.status, 201);
    assert_eq!(world.put_manifest("app", "v1", &image).await.status, 201);
    let (after, text) = signature(&world, &subject, 1, 0).await;
    assert_eq!(world.put_manifest("app", after.as_str(), &text).await.status, 201);
    assert_eq!(world.get(&path).await.json()["manifests"].as_array().unwrap().len(), 2);
    assert_eq!(world.delete(&format!("/v2/app/manifests/{subject}")).await.status, 202);
    assert_eq!(world.get(&path).await.json()["manifests"].as_array().unwrap().len(), 2);
    // A referrer of a referrer.
    let (second, text) = signature(&world, &after, 2, 0).await;
    assert_eq!(world.put_manifest("app", second.as_str(), &text).await.status, 201);
    let nested = world.get(&format!("/v2/app/referrers/{after}")).await.json();
    assert_eq!(nested["manifests"][0]["digest"], second.as_str());
}

#[tokio::test]
async fn referrers_that_older_clients_listed_under_a_tag_are_found_too() {
    let world = World::new().await;
    for algorithm in Algorithm::ALL {
        let subject = Digest::of_with(algorithm, b"subject");
        let path = format!("/v2/app/referrers/{subject}");
        let (known, known_text) = signature(&world, &subject, 0, 0).await;
        assert_eq!(world.put_manifest("app", known.as_str(), &known_text).await.status, 201);
        // Old manifests that name no subject themselves: only the list under the tag says what they are about.
        let old = world.image("app", &format!("old {subject}")).await;
        let old_digest = Digest::of(old.as_bytes());
        assert_eq!(world.put_manifest("app", old_digest.as_str(), &old).await.status, 201);
        let entry = |digest: &Digest, text: &str, artifact_type: &str| {
            json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": text.len(), "artifactType": artifact_type,
                "annotations": {"from": "tag"}})
        };
        let list = json!({
            "schemaVersion": 2, "mediaType": OCI_INDEX,
            "manifests": [entry(&known, &known_text, "application/x"), entry(&old_digest, &old, "application/vnd.example.old")],
        })
        .to_string();
        let tag = format!("{}-{}", algorithm.as_str(), &subject.hex()[..64]);
        assert_eq!(world.put_manifest("app", &tag, &list).await.status, 201);
        let listed = world.get(&path).await.json()["manifests"].as_array().unwrap().clone();
        assert_eq!(listed.len(), 2, "{listed:?}");
        let of = |digest: &Digest| listed.iter().find(|entry| entry["digest"] == digest.as_str()).unwrap().clone();
        // What the manifest says of itself wins.
        assert_eq!(of(&known)["artifactType"], "application/vnd.example.0");
        assert_eq!(of(&old_digest), entry(&old_digest, &old, "application/vnd.example.old"));
        let filtered = world.get(&format!("{path}?artifactType=application/vnd.example.old")).await.json();
        assert_eq!(filtered["manifests"], json!([of(&old_digest)]));
        // The list goes, and what it said.
        assert_eq!(world.delete(&format!("/v2/app/manifests/{}", Digest::of(list.as_bytes()))).await.status, 202);
        assert_eq!(world.get(&path).await.json()["manifests"].as_array().unwrap().len(), 1);
        // Nor is the subject itself, which `cosign copy` puts there: an index has platforms, which are not about it.
        let platforms =
            json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry(&old_digest, &old, "")]});
        let platforms = platforms.to_string();
        let itself = Digest::of_with(algorithm, platforms.as_bytes());
        assert_eq!(world.put_manifest("app", itself.as_str(), &platforms).await.status, 201);
        let own_tag = format!("{}-{}", algorithm.as_str(), &itself.hex()[..64]);
        assert_eq!(world.put_manifest("app", &own_tag, &platforms).await.status, 201);
        assert_eq!(world.get(&format!("/v2/app/referrers/{itself}")).await.json()["manifests"], json!([]));
        // Something else under such a tag is no list of referrers.
        assert_eq!(world.put_manifest("app", &tag, &old).await.status, 201);
        assert_eq!(world.get(&path).await.json()["manifests"].as_array().unwrap().len(), 1);
        world.delete(&format!("/v2/app/manifests/{known}")).await;
    }
}
