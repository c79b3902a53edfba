//! Downloads and removal of blobs.

use gantry_registry::digest::Digest;

use crate::harness::World;

#[tokio::test]
async fn a_blob_is_served_with_what_clients_rely_on() {
    let world = World::new().await;
    let bytes: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
    let digest = world.push_blob("app", &bytes).await;
    let path = format!("/v2/app/blobs/{digest}");
    let got = world.get(&path).await;
    assert_eq!(got.status, 200);
    assert_eq!(got.body, bytes);
    let head = world.head(&path).await;
    assert_eq!(head.status, 200);
    assert!(head.body.is_empty());
    for name in ["content-length", "content-type", "docker-content-digest", "etag", "accept-ranges"] {
        assert_eq!(got.header(name), head.header(name), "{name}");
    }
    assert_eq!(got.header("content-length"), "100000");
    assert_eq!(got.header("content-type"), "application/octet-stream");
    assert_eq!(got.header("docker-content-digest"), digest.as_str());
    assert_eq!(got.header("accept-ranges"), "bytes");
    let same = world.call("GET", &path).header("if-none-match", got.header("etag")).send().await;
    assert_eq!((same.status.as_u16(), same.body.len()), (304, 0));
}

#[tokio::test]
async fn parts_of_a_blob_are_served() {
    let world = World::new().await;
    for bytes in [b"0123456789".to_vec(), (0..200_000_u32).map(|i| (i % 251) as u8).collect()] {
        let digest = world.push_blob("app", &bytes).await;
        let path = format!("/v2/app/blobs/{digest}");
        let total = bytes.len();
        for (range, status, part) in [
            ("bytes=2-4".to_owned(), 206, 2..5),
            ("bytes=5-".to_owned(), 206, 5..total),
            ("bytes=-3".to_owned(), 206, total - 3..total),
            (format!("bytes=1-{}", total * 2), 206, 1..total),
            (format!("bytes={total}-"), 416, 0..0),
            ("bytes=4-2".to_owned(), 416, 0..0),
            ("bytes=0-1,4-5".to_owned(), 200, 0..total),
            ("chunks=1-2".to_owned(), 200, 0..total),
        ] {
            let answer = world.call("GET", &path).header("range", &range).send().await;
            assert_eq!(answer.status.as_u16(), status, "{range}");
            assert_eq!(answer.body, bytes[part.clone()], "{range}");
            assert_eq!(answer.header("content-length"), part.len().to_string(), "{range}");
            match status {
                206 => {
                    assert_eq!(answer.header("content-range"), format!("bytes {}-{}/{total}", part.start, part.end - 1))
                }
                416 => assert_eq!(answer.header("content-range"), format!("bytes */{total}")),
                _ => assert_eq!(answer.header("content-range"), ""),
            }
        }
        let resumed = world.call("GET", &path).header("range", "bytes=2-").header("if-range", "\"other\"");
        assert_eq!(resumed.send().await.status, 200);
    }
}

#[tokio::test]
async fn what_is_not_there_is_404_and_what_is_not_a_digest_400() {
    let world = World::new().await;
    let absent = Digest::of(b"absent");
    for (path, expected) in [
        (format!("/v2/app/blobs/{absent}"), (404, "BLOB_UNKNOWN")),
        (format!("/v2/missing/blobs/{absent}"), (404, "NAME_UNKNOWN")),
        (format!("/v2/App/blobs/{absent}"), (400, "NAME_INVALID")),
        ("/v2/app/blobs/sha256:abc".to_owned(), (400, "DIGEST_INVALID")),
        ("/v2/app/blobs/md5:d41d8cd98f00b204e9800998ecf8427e".to_owned(), (400, "DIGEST_INVALID")),
        ("/v2/app/nothing".to_owned(), (405, "UNSUPPORTED")),
    ] {
        let (status, code) = world.get(&path).await.refusal();
        assert_eq!((status, code.as_str()), expected, "{path}");
        assert_eq!(world.head(&path).await.status.as_u16(), expected.0, "{path}");
    }
    assert_eq!(world.delete(&format!("/v2/app/blobs/{absent}")).await.status, 404);
    let answer = world.get(&format!("/v2/missing/blobs/{absent}")).await;
    assert_eq!(
        answer.json()["errors"][0]["message"],
        "The repository with name 'missing' does not exist in the registry with id '000000000000'"
    );
}

#[tokio::test]
async fn a_blob_is_readable_only_in_the_repositories_that_hold_it() {
    let world = World::new().await;
    world.repository("other").await;
    let digest = world.push_blob("app", b"secret").await;
    assert_eq!(world.get(&format!("/v2/other/blobs/{digest}")).await.status, 404);
    assert_eq!(world.push_blob("other", b"secret").await, digest);
    assert_eq!(world.delete(&format!("/v2/app/blobs/{digest}")).await.status, 202);
    assert_eq!(world.get(&format!("/v2/app/blobs/{digest}")).await.status, 404);
    assert_eq!(world.get(&format!("/v2/other/blobs/{digest}")).await.body, "secret");
}

#[tokio::test]
async fn a_blob_that_a_manifest_needs_stays() {
    let world = World::new().await;
    let image = world.push_image("app", "v1", "x").await;
    let layer = Digest::of(b"layer x");
    assert_eq!(world.delete(&format!("/v2/app/blobs/{layer}")).await.refusal(), (405, "UNSUPPORTED".to_owned()));
    assert_eq!(world.delete(&format!("/v2/app/manifests/{image}")).await.status, 202);
    assert_eq!(world.delete(&format!("/v2/app/blobs/{layer}")).await.status, 202);
}

#[tokio::test]
async fn a_damaged_blob_counts_as_absent_until_it_is_pushed_again() {
    let world = World::new().await;
    let image = world.push_image("app", "v1", "x").await;
    let layer = Digest::of(b"layer x");
    let file = world.directory.path().join("blobs/sha256").join(&layer.hex()[..2]).join(layer.hex());
    std::fs::write(file, b"layer y").unwrap();
    let world = world.restart();
    let path = format!("/v2/app/blobs/{layer}");
    assert_eq!(world.head(&path).await.status, 200);
    assert_eq!(world.get(&path).await.refusal(), (404, "BLOB_UNKNOWN".to_owned()));
    assert_eq!(world.head(&path).await.status, 404);
    world.push_blob("app", b"layer x").await;
    assert_eq!(world.get(&path).await.body, "layer x");
    assert_eq!(world.get(&format!("/v2/app/manifests/{image}")).await.status, 200);
}
