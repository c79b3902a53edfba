//! Everything at once, by a seed: pushes into two repositories that share layers, mounts, deletions by tag and by
//! digest, blobs taken out, and a collector for which everything is always past its grace. Clients may be refused and
//! begin again; what they were told is done stays done, and in the end the registry is whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use gantry_registry::changes::Actor;
use gantry_registry::digest::Digest;
use gantry_registry::token::TokenKey;
use gantry_registry::verify::Depth;
use gantry_registry::{Registry, RegistryConfig, http as v2, system_clock};

use crate::harness::{World, keys, manifest};
use crate::interleaved::Interleaved;

const SEEDS: std::ops::Range<u64> = 0..4;
const CLIENTS: u64 = 4;
const ROUNDS: usize = 25;
const REPOSITORIES: [&str; 2] = ["app", "other"];

/// What the whole check finds.
pub(crate) async fn problems(registry: &Registry) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = registry.verify(after.as_deref(), Depth::Contents).await.unwrap();
        found.extend(page.problems.into_iter().map(|problem| format!("{} {}", problem.subject, problem.problem)));
        match page.next {
            Some(next) => after = Some(next),
            None => return found,
        }
    }
}

/// Numbers that follow from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A registry whose collector takes whatever the rules allow.
async fn eager(seed: u64) -> World {
    let world = World::with_store(Interleaved::store(seed)).await;
    world.repository("other").await;
    let registry = Arc::new(Registry::new(
        Arc::clone(world.registry.blobs()),
        world.store.clone(),
        TokenKey::new([0; 32]),
        system_clock(),
        RegistryConfig { grace: Duration::ZERO, ..Default::default() },
    ));
    let router = v2::router(Arc::clone(&registry));
    let world = World { router, registry, ..world };
    let authorization = world.token("000000000000", "us-east-1", gantry_api::PrincipalKind::Root);
    World { authorization, ..world }
}

/// Brings a layer into a repository, by a mount if the other one has it.
async fn bring(world: &World, repository: &str, from: &str, bytes: &[u8]) {
    let digest = Digest::of(bytes);
    let mount = format!("/v2/{repository}/blobs/uploads/?mount={digest}&from={from}");
    let answer = world.call("POST", &mount).send().await;
    match answer.status.as_u16() {
        201 => {}
        202 => {
            let finish = format!("{}?digest={digest}", answer.header("location"));
            assert_eq!(world.call("PUT", &finish).body(bytes).send().await.status, 201);
        }
        other => panic!("mount: {other}"),
    }
}

/// Pushes an image; none when the collector was faster every time.
async fn push(world: &World, repository: usize, tag: &str, config: &str, layer: &str) -> Option<String> {
    let (name, other) = (REPOSITORIES[repository], REPOSITORIES[1 - repository]);
    for _ in 0..10 {
        bring(world, name, other, layer.as_bytes()).await;
        let config_digest = world.push_blob(name, config.as_bytes()).await;
        let text = manifest(&config_digest, config.len(), &Digest::of(layer.as_bytes()), layer.len()).to_string();
        let pushed = world.put_manifest(name, tag, &text).await;
        match pushed.status.as_u16() {
            201 => return Some(text),
            400 => assert_eq!(pushed.refusal().1, "MANIFEST_BLOB_UNKNOWN"),
            other => panic!("push: {other}"),
        }
    }
    None
}

/// One client, with tags and images of its own: so it knows what must be there in the end.
async fn client(world: &World, seed: u64, number: u64) -> BTreeMap<(usize, String), String> {
    let mut random = Random(seed.wrapping_mul(1009) + number);
    let mut there: BTreeMap<(usize, String), String> = BTreeMap::new();
    for _ in 0..ROUNDS {
        let repository = random.below(2) as usize;
        let name = REPOSITORIES[repository];
        let tag = format!("c{number}-{}", random.below(4));
        let key = (repository, tag.clone());
        match random.below(6) {
            0 => {
                let deleted = world.delete(&format!("/v2/{name}/manifests/{tag}")).await.status;
                assert_eq!(deleted.as_u16(), if there.remove(&key).is_some() { 202 } else { 404 });
            }
            1 => {
                let Some(text) = there.get(&key).cloned() else { continue };
                let digest = Digest::of(text.as_bytes());
                assert_eq!(world.delete(&format!("/v2/{name}/manifests/{digest}")).await.status, 202);
                there.retain(|(at, _), other| (*at, &*other) != (repository, &text));
            }
            2 => {
                let layer = Digest::of(format!("layer {}", random.below(5)).as_bytes());
                let removed = world.delete(&format!("/v2/{name}/blobs/{layer}")).await.status.as_u16();
                assert!(matches!(removed, 202 | 404 | 405), "{removed}");
            }
            _ => {
                let config = format!("{{\"client\":{number},\"n\":{}}}", random.below(3));
                let layer = format!("layer {}", random.below(5));
                if let Some(text) = push(world, repository, &tag, &config, &layer).await {
                    there.insert(key, text);
                }
            }
        }
    }
    there
}

