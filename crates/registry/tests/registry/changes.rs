//! The outbox of image changes: every acknowledged change is told, in order, also after a crash; and the history of
//! tags, which is written in the same transactions.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use gantry_api::event::{Event, EventSink};
use gantry_registry::Registry;
use gantry_registry::changes::{ChangeHandler, ChangeKind, ImageChange};
use gantry_registry::digest::Digest;
use gantry_registry::fault::RegistryError;
use gantry_registry::history::ENTRIES_PER_TAG_MAX;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::harness::{World, index, keys};
use crate::interleaved::Interleaved;

/// Sends what it is told, but refuses the first `refusals` changes of the repository `refused`.
struct Recorder {
    told: mpsc::UnboundedSender<ImageChange>,
    refused: &'static str,
    refusals: Arc<Mutex<usize>>,
}

#[async_trait]
impl ChangeHandler for Recorder {
    fn name(&self) -> &'static str {
        "recorder"
    }

    async fn handle(&self, _: &Registry, change: &ImageChange) -> Result<(), RegistryError> {
        if change.repository.name().as_str() == self.refused {
            let mut refusals = self.refusals.lock();
            if *refusals > 0 {
                *refusals -= 1;
                return Err(RegistryError::TooManyRequests);
            }
        }
        let _ = self.told.send(change.clone());
        Ok(())
    }
}

struct Worker {
    told: mpsc::UnboundedReceiver<ImageChange>,
    task: tokio::task::JoinHandle<()>,
}

impl Worker {
    fn start(world: &World, refused: &'static str, refusals: usize) -> Self {
        Self::start_beside(world, refused, refusals, Vec::new())
    }

    /// With other handlers before it.
    fn start_beside(
        world: &World,
        refused: &'static str,
        refusals: usize,
        mut handlers: Vec<Box<dyn ChangeHandler>>,
    ) -> Self {
        let (sender, told) = mpsc::unbounded_channel();
        handlers.push(Box::new(Recorder { told: sender, refused, refusals: Arc::new(Mutex::new(refusals)) }));
        let task = tokio::spawn(Arc::clone(&world.registry).deliver_changes_to(handlers));
        Self { told, task }
    }

