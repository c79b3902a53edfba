//! Blobs: every way of uploading, by both algorithms, of every size that is special; ranges; mounts; deletion.

use bytes::Bytes;
use gantry_registry::digest::{Algorithm, Digest};

use crate::harness::World;

const UPLOADS: &str = "/v2/app/blobs/uploads/";

/// Sizes around what is held in memory, cached, gathered and read at once.
const SIZES: [usize; 7] = [0, 1, 2, 65_536, 65_537, 1_048_577, 2_500_000];

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 + i / 251) as u8).collect()
}

#[derive(Debug, Clone, Copy)]
enum Flow {
    /// `POST ?digest=` with the body.
    Post,
    /// `POST`, then `PUT` with the body.
    PostPut,
    /// The same with the algorithm named at the start.
    PostPutNamed,
    /// `POST`, one `PATCH` of unknown length, `PUT` without a body.
    Stream,
    /// `POST`, `PATCH` with `Content-Length` and no range, `PUT` without a body.
    Patch,
    /// Chunks with ranges, the last one in the `PUT`.
    Chunks,
    /// Chunks with ranges, all of them in `PATCH`.
    ChunksThenPut,
}

const FLOWS: [Flow; 7] =
    [Flow::Post, Flow::PostPut, Flow::PostPutNamed, Flow::Stream, Flow::Patch, Flow::Chunks, Flow::ChunksThenPut];

async fn start(world: &World, query: &str) -> String {
    let started = world.call("POST", &format!("{UPLOADS}{query}")).header("content-length", "0").send().await;
    assert_eq!((started.status.as_u16(), started.header("range")), (202, "0-0"), "{query}");
    let location = started.header("location").to_owned();
    assert!(location.starts_with(UPLOADS) && !location.contains('?'), "{location}");
    location
}

