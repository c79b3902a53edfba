//! `kill -9` in the middle of pushes: what was acknowledged is there, byte for byte, and nothing is half there.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gantry_registry::digest::Digest;
use gantry_registry::name::Reference;
use gantry_registry::{Registry, RegistryConfig, http as v2, system_clock};
use gantry_store::{Embedded, EmbeddedOptions};
use reqwest::Client;

use crate::harness::{ACCOUNT, REGION, keys, manifest};
use crate::server::client;

const DIRECTORY: &str = "GANTRY_REGISTRY_CRASH_TEST_DIRECTORY";
/// Set for a process whose collector never rests and for which everything is past its grace.
const EAGER: &str = "GANTRY_REGISTRY_CRASH_TEST_EAGER";

/// Not a test of its own: the process that the test below starts and kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registry_process() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let directory = std::path::PathBuf::from(directory);
    let store = Embedded::open(directory.join("store"), EmbeddedOptions::default()).await.unwrap();
    let eager = std::env::var(EAGER).is_ok();
    let mut config = RegistryConfig::default();
    if eager {
        config.grace = Duration::ZERO;
    }
    let registry = Registry::open(&directory.join("registry"), store, system_clock(), config);
    let registry = registry.unwrap().into_shared();
    if eager {
        let registry = Arc::clone(&registry);
        tokio::spawn(async move {
            loop {
                registry.collect().await.unwrap();
            }
        });
    }
    let _ = registry.repository_create(&keys("app"), &Default::default()).await;
    let (password, _) = registry.issue_password(&gantry_api::Caller::root(ACCOUNT, REGION));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    eprintln!("serving {} {password}", listener.local_addr().unwrap());
    axum::serve(listener, v2::router(registry)).await.unwrap();
}

struct Process {
    child: Child,
    endpoint: String,
    password: String,
    client: Client,
}

impl Process {
    fn start(directory: &std::path::Path) -> Self {
        Self::start_with(directory, false)
    }

    fn start_with(directory: &std::path::Path, eager: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["crash::registry_process", "--exact", "--nocapture"]).env(DIRECTORY, directory);
        if eager {
            command.env(EAGER, "1");
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let line = lines.find(|line| line.starts_with("serving ")).expect("the registry starts");
        std::thread::spawn(move || lines.for_each(drop));
        let (address, password) = line["serving ".len()..].split_once(' ').unwrap();
        Self { child, endpoint: format!("http://{address}/v2/app"), password: password.to_owned(), client: client() }
    }

    fn request(&self, method: reqwest::Method, url: String) -> reqwest::RequestBuilder {
        self.client.request(method, url).basic_auth("AWS", Some(&self.password))
    }

    /// Pushes a blob; nothing when the process died before it said yes.
    async fn push_blob(&self, bytes: Vec<u8>) -> Option<Digest> {
        let digest = Digest::of(&bytes);
        let started = self.request(reqwest::Method::POST, format!("{}/blobs/uploads/", self.endpoint));
        let started = started.send().await.ok()?;
        let location = started.url().join(started.headers()["location"].to_str().unwrap()).unwrap();
        let done =
            self.request(reqwest::Method::PUT, format!("{location}?digest={digest}")).body(bytes).send().await.ok()?;
        assert_eq!(done.status(), 201);
        Some(digest)
    }

    async fn push_image(&self, layer: Vec<u8>, tag: &str) -> Option<String> {
        let (size, config) = (layer.len(), format!("{{\"tag\":\"{tag}\"}}"));
        let layer = self.push_blob(layer).await?;
        let config_digest = self.push_blob(config.clone().into_bytes()).await?;
        let text = manifest(&config_digest, config.len(), &layer, size).to_string();
        let put = self.request(reqwest::Method::PUT, format!("{}/manifests/{tag}", self.endpoint));
        let done = put.body(text.clone()).send().await.ok()?;
        assert_eq!(done.status(), 201);
        Some(text)
    }

