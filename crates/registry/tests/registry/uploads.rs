//! Uploads in all the ways clients make them.

use std::io;

use bytes::Bytes;
use gantry_registry::digest::{Algorithm, Digest};

use crate::harness::World;

async fn start(world: &World) -> String {
    let started = world.call("POST", "/v2/app/blobs/uploads/").send().await;
    assert_eq!(started.status, 202);
    assert_eq!(started.header("range"), "0-0");
    let location = started.header("location").to_owned();
    assert!(location.starts_with("/v2/app/blobs/uploads/"), "{location}");
    assert!(location.ends_with(started.header("docker-upload-uuid")));
    location
}

async fn check_blob(world: &World, digest: &Digest, expected: &[u8]) {
    let answer = world.get(&format!("/v2/app/blobs/{digest}")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, expected);
    assert_eq!(answer.header("docker-content-digest"), digest.as_str());
}

#[tokio::test]
async fn in_a_single_post() {
    let world = World::new().await;
    for (bytes, algorithm) in [
        (Vec::new(), Algorithm::Sha256),
        (b"{}".to_vec(), Algorithm::Sha256),
        (b"{}".to_vec(), Algorithm::Sha512),
        (vec![7; 3_000_000], Algorithm::Sha256),
        (vec![7; 3_000_000], Algorithm::Sha512),
    ] {
        let digest = Digest::of_with(algorithm, &bytes);
        let path = format!("/v2/app/blobs/uploads/?digest={digest}");
        let done = world.call("POST", &path).body(bytes.clone()).send().await;
        assert_eq!(done.status, 201, "{done:?}");
        assert_eq!(done.header("location"), format!("/v2/app/blobs/{digest}"));
        assert_eq!(done.header("docker-content-digest"), digest.as_str());
        check_blob(&world, &digest, &bytes).await;
        // And once more, as nothing new.
        assert_eq!(world.call("POST", &path).body(bytes).send().await.status, 201);
        let wrong = world.call("POST", &path).body(b"other".to_vec()).send().await;
        assert_eq!(wrong.refusal(), (400, "DIGEST_INVALID".to_owned()));
    }
}

#[tokio::test]
async fn with_post_and_put() {
    let world = World::new().await;
    for bytes in [Vec::new(), b"hello".to_vec(), vec![3; 2_500_000]] {
        let location = start(&world).await;
        let digest = Digest::of(&bytes);
        let encoded = digest.as_str().replace(':', "%3A");
        let done = world.call("PUT", &format!("{location}?digest={encoded}")).body(bytes.clone()).send().await;
        assert_eq!(done.status, 201, "{done:?}");
        check_blob(&world, &digest, &bytes).await;
        assert_eq!(world.get(&location).await.refusal(), (404, "BLOB_UPLOAD_UNKNOWN".to_owned()));
    }
}

#[tokio::test]
async fn with_a_streamed_patch_as_docker_does() {
    let world = World::new().await;
    let location = start(&world).await;
    let pieces = (0..40).map(|i| Ok(Bytes::from(vec![i; 70_000]))).collect();
    let bytes: Vec<u8> = (0..40).flat_map(|i| vec![i; 70_000]).collect();
    let patched = world.call("PATCH", &location).stream(pieces).send().await;
    assert_eq!(patched.status, 202);
    assert_eq!(patched.header("range"), format!("0-{}", bytes.len() - 1));
    assert_eq!(patched.header("location"), location);
    let digest = Digest::of(&bytes);
    assert_eq!(world.call("PUT", &format!("{location}?digest={digest}")).send().await.status, 201);
    check_blob(&world, &digest, &bytes).await;
}

