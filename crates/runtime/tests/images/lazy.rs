//! Layers that are mounted before they are here: from a registry that holds back, changes and refuses what it is told
//! to, and with processes that are killed.

use std::{
    fs, io,
    io::Read,
    ops::Range,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use gantry_layers::{
    Limits,
    prepared::{PreparedImage, PreparedLayer, chunks::Chunks, pack},
};
use gantry_runtime::image::{
    Image, ImageOptions, Images, LazyOptions, LocalImages, NoProgress, Password, RegistryAccess,
};
use serde_json::json;

use super::{Layer, Registry, digest, mounted, options};

const FILES: [&str; 4] = ["a", "b", "c", "d"];
const FILE_BYTES: usize = 1 << 20;

/// A host that starts layers early, and an image of four files of two chunks each.
struct World {
    registry: Registry,
    directory: tempfile::TempDir,
    images: Arc<LocalImages>,
    reference: String,
    diff_id: String,
    blob: String,
    chunks: Chunks,
    cgroup: String,
    access: RegistryAccess,
}

/// What a file has in it; too long to be printed.
#[derive(PartialEq)]
struct Content(String);

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes, {:?} …", self.0.len(), self.0.get(..20))
    }
}

/// Does not compress.
fn content(name: &str) -> Content {
    let mut state = u32::from(name.as_bytes()[0]);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b' ' + (state >> 24) as u8 % 90)
    };
    Content((0..FILE_BYTES).map(|_| next()).collect())
}

impl World {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut LazyOptions)) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        assert!(rustix::process::geteuid().is_root(), "this test needs root");
        let registry = Registry::start().await;
        let layer = FILES.iter().fold(Layer::default(), |layer, name| layer.file(name, &content(name).0));
        let (tar, _) = layer.plain();
        let manifest = registry.image("v1", &[(tar.clone(), tar.clone())], json!({}));
        let (prepared, packed) = prepare(&tar);
        let place = prepared.chunks.clone().unwrap();
        let table = &packed[place.at as usize..(place.at + place.size) as usize];
        let chunks = Chunks::read(table, &place, prepared.image_size).unwrap();
        let blob = registry.blob(packed);
        let document = PreparedImage { layers: vec![prepared] };
        registry.state().prepared.insert(manifest, serde_json::to_vec(&document).unwrap().into());

        let directory = tempfile::tempdir().unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let cgroup = format!("gantry-lazy-{}-{number}", std::process::id());
        let mut lazy = LazyOptions::new(super::shim_program(), cgroup.clone());
        lazy.blob_bytes_min = 0;
        change(&mut lazy);
        let options = ImageOptions { lazy: Some(lazy), ..options() };
        let images = Arc::new(LocalImages::open(directory.path().join("images"), options).unwrap());
        let reference = registry.reference("app:v1");
        let access = RegistryAccess { prepared: true, ..RegistryAccess::default() };
        Self { registry, directory, images, reference, diff_id: digest(&tar), blob, chunks, cgroup, access }
    }

    async fn pull(&self) -> Image {
        self.images.pull(&self.reference, &self.access, Arc::new(NoProgress)).await.unwrap()
    }

    fn layer(&self) -> PathBuf {
        self.directory.path().join("images/layers").join(self.diff_id.split_once(':').unwrap().1)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.layer().join("fs").join(name)
    }

    /// Reads a file of the layer, on a thread: it may wait.
    fn read(&self, name: &str) -> tokio::task::JoinHandle<io::Result<Content>> {
        let path = self.file(name);
        tokio::task::spawn_blocking(move || fs::read_to_string(path).map(Content))
    }

    async fn read_right(&self, name: &str) {
        assert_eq!(self.read(name).await.unwrap().unwrap(), content(name), "{name}");
    }

    /// Where the frames are that have file contents and nothing else, those of `name` left out.
    fn frames_without(&self, name: &str) -> Vec<Range<u64>> {
        let at = FILES.iter().position(|file| *file == name).unwrap() as u64;
        // Contents begin behind the superblock's block, one after the other.
        let begin = 4096 + at * FILE_BYTES as u64;
        let kept = self.chunks.covering(begin..begin + FILE_BYTES as u64);
        let last = self.chunks.count() - 1;
        (1..last).filter(|index| !kept.contains(index)).map(|index| self.chunks.frame(index)).collect()
    }

    fn is_unfinished(&self) -> bool {
        self.layer().join("lazy.json").exists()
    }

    async fn whole(&self) {
        until(|| !self.is_unfinished()).await;
    }

    /// Requests for parts of the packed image.
    fn parts(&self) -> Vec<String> {
        let prefix = format!("GET /v2/app/blobs/{} bytes=", self.blob);
        self.registry.state().requests.iter().filter_map(|r| r.strip_prefix(&*prefix).map(str::to_owned)).collect()
    }

    /// Processes of the given role that serve this host's layers.
    fn processes(&self, role: &str) -> Vec<i32> {
        let images = self.directory.path().join("images").to_string_lossy().into_owned();
        let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(|pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            words.get(2) == Some(&role.as_bytes())
                && words.get(3).is_some_and(|word| word.starts_with(images.as_bytes()))
        })
        .collect()
    }

    /// Whether nobody serves the layer any more. A process lets go of its locks after its name has gone.
    fn is_left(&self) -> bool {
        ["image.erofs", "present"].iter().all(|name| {
            let file = fs::File::open(self.layer().join(name)).unwrap();
            rustix::fs::flock(file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok()
        })
    }

    fn kill(&self, role: &str) {
        let pids = self.processes(role);
        assert_eq!(pids.len(), 1, "{role}");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pids[0]), nix::sys::signal::Signal::SIGKILL).unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.registry.state().held.clear();
        LocalImages::unmount_all(&self.directory.path().join("images")).unwrap();
        if std::thread::panicking() {
            return;
        }
        // Nobody uses them any more, so they end by themselves.
        while ["layer", "layer-worker"].iter().any(|role| !self.processes(role).is_empty()) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().map(|hierarchy| hierarchy.unwrap().path());
        for hierarchy in hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]) {
            let _ = fs::remove_dir(hierarchy.join(&self.cgroup).join("shims"));
            let _ = fs::remove_dir(hierarchy.join(&self.cgroup));
        }
    }
}