async fn storm(seed: u64) {
    let world = eager(seed).await;
    let done = AtomicBool::new(false);
    let collector = async {
        while !done.load(Ordering::Acquire) {
            world.registry.collect().await.unwrap();
        }
    };
    let clients = async {
        let clients = join_all((0..CLIENTS).map(|number| client(&world, seed, number))).await;
        done.store(true, Ordering::Release);
        clients
    };
    let ((), clients) = tokio::join!(collector, clients);
    for ((repository, tag), text) in clients.into_iter().flatten() {
        let name = REPOSITORIES[repository];
        let got = world.get(&format!("/v2/{name}/manifests/{tag}")).await;
        assert_eq!(got.body, text.as_bytes(), "seed {seed}: {name}:{tag}");
        let image: serde_json::Value = serde_json::from_str(&text).unwrap();
        for descriptor in [&image["config"], &image["layers"][0]] {
            let digest = descriptor["digest"].as_str().unwrap();
            let got = world.get(&format!("/v2/{name}/blobs/{digest}")).await;
            assert_eq!(
                (got.status.as_u16(), Digest::of(&got.body).as_str()),
                (200, digest),
                "seed {seed}: {name}:{tag}"
            );
        }
    }
    assert_eq!(problems(&world.registry).await, Vec::<String>::new(), "seed {seed}");
    // And when nobody needs anything any more, nothing is left.
    for name in REPOSITORIES {
        world.registry.repository_delete(&keys(name), true, &Actor::client("test")).await.unwrap();
    }
    world.registry.collect().await.unwrap();
    assert!(world.registry.blobs().list(None, 10).await.unwrap().is_empty(), "seed {seed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_mounts_deletions_and_the_collector_at_once_leave_a_whole_registry() {
    for seed in SEEDS {
        storm(seed).await;
    }
}

#[tokio::test]
async fn what_is_broken_is_found() {
    let world = World::new().await;
    world.push_image("app", "v1", "x").await;
    assert_eq!(problems(&world.registry).await, Vec::<String>::new());
    let layer = Digest::of(b"layer x");
    let file =
        |digest: &Digest| world.directory.path().join("blobs/sha256").join(&digest.hex()[..2]).join(digest.hex());
    // Other content of the same length is found by reading, and then the image lacks its layer.
    std::fs::write(file(&layer), b"layer y").unwrap();
    let found = problems(&world.registry).await;
    assert_eq!(found, [format!("{layer} does not have the content its digest promises; it was set aside")]);
    let found = problems(&world.registry).await;
    assert!(
        found.iter().any(|problem| problem.ends_with("was found damaged or lost and must be pushed again")),
        "{found:?}"
    );
    assert!(found.iter().any(|problem| problem.ends_with(&format!("needs {layer}, which is not there"))), "{found:?}");
    world.push_blob("app", b"layer x").await;
    assert_eq!(problems(&world.registry).await, Vec::<String>::new());
    // A file that is gone.
    let config = Digest::of(b"{\"seed\":\"x\"}");
    std::fs::remove_file(file(&config)).unwrap();
    let found = problems(&world.registry).await;
    assert!(
        found.iter().any(|problem| problem.ends_with(&format!("{config} is not in the content store"))),
        "{found:?}"
    );
    world.push_blob("app", b"{\"seed\":\"x\"}").await;
    // A row that points nowhere.
    let row = gantry_store::Txn::new().put(
        "/ecr/000000000000/us-east-1/tags/app:lost",
        bytes::Bytes::from(format!("{{\"digest\":\"{}\"}}", Digest::of(b"nowhere"))),
    );
    world.store.txn(row).await.unwrap();
    let found = problems(&world.registry).await;
    assert_eq!(
        found,
        [format!("000000000000/us-east-1/app:lost points at {}, which is not there", Digest::of(b"nowhere"))]
    );
}