async fn upload(world: &World, flow: Flow, algorithm: Algorithm, bytes: &[u8]) -> crate::harness::Answer {
    let digest = Digest::of_with(algorithm, bytes);
    let octets = |method, path: &str| world.call(method, path).header("content-type", "application/octet-stream");
    let named = format!("?digest-algorithm={}", algorithm.as_str());
    match flow {
        Flow::Post => octets("POST", &format!("{UPLOADS}?digest={digest}")).body(bytes).send().await,
        Flow::PostPut | Flow::PostPutNamed => {
            let query = if matches!(flow, Flow::PostPutNamed) { named.as_str() } else { "" };
            let location = start(world, query).await;
            octets("PUT", &format!("{location}?digest={digest}")).body(bytes).send().await
        }
        Flow::Stream | Flow::Patch => {
            let location = start(world, "").await;
            let patch = match flow {
                Flow::Stream => {
                    let pieces = bytes.chunks(50_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
                    world.call("PATCH", &location).stream(pieces)
                }
                _ => octets("PATCH", &location).body(bytes),
            };
            let patched = patch.send().await;
            assert_eq!(patched.status, 202, "{patched:?}");
            let last = bytes.len().saturating_sub(1);
            assert_eq!(patched.header("range"), format!("0-{last}"));
            world.call("PUT", &format!("{}?digest={digest}", patched.header("location"))).send().await
        }
        Flow::Chunks | Flow::ChunksThenPut => {
            let mut location = start(world, &named).await;
            let cut = bytes.len() / 3;
            let mut chunks = vec![(0, cut), (cut, 2 * cut), (2 * cut, bytes.len())];
            let last = if matches!(flow, Flow::Chunks) { chunks.pop() } else { None };
            let range = |from: usize, to: usize| format!("{from}-{}", to - 1);
            for (from, to) in chunks.into_iter().filter(|(from, to)| from < to) {
                let chunk = octets("PATCH", &location).header("content-range", &range(from, to));
                let patched = chunk.body(&bytes[from..to]).send().await;
                assert_eq!((patched.status.as_u16(), patched.header("range")), (202, range(0, to).as_str()));
                location = patched.header("location").to_owned();
                let status = world.get(&location).await;
                assert_eq!((status.status.as_u16(), status.header("range")), (204, range(0, to).as_str()));
                assert_eq!(status.header("location"), location);
            }
            let finish = octets("PUT", &format!("{location}?digest={digest}"));
            match last.filter(|(from, to)| from < to) {
                Some((from, to)) => {
                    finish.header("content-range", &range(from, to)).body(&bytes[from..to]).send().await
                }
                None => finish.send().await,
            }
        }
    }
}

#[tokio::test]
async fn every_way_of_uploading_ends_in_the_same_blob() {
    for algorithm in Algorithm::ALL {
        for flow in FLOWS {
            let world = World::new().await;
            for size in SIZES {
                let bytes = content(size);
                let digest = Digest::of_with(algorithm, &bytes);
                let path = format!("/v2/app/blobs/{digest}");
                assert_eq!(world.head(&path).await.status, 404);
                // Twice: what is there already is accepted as well.
                for _ in 0..2 {
                    let done = upload(&world, flow, algorithm, &bytes).await;
                    assert_eq!(done.status, 201, "{flow:?} {algorithm:?} {size}: {done:?}");
                    assert_eq!(done.header("location"), path);
                    assert_eq!(done.header("docker-content-digest"), digest.as_str());
                    let head = world.head(&path).await;
                    let got = world.get(&path).await;
                    assert!(got.body == bytes, "{flow:?} {algorithm:?} {size}: other bytes");
                    assert_eq!(head.status, 200);
                    for name in ["content-length", "content-type", "docker-content-digest", "etag", "accept-ranges"] {
                        assert_eq!(head.header(name), got.header(name), "{name}");
                        assert!(!head.header(name).is_empty(), "{name}");
                    }
                    assert_eq!(head.header("content-length"), size.to_string());
                    assert_eq!(got.header("content-encoding"), "");
                }
                assert_eq!(world.delete(&path).await.status, 202);
                assert_eq!(world.head(&path).await.status, 404);
                assert_eq!(world.delete(&path).await.refusal(), (404, "BLOB_UNKNOWN".to_owned()));
            }
        }
    }
}

#[tokio::test]
async fn the_wrong_digest_leaves_nothing_behind() {
    for algorithm in Algorithm::ALL {
        for size in [2, 2_500_000] {
            let world = World::new().await;
            let wrong = Digest::of_with(algorithm, b"what was promised");
            let bytes = content(size);
            let posted = world.call("POST", &format!("{UPLOADS}?digest={wrong}")).body(&bytes[..]).send().await;
            assert_eq!(posted.refusal(), (400, "DIGEST_INVALID".to_owned()));
            let location = start(&world, "").await;
            let put = world.call("PUT", &format!("{location}?digest={wrong}")).body(&bytes[..]).send().await;
            assert_eq!(put.refusal(), (400, "DIGEST_INVALID".to_owned()));
            assert_eq!(world.head(&format!("/v2/app/blobs/{wrong}")).await.status, 404);
            assert_eq!(world.head(&format!("/v2/app/blobs/{}", Digest::of_with(algorithm, &bytes))).await.status, 404);
        }
    }
}

#[tokio::test]
async fn chunks_out_of_order_are_refused_and_the_upload_goes_on() {
    let world = World::new().await;
    let bytes = content(3000);
    let digest = Digest::of(&bytes);
    let location = start(&world, "").await;
    let send = |method: &'static str, from: usize, to: usize| {
        let path = if method == "PUT" { format!("{location}?digest={digest}") } else { location.clone() };
        let range = format!("{from}-{}", to - 1);
        let call = world.call(method, &path).header("content-range", &range);
        call.body(bytes[from..to].to_vec()).send()
    };
    for (method, from, to, expected) in [
        ("PATCH", 1000, 2000, 416), // ahead of an empty upload
        ("PUT", 1000, 3000, 416),
        ("PATCH", 0, 1000, 202),
        ("PATCH", 0, 1000, 416),    // again
        ("PATCH", 500, 1500, 416),  // overlapping
        ("PATCH", 1001, 2000, 416), // a hole
        ("PUT", 2000, 3000, 416),   // a hole
        ("PUT", 0, 3000, 416),      // from the beginning
        ("PATCH", 1000, 2000, 202),
    ] {
        let answer = send(method, from, to).await;
        assert_eq!(answer.status, expected, "{method} {from}-{to}");
        if expected == 416 {
            assert_eq!(answer.refusal().1, "BLOB_UPLOAD_INVALID");
            let status = world.get(&location).await;
            assert_eq!(status.status, 204);
            assert_eq!(
                (answer.header("range"), answer.header("location")),
                (status.header("range"), location.as_str())
            );
        }
    }
    assert_eq!(send("PUT", 2000, 3000).await.status, 201);
    assert_eq!(world.get(&format!("/v2/app/blobs/{digest}")).await.body, bytes);
}

