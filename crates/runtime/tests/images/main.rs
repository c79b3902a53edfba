//! Images pulled from a registry that misbehaves on request, and mounted as a container would see them.
#![allow(clippy::unwrap_used)]

mod faults;
mod layer;
mod lazy;
mod registry;
mod rootfs;

use std::{path::Path, sync::Arc, time::Duration};

use gantry_runtime::image::{
    Image, ImageError, ImageOptions, Images, LocalImages, NoProgress, Password, PullProgress, RegistryAccess, Retry,
    Rootfs, mount_rootfs,
};
use serde_json::json;

use self::{
    layer::Layer,
    registry::{Registry, digest},
};

/// An image directory that lives as long as the test.
struct Host {
    directory: tempfile::TempDir,
    images: Arc<LocalImages>,
}

fn options() -> ImageOptions {
    let retry = Retry {
        attempts: 4,
        first_pause: Duration::from_millis(1),
        pause_max: Duration::from_millis(5),
        idle_timeout: Duration::from_secs(20),
    };
    // Every layer as an image, where the kernel mounts such.
    ImageOptions { retry, erofs_blob_bytes_min: 0, ..ImageOptions::default() }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Else nobody could delete the directory.
        LocalImages::unmount_all(&self.directory.path().join("images")).unwrap();
    }
}

impl Host {
    fn new() -> Self {
        Self::with(options())
    }

    fn with(options: ImageOptions) -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test needs root");
        let directory = tempfile::tempdir().unwrap();
        let images = Arc::new(LocalImages::open(directory.path().join("images"), options).unwrap());
        Self { directory, images }
    }

    fn reopen(&mut self) {
        self.images = Arc::new(LocalImages::open(self.directory.path().join("images"), options()).unwrap());
    }

    async fn pull(&self, reference: &str) -> Result<Image, ImageError> {
        self.images.pull(reference, &RegistryAccess::default(), Arc::new(NoProgress)).await
    }

    async fn rootfs(&self, id: &str, image: &Image) -> Rootfs {
        self.images.prepare_rootfs(id, image).await.unwrap()
    }

    fn entries(&self, directory: &str) -> usize {
        std::fs::read_dir(self.directory.path().join("images").join(directory)).unwrap().count()
    }
}

/// The example program `shim`, beside this test.
fn shim_program() -> std::path::PathBuf {
    if let Ok(program) = std::env::var("GANTRY_SHIM") {
        return program.into();
    }
    let program = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("examples/shim");
    assert!(program.exists(), "{} is missing: build it with `cargo build --example shim`", program.display());
    program
}

/// Mounts `rootfs` where only a thread of ours sees it and hands its path to `check`.
fn mounted<T: Send>(rootfs: &Rootfs, check: impl FnOnce(&Path) -> T + Send) -> T {
    std::thread::scope(|scope| {
        let checker = scope.spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
            let private = rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
            rustix::mount::mount_change("/", private).unwrap();
            mount_rootfs(rootfs).unwrap();
            check(&rootfs.mount_point)
        });
        checker.join().unwrap()
    })
}

#[tokio::test]
async fn an_image_is_pulled_and_described() {
    let (registry, host) = (Registry::start().await, Host::new());
    let layers = [
        Layer::default().directory("./", 0o755).file("a", "1").gzip(),
        Layer::default().file("b", "2").zstd(),
        Layer::default().file("c", "3").plain(),
    ];
    let run = json!({"Env": ["A=1"], "Cmd": ["/a"], "User": "app", "WorkingDir": "/w", "StopSignal": "SIGINT"});
    let manifest = registry.image("v1", &layers, run);
    let reference = registry.reference("team/app:v1");

    assert_eq!(host.images.resolve(&reference, &RegistryAccess::default()).await.unwrap(), manifest);
    assert_eq!(host.images.cached(&reference).await, None);
    let image = host.pull(&reference).await.unwrap();
    assert_eq!(image.digest, manifest);
    assert_eq!(image.layers, layers.iter().map(|(_, tar)| digest(tar)).collect::<Vec<_>>());
    assert_eq!((image.config.env.as_slice(), image.config.user.as_str()), (&["A=1".to_owned()][..], "app"));
    assert_eq!(host.images.cached(&reference).await.as_ref(), Some(&image));
    assert_eq!(host.entries("tmp"), 0);

    registry.state().requests.clear();
    assert_eq!(host.pull(&reference).await.unwrap(), image);
    assert_eq!(registry.state().requests, ["HEAD /v2/team/app/manifests/v1"]);
    let by_digest = registry.reference(&format!("team/app@{manifest}"));
    assert_eq!(host.pull(&by_digest).await.unwrap(), image);
    registry.state().requests.clear();
    assert_eq!(host.pull(&by_digest).await.unwrap(), image);
    assert!(registry.state().requests.is_empty(), "a digest that is here needs no registry");
}