    async fn get(&self, rest: &str) -> (u16, Vec<u8>) {
        let answer = self.request(reqwest::Method::GET, format!("{}/{rest}", self.endpoint)).send().await.unwrap();
        (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
    }
}

/// What one client knows: tags that must be there, tags that must not, and of the others nothing.
#[derive(Default)]
struct Known {
    there: BTreeMap<String, String>,
    gone: BTreeSet<String>,
    /// Requests that were answered.
    answered: usize,
}

/// Pushes and deletes until the process dies.
async fn push_and_delete(process: &Process, client: usize, known: &Mutex<Known>) -> Option<()> {
    for number in 0.. {
        // A few tags over and over, layers that others have too.
        let tag = format!("c{client}-{}", number % 5);
        let layer = layer_of(&format!("layer {}", (number * 7 + client) % 6), [40, 5_000, 400_000][number % 3]);
        if number % 4 == 3 {
            let text = {
                let mut known = known.lock().unwrap();
                known.gone.remove(&tag);
                known.there.remove(&tag)
            };
            let Some(text) = text else { continue };
            let digest = Digest::of(text.as_bytes());
            let url = format!("{}/manifests/{digest}", process.endpoint);
            let deleted = process.request(reqwest::Method::DELETE, url).send().await.ok()?;
            assert_eq!(deleted.status(), 202);
            let mut known = known.lock().unwrap();
            known.gone.insert(tag);
            known.answered += 1;
            continue;
        }
        let config = format!("{{\"client\":{client},\"n\":{number}}}");
        let (layer_size, layer) = (layer.len(), process.push_blob(layer).await?);
        let config_digest = process.push_blob(config.clone().into_bytes()).await?;
        let text = manifest(&config_digest, config.len(), &layer, layer_size).to_string();
        {
            let mut known = known.lock().unwrap();
            known.there.remove(&tag);
            known.gone.remove(&tag);
        }
        let put = process.request(reqwest::Method::PUT, format!("{}/manifests/{tag}", process.endpoint));
        let answer = put.body(text.clone()).send().await.ok()?;
        known.lock().unwrap().answered += 1;
        match answer.status().as_u16() {
            201 => drop(known.lock().unwrap().there.insert(tag, text)),
            // The collector was faster than the manifest.
            400 => {}
            other => panic!("push: {other}"),
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_beside_the_collector_and_deletions_leaves_a_whole_registry() {
    let directory = tempfile::tempdir().unwrap();
    let known: Vec<Arc<Mutex<Known>>> = (0..3).map(|_| Arc::default()).collect();
    for round in 0..6_usize {
        let process = Arc::new(Process::start_with(directory.path(), true));
        let clients: Vec<_> = known
            .iter()
            .enumerate()
            .map(|(client, known)| {
                let (process, known) = (Arc::clone(&process), Arc::clone(known));
                tokio::spawn(async move { push_and_delete(&process, client, &known).await })
            })
            .collect();
        // Killed at a moment that differs from round to round.
        let answered = || known.iter().map(|known| known.lock().unwrap().answered).sum::<usize>();
        let enough = answered() + 10 + round * 7;
        while answered() < enough {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let pid = process.child.id().to_string();
        assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
        for client in clients {
            client.await.unwrap();
        }
        drop(process);

        let store = Embedded::open(directory.path().join("store"), EmbeddedOptions::default()).await.unwrap();
        let folder = directory.path().join("registry");
        let registry = Registry::open(&folder, store.clone(), system_clock(), RegistryConfig::default()).unwrap();
        assert_eq!(crate::storm::problems(&registry).await, Vec::<String>::new(), "round {round}");
        for known in &known {
            let there = known.lock().unwrap().there.clone();
            for (tag, text) in there {
                let reference = Reference::Tag(tag.parse().unwrap());
                let image = registry.image_find(&keys("app"), &reference).await.unwrap();
                let image = image.unwrap_or_else(|| panic!("round {round}: {tag} was acknowledged"));
                let bytes = registry.manifest_bytes(&image).await.unwrap();
                assert_eq!(bytes, text.as_bytes(), "round {round}: {tag}");
            }
        }
        let gone: Vec<String> = known.iter().flat_map(|known| known.lock().unwrap().gone.clone()).collect();
        for tag in gone {
            let reference = Reference::Tag(tag.parse().unwrap());
            assert!(registry.image_find(&keys("app"), &reference).await.unwrap().is_none(), "round {round}: {tag}");
        }
        drop(registry);
        store.close().await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Content that can be made again from its tag.
fn layer_of(tag: &str, size: usize) -> Vec<u8> {
    tag.bytes().cycle().take(size).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let acknowledged: Arc<Mutex<BTreeMap<String, (String, usize)>>> = Arc::default();
    for round in 0..6_usize {
        let process = Arc::new(Process::start(directory.path()));
        let pushers: Vec<_> = (0..4_usize)
            .map(|pusher| {
                let (process, acknowledged) = (Arc::clone(&process), Arc::clone(&acknowledged));
                tokio::spawn(async move {
                    for number in 0.. {
                        let tag = format!("r{round}-p{pusher}-n{number}");
                        let size = [40, 5_000, 300_000, 3_000_000][(pusher + number) % 4] + number;
                        let Some(text) = process.push_image(layer_of(&tag, size), &tag).await else { return };
                        acknowledged.lock().unwrap().insert(tag, (text, size));
                    }
                })
            })
            .collect();
        // Killed after some pushes were acknowledged, at a moment that differs from round to round.
        let before = acknowledged.lock().unwrap().len();
        while acknowledged.lock().unwrap().len() < before + 3 + round * 4 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let pid = process.child.id().to_string();
        assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
        for pusher in pushers {
            pusher.await.unwrap();
        }
        drop(process);

        let process = Process::start(directory.path());
        let (_, tags) = process.get("tags/list").await;
        let tags: serde_json::Value = serde_json::from_slice(&tags).unwrap();
        let listed: Vec<&str> = tags["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
        let known = acknowledged.lock().unwrap().clone();
        for (tag, (text, _)) in &known {
            assert!(listed.contains(&tag.as_str()), "{tag} was acknowledged");
            assert_eq!(process.get(&format!("manifests/{tag}")).await, (200, text.clone().into_bytes()));
        }
        // Also a tag that was not acknowledged any more is whole, if it is there.
        for tag in listed {
            let (status, text) = process.get(&format!("manifests/{tag}")).await;
            assert_eq!(status, 200);
            let manifest: serde_json::Value = serde_json::from_slice(&text).unwrap();
            for descriptor in [&manifest["config"], &manifest["layers"][0]] {
                let digest = descriptor["digest"].as_str().unwrap();
                let (status, bytes) = process.get(&format!("blobs/{digest}")).await;
                assert_eq!((status, Digest::of(&bytes).as_str()), (200, digest), "{tag}");
            }
        }
    }
}