#[tokio::test]
async fn an_upload_can_be_cancelled_at_any_point() {
    let world = World::new().await;
    for received in [0, 10, 2_000_000] {
        let location = start(&world, "").await;
        if received > 0 {
            assert_eq!(world.call("PATCH", &location).body(content(received)).send().await.status, 202);
        }
        assert_eq!(world.delete(&location).await.status, 204);
        for (method, query) in [("GET", ""), ("DELETE", ""), ("PATCH", ""), ("PUT", "?digest=")] {
            let query = if query.is_empty() { String::new() } else { format!("{query}{}", Digest::of(b"")) };
            let gone = world.call(method, &format!("{location}{query}")).send().await;
            assert_eq!(gone.refusal(), (404, "BLOB_UPLOAD_UNKNOWN".to_owned()), "{method} {received}");
        }
    }
}

#[tokio::test]
async fn a_mount_is_a_blob_or_an_upload_and_never_a_refusal() {
    for algorithm in Algorithm::ALL {
        let world = World::new().await;
        for name in ["with/slash", "empty"] {
            world.repository(name).await;
        }
        let bytes = content(1000);
        let digest = Digest::of_with(algorithm, &bytes);
        assert_eq!(upload(&world, Flow::Post, algorithm, &bytes).await.status, 201);
        let encoded = digest.as_str().replace(':', "%3A");
        let absent = Digest::of_with(algorithm, b"absent");
        let rows = [
            ("with/slash", format!("mount={digest}&from=app"), 201),
            ("app", format!("from=with%2Fslash&mount={encoded}"), 201), // what is there already
            ("empty", format!("mount={digest}&from=missing"), 202),
            ("empty", format!("mount={absent}&from=app"), 202),
            ("empty", format!("mount={absent}"), 202),
            ("empty", format!("mount={digest}&from=empty"), 202),
            ("empty", format!("mount={encoded}&from=with%2Fslash&origin=example.com"), 201),
            ("empty", format!("mount={digest}"), 201), // from anywhere
        ];
        for (name, query, expected) in rows {
            let answer = world.call("POST", &format!("/v2/{name}/blobs/uploads/?{query}")).send().await;
            assert_eq!(answer.status.as_u16(), expected, "{name} {query}");
            let path = format!("/v2/{name}/blobs/{digest}");
            if expected == 201 {
                assert_eq!(
                    (answer.header("location"), answer.header("docker-content-digest")),
                    (path.as_str(), digest.as_str())
                );
                assert_eq!(world.get(&path).await.body, bytes, "{name} {query}");
            } else {
                // The upload it turned into works.
                let finish = format!("{}?digest={}", answer.header("location"), Digest::of(b"instead"));
                assert_eq!(world.call("PUT", &finish).body(&b"instead"[..]).send().await.status, 201);
            }
        }
    }
}