#[tokio::test]
async fn a_moved_tag_is_pulled_anew_and_shared_layers_are_not() {
    let (registry, mut host) = (Registry::start().await, Host::new());
    let base = Layer::default().file("base", "x").gzip();
    let first = registry.image("latest", &[base.clone(), Layer::default().file("a", "1").gzip()], json!({}));
    let image = host.pull(&registry.reference("app")).await.unwrap();
    assert_eq!(image.digest, first);

    let second = registry.image("latest", &[base.clone(), Layer::default().file("a", "2").gzip()], json!({}));
    host.reopen();
    let image = host.pull(&registry.reference("app")).await.unwrap();
    assert_eq!(image.digest, second);
    assert_eq!(registry.count(&format!("GET /v2/app/blobs/{}", digest(&base.0))), 1);
}

#[tokio::test]
async fn an_index_leads_to_the_manifest_for_this_host() {
    let (registry, host) = (Registry::start().await, Host::new());
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let right = registry.image("right", &[Layer::default().file("a", "1").gzip()], json!({"User": "right"}));
    let wrong = registry.image("wrong", &[Layer::default().file("a", "2").gzip()], json!({"User": "wrong"}));
    let entry = |digest: &str, os: &str, architecture: &str| json!({"digest": digest, "size": 1, "platform": {"os": os, "architecture": architecture}});
    let entries =
        [entry(&wrong, "unknown", "unknown"), entry(&wrong, "linux", "mips"), entry(&right, "linux", architecture)];
    let inner = registry.manifest("inner", &json!({"schemaVersion": 2, "manifests": entries}));
    let outer =
        registry.manifest("outer", &json!({"schemaVersion": 2, "manifests": [entry(&inner, "linux", architecture)]}));
    let image = host.pull(&registry.reference("app:outer")).await.unwrap();
    assert_eq!((image.digest, image.config.user.as_str()), (outer, "right"));

    registry.manifest("other", &json!({"schemaVersion": 2, "manifests": entries[..2]}));
    let error = host.pull(&registry.reference("app:other")).await.unwrap_err();
    assert!(matches!(error, ImageError::NoPlatform { architecture: given, .. } if given == architecture));
}

#[tokio::test]
async fn tokens_and_passwords_open_a_registry() {
    let (registry, host) = (Registry::start().await, Host::new());
    registry.image("v1", &[Layer::default().file("a", "1").gzip()], json!({}));
    let reference = registry.reference("team/app:v1");
    let access = |password: &str| RegistryAccess {
        base_url: Some(format!("http://{}/", registry.address)),
        basic: Some(("AWS".to_owned(), Password(password.to_owned()))),
        prepared: false,
    };
    let basic = "Basic QVdTOnRva2Vu".to_owned();
    let pull = async |access: RegistryAccess| host.images.pull(&reference, &access, Arc::new(NoProgress)).await;

    registry.state().guard = Some(("Basic realm=\"test\",service=\"ecr\"".to_owned(), basic.clone()));
    let error = pull(RegistryAccess::default()).await.unwrap_err();
    assert!(matches!(error, ImageError::Denied { .. }), "{error:?}");
    assert!(matches!(pull(access("wrong")).await, Err(ImageError::Denied { detail, .. }) if detail.contains("401")));

    let realm = format!("Bearer realm=\"http://{}/token\",service=\"test\"", registry.address);
    registry.state().guard = Some((realm, "Bearer secret-token".to_owned()));
    registry.state().token_for = Some(basic.clone());
    assert!(matches!(pull(access("wrong")).await, Err(ImageError::Denied { .. })));
    pull(access("token")).await.unwrap();

    registry.state().guard = Some(("Basic".to_owned(), basic));
    registry.image("v1", &[Layer::default().file("a", "2").gzip()], json!({}));
    pull(access("token")).await.unwrap();
    assert!(!format!("{:?}", access("token")).contains("token"), "passwords stay out of logs");
}

#[tokio::test]
async fn equal_pulls_at_the_same_time_share_their_downloads() {
    struct Count(std::sync::atomic::AtomicU64);
    impl PullProgress for Count {
        fn blob(&self, _: &str, done: u64, total: u64) {
            assert!(done <= total);
            self.0.fetch_max(done, std::sync::atomic::Ordering::Relaxed);
        }
    }
    let (registry, host) = (Registry::start().await, Host::new());
    let layers: Vec<_> =
        (0..6).map(|n| Layer::default().file(&format!("f{n}"), &"x".repeat(100_000)).plain()).collect();
    registry.image("v1", &layers, json!({}));
    let reference = registry.reference("app:v1");
    let progress = Arc::new(Count(0.into()));
    let pulls = (0..20).map(|_| {
        let (images, reference, progress) = (host.images.clone(), reference.clone(), progress.clone());
        tokio::spawn(async move { images.pull(&reference, &RegistryAccess::default(), progress).await.unwrap() })
    });
    let images = futures_util::future::try_join_all(pulls).await.unwrap();
    assert!(images.iter().all(|image| image == &images[0]));
    for (blob, _) in &layers {
        assert_eq!(registry.count(&format!("GET /v2/app/blobs/{}", digest(blob))), 1);
    }
    assert!(progress.0.load(std::sync::atomic::Ordering::Relaxed) > 100_000);
}