async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn prepare(tar: &[u8]) -> (PreparedLayer, Vec<u8>) {
    let mut image = tempfile::tempfile().unwrap();
    let limits = Limits { bytes_max: 1 << 30, entries_max: 1000 };
    let layer = gantry_layers::erofs::write(tar, image.try_clone().unwrap(), &digest(tar), limits).unwrap();
    let image_size = image.metadata().unwrap().len();
    let mut packed = Vec::new();
    io::Seek::rewind(&mut image).unwrap();
    let place = pack(&mut image, &mut |frame| {
        packed.extend(frame);
        Ok(())
    })
    .unwrap();
    let (blob, size) = (digest(&packed), packed.len() as u64);
    (PreparedLayer { diff_id: digest(tar), blob, size, image_size, chunks: Some(place), layer }, packed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_can_be_read_before_it_is_here_and_is_an_ordinary_one_later() {
    let world = World::new().await;
    world.registry.state().held = world.frames_without("c");
    let image = world.pull().await;
    let rootfs = world.images.prepare_rootfs("early", &image).await.unwrap();
    let seen = tokio::task::spawn_blocking(move || {
        mounted(&rootfs, |root| {
            (Content(fs::read_to_string(root.join("c")).unwrap()), fs::read_dir(root).unwrap().count())
        })
    });
    let (c, entries) = seen.await.unwrap();
    assert_eq!(c, content("c"));
    assert_eq!(entries, FILES.len());
    assert_eq!(world.images.unfinished().await, std::slice::from_ref(&world.reference));
    assert!(world.is_unfinished() && !world.layer().join("synced").exists());

    let waiting = world.read("a");
    world.registry.state().held.clear();
    assert_eq!(waiting.await.unwrap().unwrap(), content("a"));
    world.whole().await;
    assert!(world.images.unfinished().await.is_empty());
    assert!(world.layer().join("synced").exists());
    // What was mounted on the unfinished file is mounted on the whole one, and nobody has to serve it.
    until(|| world.processes("layer").is_empty()).await;
    for name in FILES {
        world.read_right(name).await;
    }
    let rootfs = world.images.prepare_rootfs("late", &image).await.unwrap();
    let seen = tokio::task::spawn_blocking(move || {
        mounted(&rootfs, |root| Content(fs::read_to_string(root.join("d")).unwrap()))
    });
    assert_eq!(seen.await.unwrap(), content("d"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_began_early_goes_on_when_the_image_is_whole() {
    let world = World::new().await;
    world.registry.state().held = world.frames_without("c");
    world.pull().await;
    // An open file keeps the first mount, as a container's overlay does.
    let mut open = fs::File::open(world.file("a")).unwrap();
    world.registry.state().held.clear();
    world.whole().await;
    until(|| world.processes("layer-worker").is_empty()).await;
    assert_eq!(world.processes("layer").len(), 1, "somebody has to answer it");
    let read = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        open.read_to_string(&mut text).map(|_| Content(text))
    });
    assert_eq!(read.await.unwrap().unwrap(), content("a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_chunk_is_refused_and_fetched_again_when_somebody_asks() {
    let world = World::new().await;
    let frames = world.frames_without("c");
    // Half of `a`.
    world.registry.state().changed = vec![frames[0].clone()];
    world.pull().await;
    let error = world.read("a").await.unwrap().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO), "{error}");
    for name in ["b", "c", "d"] {
        world.read_right(name).await;
    }
    world.registry.state().changed.clear();
    world.read_right("a").await;
    world.whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_table_or_no_parts_at_all_means_fetching_all_of_it() {
    let world = World::new().await;
    let end = world.chunks.frame(world.chunks.count() - 1).end;
    world.registry.state().changed = std::iter::once(end..u64::MAX).collect();
    world.pull().await;
    assert!(!world.is_unfinished());
    world.read_right("a").await;

    let world = World::new().await;
    world.registry.state().ignore_ranges = true;
    world.pull().await;
    assert!(!world.is_unfinished());
    world.read_right("d").await;
    assert!(world.processes("layer").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_end_early_are_asked_for_again() {
    let world = World::new().await;
    world.registry.state().held = world.frames_without("c");
    world.pull().await;
    world.registry.state().short = 3;
    world.registry.state().held.clear();
    for name in FILES {
        world.read_right(name).await;
    }
    world.whole().await;
    assert_eq!(world.registry.state().short, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_without_a_registry_waits_then_fails_and_works_when_it_is_back() {
    let world = World::with(|lazy| lazy.wait = Duration::from_millis(300)).await;
    world.registry.state().held = world.frames_without("c");
    world.pull().await;
    world.read_right("c").await;
    world.registry.state().down = Some(503);
    world.registry.state().held.clear();
    let error = world.read("a").await.unwrap().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO), "{error}");
    world.read_right("c").await;
    world.registry.state().down = None;
    world.whole().await;
    for name in FILES {
        world.read_right(name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_is_replaced_and_whoever_reads_does_not_notice() {
    let world = World::new().await;
    world.registry.state().held = world.frames_without("c");
    world.pull().await;
    let asked = world.parts().len();
    let waiting = world.read("a");
    until(|| world.parts().len() > asked).await;
    for _ in 0..2 {
        let asked = world.parts().len();
        // What a killed one had asked for may arrive before its successor is there.
        until(|| world.processes("layer-worker").len() == 1).await;
        world.kill("layer-worker");
        // The next one was asked for the same by the kernel, and asks the registry.
        until(|| world.parts().len() > asked).await;
    }
    assert!(!waiting.is_finished());
    world.registry.state().held.clear();
    assert_eq!(waiting.await.unwrap().unwrap(), content("a"));
    world.whole().await;
    for name in FILES {
        world.read_right(name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_fetched_is_used_when_all_its_processes_were_killed() {
    let world = World::new().await;
    world.registry.state().held = world.frames_without("c");
    let image = world.pull().await;
    world.read_right("c").await;
    world.kill("layer");
    world.kill("layer-worker");
    until(|| world.is_left()).await;
    let before = world.parts().len();
    world.registry.state().held.clear();
    world.images.prepare_rootfs("again", &image).await.unwrap();
    world.whole().await;
    for name in FILES {
        world.read_right(name).await;
    }
    let first = world.chunks.frame(0);
    let again = format!("{}-", first.start);
    assert!(!world.parts()[before..].iter().any(|part| part.starts_with(&again)), "the first chunk was here");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_ended_are_replaced_without_the_readers_noticing() {
    let mut world = World::new().await;
    let basic = |text: &str| Some(("Basic realm=\"test\"".to_owned(), text.to_owned()));
    let access = |password: &str| RegistryAccess {
        basic: Some(("AWS".to_owned(), Password(password.to_owned()))),
        prepared: true,
        ..RegistryAccess::default()
    };
    world.registry.state().guard = basic("Basic QVdTOm9uZQ==");
    world.registry.state().held = world.frames_without("c");
    world.access = access("one");
    world.pull().await;
    world.registry.state().guard = basic("Basic QVdTOnR3bw==");
    // What was let in already is refused, too.
    world.registry.state().down = Some(401);
    world.registry.state().held.clear();
    let asked = world.parts().len();
    let waiting = world.read("a");
    until(|| world.parts().len() > asked + 3).await;
    assert!(!waiting.is_finished());
    world.registry.state().down = None;
    world.images.renew(&world.reference, &access("two")).await;
    assert_eq!(waiting.await.unwrap().unwrap(), content("a"));
    world.whole().await;
    // Not in any file.
    let search = Command::new("grep").args(["-rl", "-e", "QVdTOnR3bw", "-e", "\"two\""]).arg(world.layer()).output();
    assert_eq!(String::from_utf8(search.unwrap().stdout).unwrap(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_waits_for_a_chunk_can_be_killed() {
    let world = World::new().await;
    world.registry.state().held = world.frames_without("c");
    world.pull().await;
    let asked = world.parts().len();
    let mut reader = Command::new("cat").arg(world.file("a")).stdout(Stdio::null()).spawn().unwrap();
    until(|| world.parts().len() > asked).await;
    reader.kill().unwrap();
    let ended = tokio::task::spawn_blocking(move || reader.wait().unwrap()).await.unwrap();
    assert!(!ended.success());
    world.registry.state().held.clear();
    world.read_right("a").await;
}

/// A reader of a file that does not come, and would be waited for for an hour.
async fn held_reader() -> (World, tokio::task::JoinHandle<io::Result<Content>>) {
    let world = World::with(|lazy| lazy.wait = Duration::from_secs(3600)).await;
    world.registry.state().held = world.frames_without("c");
    world.pull().await;
    let asked = world.parts().len();
    let reader = world.read("a");
    until(|| world.parts().len() > asked).await;
    (world, reader)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_will_want_any_more_is_waited_for_by_nobody() {
    let (world, reader) = held_reader().await;
    LocalImages::unmount_all(&world.directory.path().join("images")).unwrap();
    reader.await.unwrap().unwrap_err();
    until(|| world.is_left()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_was_deleted_while_its_worker_is_replaced_is_let_go() {
    let (world, reader) = held_reader().await;
    rustix::mount::unmount(world.layer().join("fs"), rustix::mount::UnmountFlags::DETACH).unwrap();
    fs::remove_dir_all(world.layer()).unwrap();
    world.kill("layer-worker");
    reader.await.unwrap().unwrap_err();
}
