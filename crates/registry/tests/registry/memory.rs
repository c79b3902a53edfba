//! Memory stays flat however large a blob is.

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt;
use gantry_registry::digest::{Algorithm, Hasher};
use http_body_util::BodyExt;

use crate::harness::World;

const CHUNK_SIZE: usize = 128 * 1024;
const CHUNKS: usize = 6 * 1024;
/// Room for pieces in flight, read buffers and what the allocator keeps; a hundredth of the blob would not fit.
const GROWTH_MAX_KIB: u64 = 32 * 1024;

/// The most memory this process ever had resident, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_layer_goes_in_and_out_in_little_memory() {
    let world = World::new().await;
    let chunk = Bytes::from(vec![0x5a; CHUNK_SIZE]);
    let mut hasher = Hasher::new(Algorithm::Sha256);
    (0..CHUNKS).for_each(|_| hasher.update(&chunk));
    let digest = hasher.finish();
    let before = peak_kib();

    let started = world.call("POST", "/v2/app/blobs/uploads/").send().await;
    let location = started.header("location").to_owned();
    let pieces = futures_util::stream::repeat(chunk.clone()).take(CHUNKS).map(Ok::<_, std::io::Error>);
    let patched = world.call("PATCH", &location).any_body(Body::from_stream(pieces)).send().await;
    assert_eq!(patched.status, 202);
    let done = world.call("PUT", &format!("{location}?digest={digest}")).send().await;
    assert_eq!(done.status, 201);
    let uploaded = peak_kib();

    let mut body = world.call("GET", &format!("/v2/app/blobs/{digest}")).response().await.into_body();
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        received += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!(received, CHUNKS * CHUNK_SIZE);
    let downloaded = peak_kib();
    assert!(uploaded - before < GROWTH_MAX_KIB, "upload: {before} KiB before, {uploaded} KiB after");
    assert!(downloaded - uploaded < GROWTH_MAX_KIB, "download: {uploaded} KiB before, {downloaded} KiB after");
}