#[tokio::test]
async fn ranges() {
    let world = World::new().await;
    for size in [0_usize, 1, 10, 70_000, 1_200_000] {
        let bytes = content(size);
        assert_eq!(upload(&world, Flow::Post, Algorithm::Sha512, &bytes).await.status, 201);
        let path = format!("/v2/app/blobs/{}", Digest::of_with(Algorithm::Sha512, &bytes));
        let (last, total) = (size.saturating_sub(1), size);
        // The header, and the part of the blob it asks for; none where there is no such part.
        let rows = [
            ("bytes=0-0".to_owned(), Some((0, 1))),
            (format!("bytes=0-{last}"), Some((0, size))),
            (format!("bytes={last}-"), Some((last, size))),
            (format!("bytes={}-{}", size / 3, size / 2), Some((size / 3, size / 2 + 1))),
            ("bytes=-1".to_owned(), Some((last, size))),
            (format!("bytes=-{}", size * 2 + 1), Some((0, size))),
            (format!("bytes=0-{}", u64::MAX), Some((0, size))),
            (format!("bytes={size}-"), None),
            (format!("bytes={size}-{}", size + 10), None),
            ("bytes=-0".to_owned(), None),
            ("bytes=5-4".to_owned(), None),
        ];
        for (header, part) in rows {
            let got = world.call("GET", &path).header("range", &header).send().await;
            match part.filter(|_| size > 0) {
                Some((from, to)) => {
                    let to = to.min(size);
                    assert_eq!(got.status, 206, "{size} {header}");
                    assert!(got.body == bytes[from..to], "{size} {header}");
                    assert_eq!(got.header("content-range"), format!("bytes {from}-{}/{total}", to - 1));
                    assert_eq!(got.header("content-length"), (to - from).to_string());
                }
                None => {
                    assert_eq!(got.status, 416, "{size} {header}");
                    assert_eq!(got.header("content-range"), format!("bytes */{total}"));
                }
            }
        }
        let etag = world.head(&path).await.header("etag").to_owned();
        for (name, value, expected) in [
            ("if-none-match", etag.as_str(), 304),
            ("if-none-match", "*", 304),
            ("if-none-match", "\"other\"", 200),
            ("accept-encoding", "gzip", 200),
            ("range", "bytes=0-0,2-3", 200),
            ("range", "lines=0-1", 200),
        ] {
            let got = world.call("GET", &path).header(name, value).send().await;
            assert_eq!(got.status, expected, "{name}: {value}");
            assert!(got.body == if expected == 200 { &bytes[..] } else { b"" }, "{name}: {value}");
        }
        if size > 2 {
            let resumed = |tag: &str| world.call("GET", &path).header("range", "bytes=1-").header("if-range", tag);
            assert_eq!(resumed(&etag).send().await.status, 206);
            assert_eq!(resumed("\"other\"").send().await.status, 200);
        }
    }
}

#[tokio::test]
async fn what_many_repositories_share_is_stored_once_and_stays_while_one_needs_it() {
    let mut world = World::new().await;
    let names = ["b1", "b2", "b3", "b4"];
    let layer = Digest::of(b"layer x");
    let mut image = None;
    for (number, name) in names.iter().enumerate() {
        world.repository(name).await;
        if number % 2 == 1 {
            let mount = format!("/v2/{name}/blobs/uploads/?mount={layer}&from={}", names[number - 1]);
            assert_eq!(world.call("POST", &mount).send().await.status, 201);
        }
        image = Some(world.push_image(name, "v1", "x").await);
    }
    let image = image.unwrap();
    // Configuration, layer and manifest.
    let stored = async |world: &World| world.registry.blobs().list(None, 10).await.unwrap().len();
    assert_eq!(stored(&world).await, 3);
    for (number, name) in names.iter().enumerate() {
        assert_eq!(world.delete(&format!("/v2/{name}/manifests/{image}")).await.status, 202);
        world.advance_hours(25);
        world.log_in();
        world.registry.collect().await.unwrap();
        let last = number + 1 == names.len();
        assert_eq!(stored(&world).await, if last { 0 } else { 3 }, "{name}");
        if !last {
            let next = names[number + 1];
            assert_eq!(world.get(&format!("/v2/{next}/blobs/{layer}")).await.body, "layer x");
            assert_eq!(world.get(&format!("/v2/{name}/blobs/{layer}")).await.status, 404);
        }
    }
}
