//! Every limit, on both sides of it, and input that means harm: refused clearly, in bounded memory and time.

use gantry_registry::digest::{Algorithm, Digest};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{OCI_INDEX, World};
use crate::server::Server;

#[tokio::test]
async fn names_and_tags_at_their_limits() {
    let world = World::new().await;
    let image = world.image("app", "x").await;
    let longest_name = format!("{}/{}", "a".repeat(127), "b".repeat(128));
    assert_eq!(longest_name.len(), 256);
    for name in ["ab", "a1", "a__b", "a---b", "a.b/c_d/e-f", "blobs/uploads", "manifests/tags/list", &longest_name] {
        world.repository(name).await;
        let digest = world.push_image(name, "v1", "x").await;
        let got = world.get(&format!("/v2/{name}/manifests/v1")).await;
        assert_eq!(got.header("docker-content-digest"), digest.as_str(), "{name}");
        assert_eq!(world.get(&format!("/v2/{name}/tags/list")).await.json()["name"], name);
    }
    let longest_tag = "t".repeat(128);
    for tag in ["a", "_", "0", "A.b-c_D", "x.", "list", "latest", &longest_tag] {
        assert_eq!(world.put_manifest("app", tag, &image).await.status, 201, "{tag}");
        assert_eq!(world.head(&format!("/v2/app/manifests/{tag}")).await.status, 200, "{tag}");
        assert_eq!(world.delete(&format!("/v2/app/manifests/{tag}")).await.status, 202, "{tag}");
    }
    for tag in [".a", "-a", "a+b", "a%20b", "%C3%BC", "a%00", &"t".repeat(129), &"t".repeat(4000)] {
        let refused = world.put_manifest("app", tag, &image).await;
        assert_eq!(refused.refusal(), (400, "TAG_INVALID".to_owned()), "{tag:.40}");
        assert_eq!(world.get(&format!("/v2/app/manifests/{tag}")).await.status, 404, "{tag:.40}");
    }
}

#[tokio::test]
async fn a_manifest_of_four_mebibytes_and_not_a_byte_more() {
    let world = World::new().await;
    let of_size = |size: usize| {
        let text = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "x": ""}).to_string();
        text.replace("\"x\":\"\"", &format!("\"x\":\"{}\"", "x".repeat(size - text.len())))
    };
    let largest = of_size(4 * 1024 * 1024);
    assert_eq!(largest.len(), 4 * 1024 * 1024);
    for algorithm in Algorithm::ALL {
        let digest = Digest::of_with(algorithm, largest.as_bytes());
        assert_eq!(world.put_manifest("app", digest.as_str(), &largest).await.status, 201);
        assert!(world.get(&format!("/v2/app/manifests/{digest}")).await.body == largest.as_bytes());
    }
    let too_large = of_size(4 * 1024 * 1024 + 1);
    assert_eq!(world.put_manifest("app", "v1", &too_large).await.refusal(), (413, "SIZE_INVALID".to_owned()));
    let pieces = too_large.as_bytes().chunks(100_000).map(|piece| Ok(bytes::Bytes::copy_from_slice(piece))).collect();
    let streamed = world.call("PUT", "/v2/app/manifests/v1").stream(pieces).send().await;
    assert_eq!(streamed.refusal(), (413, "SIZE_INVALID".to_owned()));
}

#[tokio::test]
async fn indexes_nested_a_hundred_deep_cost_no_more_than_flat_ones() {
    let world = World::new().await;
    let mut text = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).to_string();
    for depth in 0..100 {
        let digest = Digest::of(text.as_bytes());
        assert_eq!(world.put_manifest("app", digest.as_str(), &text).await.status, 201, "{depth}");
        let entry = json!({"mediaType": OCI_INDEX, "digest": digest, "size": text.len()});
        text = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).to_string();
    }
    assert_eq!(world.put_manifest("app", "deep", &text).await.status, 201);
    assert_eq!(world.get("/v2/app/manifests/deep").await.body, text.as_bytes());
    // A document nested in itself is refused before it costs a stack.
    for open in ["[", "{\"a\":"] {
        let deep = format!("{{\"schemaVersion\":2,\"x\":{}", open.repeat(500_000));
        assert_eq!(world.put_manifest("app", "v1", &deep).await.refusal(), (400, "MANIFEST_INVALID".to_owned()));
    }
}

#[tokio::test]
async fn more_references_than_any_runtime_takes_are_refused() {
    let world = World::new().await;
    let config = world.push_blob("app", b"{}").await;
    let layers = |count: u32| {
        let layer = |n: u32| json!({"mediaType": "application/x", "digest": Digest::of(&n.to_be_bytes()), "size": 4});
        let layers: Vec<_> = (0..count).map(layer).collect();
        let config = json!({"mediaType": "application/x", "digest": config, "size": 2});
        json!({"schemaVersion": 2, "mediaType": crate::harness::OCI_MANIFEST, "config": config, "layers": layers})
    };
    for n in 0..127_u32 {
        world.push_blob("app", &n.to_be_bytes()).await;
    }
    assert_eq!(world.put_manifest("app", "most", &layers(127).to_string()).await.status, 201);
    let refused = world.put_manifest("app", "v1", &layers(10_000).to_string()).await;
    assert_eq!(refused.refusal(), (400, "MANIFEST_INVALID".to_owned()));
}

/// Sends a head and nothing else; gives the answer's head.
async fn send_head(server: &Server, request: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let head = format!("{request}\r\nhost: localhost\r\nauthorization: {}\r\n\r\n", server.world.authorization);
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.unwrap();
        assert_ne!(read, 0, "the connection ended without an answer");
        answer.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_body_that_says_it_has_a_terabyte_is_refused_before_it_comes() {
    let server = Server::start().await;
    let digest = Digest::of(b"x");
    let started = server.world.call("POST", "/v2/app/blobs/uploads/").send().await;
    let upload = started.header("location");
    for length in ["1099511627776", "9223372036854775807"] {
        for target in [
            format!("POST /v2/app/blobs/uploads/?digest={digest}"),
            format!("PATCH {upload}"),
            format!("PUT {upload}?digest={digest}"),
            "PUT /v2/app/manifests/v1".to_owned(),
        ] {
            let answer = send_head(&server, &format!("{target} HTTP/1.1\r\ncontent-length: {length}")).await;
            assert!(answer.starts_with("HTTP/1.1 413 "), "{target} {length}: {answer}");
        }
    }
    let range = "content-range: 0-1099511627775\r\ncontent-length: 1099511627776";
    let answer = send_head(&server, &format!("PATCH {upload} HTTP/1.1\r\n{range}")).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    // The upload is as it was.
    assert_eq!(server.world.get(upload).await.header("range"), "0-0");
}