    async fn next(&mut self) -> ImageChange {
        tokio::time::timeout(std::time::Duration::from_secs(60), self.told.recv()).await.expect("in time").unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// `push DIGEST tags` or `delete DIGEST tags`, with an exclamation mark when the image came or went.
fn text(change: &ImageChange) -> String {
    let tags = |tags: &[gantry_registry::name::Tag]| tags.iter().map(|tag| format!(" {tag}")).collect::<String>();
    match &change.kind {
        ChangeKind::Pushed { image, tags: set, new } => {
            format!("push{} {}{}", if *new { "!" } else { "" }, image.digest, tags(set))
        }
        ChangeKind::Deleted { image, tags: removed, gone } => {
            format!("delete{} {}{}", if *gone { "!" } else { "" }, image.digest, tags(removed))
        }
        ChangeKind::StorageClass { image, archived, .. } => format!("archived {archived} {}", image.digest),
        ChangeKind::RepositoryDeleted => "repository deleted".to_owned(),
    }
}

async fn outbox_is_empty(world: &World) {
    let mut watch = world.store.watch("/ecr/changes/", world.store.revision() + 1);
    while !world.store.range("/ecr/changes/", 1).await.unwrap().kvs.is_empty() {
        watch.next_or_progress().await.unwrap();
    }
}

#[tokio::test]
async fn every_change_is_told_once_in_order_and_then_forgotten() {
    let world = World::new().await;
    let mut worker = Worker::start(&world, "", 0);
    let one = world.push_image("app", "v1", "1").await;
    let two = world.push_image("app", "v1", "2").await;
    // Says nothing: it changes nothing.
    world.push_image("app", "v1", "2").await;
    world.push_image("app", "v2", "2").await;
    assert_eq!(world.delete("/v2/app/manifests/v2").await.status, 202);
    assert_eq!(world.delete(&format!("/v2/app/manifests/{two}")).await.status, 202);
    world.registry.repository_delete(&keys("app"), true, &Default::default()).await.unwrap();
    let expected = [
        format!("push! {one} v1"),
        format!("push! {two} v1"),
        format!("push {two} v2"),
        format!("delete {two} v2"),
        format!("delete! {two} v1"),
        "repository deleted".to_owned(),
    ];
    for expected in expected {
        let change = worker.next().await;
        assert_eq!(text(&change), expected);
        assert_eq!(change.repository, keys("app"));
    }
    outbox_is_empty(&world).await;
}

#[tokio::test]
async fn what_nobody_took_before_a_restart_is_told_after_it() {
    let world = World::new().await;
    let digests = [world.push_image("app", "v1", "1").await, world.push_image("app", "v2", "2").await];
    let world = world.restart();
    let mut worker = Worker::start(&world, "", 0);
    for digest in digests {
        assert!(text(&worker.next().await).contains(digest.as_str()));
    }
    outbox_is_empty(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_fails_holds_up_its_repository_alone_and_loses_nothing() {
    let world = World::new().await;
    world.repository("stuck").await;
    let mut worker = Worker::start(&world, "stuck", 5);
    let stuck = [world.push_image("stuck", "v1", "1").await, world.push_image("stuck", "v2", "2").await];
    let free = world.push_image("app", "v1", "3").await;
    assert!(text(&worker.next().await).contains(free.as_str()), "the other repository does not wait");
    for digest in stuck {
        assert!(text(&worker.next().await).contains(digest.as_str()));
    }
    outbox_is_empty(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_fails_holds_up_no_other_handler() {
    let world = World::new().await;
    let (sender, mut late) = mpsc::unbounded_channel();
    let refusals = Arc::new(Mutex::new(usize::MAX));
    let failing = Recorder { told: sender, refused: "app", refusals: refusals.clone() };
    let mut worker = Worker::start_beside(&world, "", 0, vec![Box::new(failing)]);
    let (one, two) = (world.image("app", "1").await, world.image("app", "2").await);
    // More changes than are read, or forgotten, at once wait for the one, and the other has seen them all.
    const CHANGES: usize = 1100;
    for number in 0..CHANGES {
        world.put_manifest("app", "v1", if number % 2 == 0 { &one } else { &two }).await;
    }
    for _ in 0..CHANGES {
        worker.next().await;
    }
    assert!(late.try_recv().is_err(), "it refuses everything");
    *refusals.lock() = 0;
    let mut revision = 0;
    for _ in 0..CHANGES {
        let change = late.recv().await.unwrap();
        assert!(change.revision > revision, "in order, and none is lost");
        revision = change.revision;
    }
    outbox_is_empty(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_refused_for_a_day_is_given_up() {
    let mut world = World::new().await;
    let mut worker = Worker::start(&world, "app", usize::MAX);
    world.push_image("app", "v1", "1").await;
    world.repository("other").await;
    world.advance_hours(25);
    world.log_in();
    world.push_image("other", "v1", "2").await;
    worker.next().await;
    outbox_is_empty(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_many_at_once_come_in_an_order_that_leads_to_what_is_there() {
    for seed in 0..5 {
        let world = World::with_store(Interleaved::store(seed)).await;
        let images =
            join_all((0..40).map(|number| world.image("app", Box::leak(number.to_string().into_boxed_str())))).await;
        let mut worker = Worker::start(&world, "", 0);
        let tag = |number: usize| format!("t{}", number % 5);
        let pushes = images.iter().enumerate().map(async |(number, image)| {
            assert_eq!(world.put_manifest("app", &tag(number), image).await.status, 201);
            if number % 7 == 0 {
                world.delete(&format!("/v2/app/manifests/{}", tag(number))).await;
            }
        });
        join_all(pushes).await;
        outbox_is_empty(&world).await;
        let (mut pointers, mut revision) = (BTreeMap::new(), 0);
        while let Ok(change) = worker.told.try_recv() {
            assert!(change.revision > revision, "in the order of transactions");
            revision = change.revision;
            match change.kind {
                ChangeKind::Pushed { image, tags, .. } => {
                    pointers.extend(tags.into_iter().map(|tag| (tag, image.digest.clone())));
                }
                ChangeKind::Deleted { tags, .. } => pointers.retain(|tag, _| !tags.contains(tag)),
                ChangeKind::StorageClass { .. } | ChangeKind::RepositoryDeleted => {}
            }
        }
        for number in 0..5 {
            let found = world.get(&format!("/v2/app/manifests/{}", tag(number))).await;
            let told = pointers.get(&tag(number).parse().unwrap()).map_or("", Digest::as_str);
            assert_eq!(found.header("docker-content-digest"), told, "{} with seed {seed}", tag(number));
        }
    }
}

#[derive(Default)]
struct Events(Mutex<Vec<Event>>);

impl EventSink for Events {
    fn emit(&self, event: Event) {
        self.0.lock().push(event);
    }
}

#[tokio::test]
async fn events_tell_of_pushes_and_deletions() {
    let world = World::new().await;
    let sink = Arc::new(Events::default());
    let world = world.with_events(sink.clone());
    let digest = world.push_image("app", "v1", "1").await;
    world.delete(&format!("/v2/app/manifests/{digest}")).await;
    let worker = tokio::spawn(Arc::clone(&world.registry).deliver_changes());
    outbox_is_empty(&world).await;
    worker.abort();
    let events = sink.0.lock();
    let told: Vec<(&str, &str, &str)> = events
        .iter()
        .map(|event| {
            let text = |name: &str| event.detail[name].as_str().unwrap();
            (event.detail_type.as_str(), text("action-type"), text("image-tag"))
        })
        .collect();
    assert_eq!(told, [("ECR Image Action", "PUSH", "v1"), ("ECR Image Action", "DELETE", "v1")]);
    assert_eq!(events[0].detail["image-digest"], digest.as_str());
    assert_eq!((events[0].source.as_str(), events[0].region.as_str()), ("aws.ecr", "us-east-1"));
}

#[tokio::test]
async fn the_history_of_a_tag_outlives_it_and_is_bounded() {
    let world = World::new().await;
    let history = async || {
        let (entries, more) = world.registry.tag_history(&keys("app"), None, None, 1000).await.unwrap();
        assert_eq!(more, None);
        entries.into_iter().map(|entry| (entry.tag.to_string(), entry.number, entry.row.digest)).collect::<Vec<_>>()
    };
    let one = world.push_image("app", "v1", "1").await;
    let two = world.push_image("app", "v1", "2").await;
    world.delete("/v2/app/manifests/v1").await;
    world.push_image("app", "v1", "1").await;
    let v1 = |number, digest: Option<&Digest>| ("v1".to_owned(), number, digest.cloned());
    let expected = vec![v1(1, Some(&one)), v1(2, Some(&two)), v1(3, None), v1(4, Some(&one))];
    assert_eq!(history().await, expected);

    let (a, b) = (world.image("app", "1").await, world.image("app", "2").await);
    for _ in 0..60 {
        world.put_manifest("app", "v1", &b).await;
        world.put_manifest("app", "v1", &a).await;
    }
    let entries = history().await;
    assert_eq!(entries.len() as u64, ENTRIES_PER_TAG_MAX);
    assert_eq!((entries[0].1, entries.last().unwrap().1), (25, 124));
}

#[tokio::test]
async fn an_image_with_more_tags_than_a_transaction_takes_is_deleted_with_all_of_them() {
    let world = World::new().await;
    let image = world.image("app", "1").await;
    for number in 0..250 {
        assert_eq!(world.put_manifest("app", &format!("t{number}"), &image).await.status, 201);
    }
    let child = Digest::of(image.as_bytes());
    let list = index(&[(&child, image.len())]);
    world.put_manifest("app", "list", &list).await;
    assert_eq!(world.delete(&format!("/v2/app/manifests/{child}")).await.status, 403, "the list needs it");
    assert_eq!(world.get("/v2/app/manifests/t7").await.status, 200, "and it keeps its tags");
    world.delete(&format!("/v2/app/manifests/{}", Digest::of(list.as_bytes()))).await;
    let deleted = world.registry.image_delete(&keys("app"), &child, &Default::default()).await.unwrap().unwrap();
    assert_eq!(deleted.tags.len(), 250);
    assert_eq!(world.get("/v2/app/tags/list").await.json()["tags"], serde_json::json!([]));
}