#[tokio::test]
async fn in_chunks_of_which_the_order_is_checked() {
    let world = World::new().await;
    let bytes: Vec<u8> = (0..2_000_000_u32).map(|i| (i % 253) as u8).collect();
    let location = start(&world).await;
    let chunk = |from: usize, to: usize| {
        let range = format!("{from}-{}", to - 1);
        world.call("PATCH", &location).header("content-range", &range).body(bytes[from..to].to_vec())
    };
    // The first chunk must begin at the beginning.
    let refused = chunk(10, 20).send().await;
    assert_eq!(refused.refusal(), (416, "BLOB_UPLOAD_INVALID".to_owned()));
    assert_eq!(chunk(0, 1_200_000).send().await.header("range"), "0-1199999");
    for (from, to) in [(0, 1_200_000), (1_199_999, 1_300_000), (1_200_001, 1_300_000)] {
        let refused = chunk(from, to).send().await;
        assert_eq!(refused.status, 416, "{from}-{to}");
        assert_eq!(refused.header("range"), "0-1199999");
        assert_eq!(refused.header("location"), location);
    }
    // What the header says and what comes must agree.
    let short = world.call("PATCH", &location).header("content-range", "1200000-1300000");
    assert_eq!(short.body(vec![0; 10]).send().await.refusal(), (400, "SIZE_INVALID".to_owned()));
    let short = world.call("PATCH", &location).header("content-range", "1200000-1300000");
    let short = short.stream(vec![Ok(Bytes::from(vec![0; 10]))]).send().await;
    assert_eq!(short.refusal(), (400, "SIZE_INVALID".to_owned()));
    for nonsense in ["x", "5-1", "1200000"] {
        let answer = world.call("PATCH", &location).header("content-range", nonsense).body(vec![0; 10]).send().await;
        assert_eq!(answer.refusal(), (400, "BLOB_UPLOAD_INVALID".to_owned()));
    }
    let status = world.get(&location).await;
    assert_eq!((status.status.as_u16(), status.header("range")), (204, "0-1199999"));
    assert_eq!(chunk(1_200_000, 1_500_000).send().await.status, 202);
    // A wrong last chunk leaves the upload usable.
    let digest = Digest::of(&bytes);
    let finish = format!("{location}?digest={digest}");
    let last =
        |range: &str| world.call("PUT", &finish).header("content-range", range).body(bytes[1_500_000..].to_vec());
    assert_eq!(last("1400000-1899999").send().await.status, 416);
    assert_eq!(last("1500000-1999999").send().await.status, 201);
    check_blob(&world, &digest, &bytes).await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_resumed_where_it_stopped() {
    let world = World::new().await;
    let bytes: Vec<u8> = (0..2_500_000_u32).map(|i| (i % 253) as u8).collect();
    let location = start(&world).await;
    let broken = vec![Ok(Bytes::copy_from_slice(&bytes[..1_700_000])), Err(io::Error::other("gone"))];
    assert_eq!(world.call("PATCH", &location).stream(broken).send().await.status, 400);
    assert_eq!(world.get(&location).await.header("range"), "0-1699999");
    // A restart forgets nothing.
    let world = world.restart();
    assert_eq!(world.get(&location).await.header("range"), "0-1699999");
    let rest = world.call("PATCH", &location).header("content-range", "1700000-2499999");
    assert_eq!(rest.body(bytes[1_700_000..].to_vec()).send().await.status, 202);
    let digest = Digest::of(&bytes);
    assert_eq!(world.call("PUT", &format!("{location}?digest={digest}")).send().await.status, 201);
    check_blob(&world, &digest, &bytes).await;
}

#[tokio::test]
async fn a_chunk_that_breaks_off_does_not_count() {
    let world = World::new().await;
    let location = start(&world).await;
    let broken = vec![Ok(Bytes::from(vec![1; 1_500_000])), Err(io::Error::other("gone"))];
    let chunk = world.call("PATCH", &location).header("content-range", "0-1999999").stream(broken);
    assert_eq!(chunk.send().await.status, 400);
    assert_eq!(world.get(&location).await.header("range"), "0-0");
    let bytes = vec![2; 2_000_000];
    let whole = world.call("PATCH", &location).header("content-range", "0-1999999").body(bytes.clone());
    assert_eq!(whole.send().await.status, 202);
    let digest = Digest::of(&bytes);
    assert_eq!(world.call("PUT", &format!("{location}?digest={digest}")).send().await.status, 201);
    check_blob(&world, &digest, &bytes).await;
}

#[tokio::test]
async fn the_wrong_digest_or_none_is_refused() {
    let world = World::new().await;
    let location = start(&world).await;
    let nothing = world.call("PUT", &location).body(b"x".to_vec()).send().await;
    assert_eq!(nothing.refusal(), (400, "DIGEST_INVALID".to_owned()));
    let malformed = world.call("PUT", &format!("{location}?digest=sha256:xyz")).body(b"x".to_vec()).send().await;
    assert_eq!(malformed.refusal(), (400, "DIGEST_INVALID".to_owned()));
    let other = Digest::of(b"other");
    let wrong = world.call("PUT", &format!("{location}?digest={other}")).body(b"x".to_vec()).send().await;
    assert_eq!(wrong.refusal(), (400, "DIGEST_INVALID".to_owned()));
    assert_eq!(world.get(&format!("/v2/app/blobs/{other}")).await.status, 404);
    // The upload is gone with its content.
    assert_eq!(world.get(&location).await.status, 404);
    let algorithm = world.call("POST", "/v2/app/blobs/uploads/?digest-algorithm=md5").send().await;
    assert_eq!(algorithm.refusal(), (400, "DIGEST_INVALID".to_owned()));
    assert_eq!(world.call("POST", "/v2/app/blobs/uploads?digest-algorithm=sha512").send().await.status, 202);
}

#[tokio::test]
async fn a_cancelled_upload_is_gone() {
    let world = World::new().await;
    let location = start(&world).await;
    world.call("PATCH", &location).body(b"x".to_vec()).send().await;
    assert_eq!(world.delete(&location).await.status, 204);
    for method in ["GET", "PATCH", "DELETE"] {
        assert_eq!(world.call(method, &location).send().await.status, 404, "{method}");
    }
    let put = world.call("PUT", &format!("{location}?digest={}", Digest::of(b"x"))).send().await;
    assert_eq!(put.refusal(), (404, "BLOB_UPLOAD_UNKNOWN".to_owned()));
    let message = put.json()["errors"][0]["message"].as_str().unwrap().to_owned();
    let id = location.rsplit('/').next().unwrap();
    assert_eq!(
        message,
        format!(
            "Upload with id '{id}' could not be found for the repository with name 'app' in the registry with id '000000000000'"
        )
    );
}

#[tokio::test]
async fn an_upload_is_known_only_in_its_repository() {
    let world = World::new().await;
    world.repository("other").await;
    let location = start(&world).await;
    assert_eq!(world.get(&location.replace("/app/", "/other/")).await.status, 404);
    assert_eq!(world.get("/v2/app/blobs/uploads/..%2f..%2ftoken.key").await.status, 405);
    assert_eq!(world.get("/v2/app/blobs/uploads/token.key").await.status, 404);
    let missing = world.call("POST", "/v2/missing/blobs/uploads/").send().await;
    assert_eq!(missing.refusal(), (404, "NAME_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn a_blob_is_mounted_from_where_it_is() {
    let world = World::new().await;
    world.repository("team/other").await;
    let digest = world.push_blob("app", b"shared").await;
    let absent = Digest::of(b"absent");
    let encoded = digest.as_str().replace(':', "%3A");
    for (query, expected) in [
        (format!("mount={absent}&from=app"), 202),
        (format!("mount={digest}&from=missing"), 202),
        (format!("mount={digest}&from=Not/A/Name"), 202),
        (format!("from=app&origin=x&mount={encoded}"), 201),
    ] {
        let path = format!("/v2/team/other/blobs/uploads/?{query}");
        let answer = world.call("POST", &path).send().await;
        assert_eq!(answer.status.as_u16(), expected, "{query}");
        let kind = if expected == 201 {
            format!("/v2/team/other/blobs/{digest}")
        } else {
            "/v2/team/other/blobs/uploads/".to_owned()
        };
        assert!(answer.header("location").starts_with(&kind));
    }
    assert_eq!(world.get(&format!("/v2/team/other/blobs/{digest}")).await.body, "shared");
    world.repository("third").await;
    let anonymous = world.call("POST", &format!("/v2/third/blobs/uploads/?mount={digest}")).send().await;
    assert_eq!(anonymous.status, 201);
    assert_eq!(world.delete(&format!("/v2/app/blobs/{digest}")).await.status, 202);
    assert_eq!(world.get(&format!("/v2/third/blobs/{digest}")).await.body, "shared");
}

#[tokio::test]
async fn mounting_does_not_reach_into_other_accounts() {
    let world = World::new().await;
    let digest = world.push_blob("app", b"secret").await;
    let scope = gantry_domain::arn::Scope::new("111111111111", "us-east-1");
    let theirs = gantry_registry::metadata::RepositoryKeys::new(&scope, &"app".parse().unwrap());
    world.registry.repository_create(&theirs, &Default::default()).await.unwrap();
    let token = world.token("111111111111", "us-east-1", gantry_api::PrincipalKind::Root);
    for query in [format!("mount={digest}"), format!("mount={digest}&from=app")] {
        let path = format!("/v2/app/blobs/uploads/?{query}");
        let answer = world.anonymous("POST", &path).header("authorization", &token).send().await;
        assert_eq!(answer.status, 202, "{query}");
    }
}
