//! Root filesystems as a container sees them, and what becomes of them.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use gantry_runtime::image::{Images, LocalImages};
use serde_json::json;

use super::{Host, Layer, Registry, mounted};

#[tokio::test]
async fn a_mounted_image_shows_its_layers_merged() {
    let (registry, host) = (Registry::start().await, Host::new());
    let capability = b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let layers = [
        Layer::default()
            .directory("./", 0o751)
            .directory("etc", 0o755)
            .file("etc/gone", "x")
            .file("etc/kept", "lower")
            .directory("cache", 0o755)
            .file("cache/old", "x")
            .gzip(),
        Layer::default()
            .file("etc/.wh.gone", "")
            .file("etc/kept", "upper")
            .file("cache/.wh..wh..opq", "")
            .file("cache/new", "y")
            .directory("bin", 0o755)
            .file_of("bin/su", 7, 0o4755)
            .hard_link("bin/same", "bin/su")
            .symlink("bin/link", "/etc/kept")
            .xattr("security.capability", capability)
            .file("bin/ping", "p")
            .null_device("bin/null")
            .zstd(),
    ];
    registry.image("v1", &layers, json!({}));
    let image = host.pull(&registry.reference("app:v1")).await.unwrap();
    let rootfs = host.rootfs("container-1", &image).await;
    mounted(&rootfs, |root| {
        let meta = |path: &str| fs::symlink_metadata(root.join(path)).unwrap();
        assert_eq!(meta("").mode() & 0o7777, 0o751);
        assert!(!root.join("etc/gone").exists());
        assert_eq!(fs::read_to_string(root.join("etc/kept")).unwrap(), "upper");
        let cache: Vec<_> = fs::read_dir(root.join("cache")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(cache, ["new"]);
        assert_eq!((meta("bin/su").mode() & 0o7777, meta("bin/su").uid()), (0o4755, 7));
        assert_eq!(meta("bin/su").ino(), meta("bin/same").ino());
        assert!(meta("bin/null").file_type().is_char_device());
        assert_eq!(fs::read_link(root.join("bin/link")).unwrap().to_str(), Some("/etc/kept"));
        let mut value = [0; 64];
        let length = rustix::fs::lgetxattr(root.join("bin/ping"), "security.capability", &mut value[..]).unwrap();
        assert_eq!(&value[..length], capability);
        fs::write(root.join("written"), "by the container").unwrap();
        fs::remove_file(root.join("etc/kept")).unwrap();
    });
    assert!(rootfs.upper_dir.join("written").exists());
    assert!(!rootfs.mount_point.join("etc").exists(), "nothing stays mounted");
    // A restarted container finds what it wrote; another one does not.
    assert_eq!(host.rootfs("container-1", &image).await, rootfs);
    mounted(&rootfs, |root| assert!(root.join("written").exists() && !root.join("etc/kept").exists()));
    let other = host.rootfs("container-2", &image).await;
    mounted(&other, |root| assert!(!root.join("written").exists() && root.join("etc/kept").exists()));
}

#[tokio::test]
async fn directories_that_a_layer_leaves_out_keep_their_attributes() {
    let (registry, host) = (Registry::start().await, Host::new());
    let layers = [
        Layer::default()
            .directory("tmp", 0o1777)
            .directory("home", 0o755)
            .directory("home/app", 0o700)
            .directory("gone", 0o700)
            .directory("hidden", 0o700)
            .directory("plain", 0o755)
            .plain(),
        Layer::default().file(".wh.gone", "").plain(),
        Layer::default()
            .file("tmp/x", "")
            .file("home/app/deep/file", "")
            .file("gone/again", "")
            .file("hidden/.wh..wh..opq", "")
            .file("hidden/y", "")
            .file("plain/z", "")
            .plain(),
    ];
    registry.image("v1", &layers, json!({}));
    let image = host.pull(&registry.reference("app:v1")).await.unwrap();
    let rootfs = host.rootfs("c", &image).await;
    assert_eq!(rootfs.lower_dirs.len(), 4);
    mounted(&rootfs, |root| {
        let mode = |path: &str| fs::metadata(root.join(path)).unwrap().mode() & 0o7777;
        assert_eq!((mode("tmp"), mode("home"), mode("home/app"), mode("home/app/deep")), (0o1777, 0o755, 0o700, 0o755));
        assert_eq!((mode("gone"), mode("hidden"), mode("plain")), (0o755, 0o755, 0o755));
        assert!(root.join("tmp/x").exists() && root.join("hidden/y").exists());
    });
}

#[tokio::test]
async fn empty_repeated_and_very_many_layers_mount() {
    let (registry, host) = (Registry::start().await, Host::new());
    let empty = Layer::default().gzip();
    let repeated = Layer::default().file("a", "1").gzip();
    registry.image("empty", &[empty.clone(), empty.clone()], json!({}));
    let image = host.pull(&registry.reference("app:empty")).await.unwrap();
    mounted(&host.rootfs("empty", &image).await, |root| assert_eq!(fs::read_dir(root).unwrap().count(), 0));

    let whiteout = Layer::default().file(".wh.a", "").gzip();
    registry.image("again", &[repeated.clone(), whiteout, empty, repeated], json!({}));
    let image = host.pull(&registry.reference("app:again")).await.unwrap();
    mounted(&host.rootfs("again", &image).await, |root| assert!(root.join("a").exists()));

    let many: Vec<_> = (0..126).map(|n| Layer::default().file(&format!("f{n}"), "").plain()).collect();
    registry.image("many", &many, json!({}));
    let image = host.pull(&registry.reference("app:many")).await.unwrap();
    let rootfs = host.rootfs("many", &image).await;
    mounted(&rootfs, |root| assert_eq!(fs::read_dir(root).unwrap().count(), 126));
    mounted(&rootfs, |root| assert!(root.join("f125").exists()));
}

#[tokio::test]
async fn container_ids_cannot_name_other_places() {
    let (registry, host) = (Registry::start().await, Host::new());
    registry.image("v1", &[Layer::default().file("a", "1").plain()], json!({}));
    let image = host.pull(&registry.reference("app:v1")).await.unwrap();
    for id in ["", ".", "..", "../x", "a/b", "a\0b", &"x".repeat(129)] {
        assert!(host.images.prepare_rootfs(id, &image).await.is_err(), "{id:?}");
        assert!(host.images.remove_rootfs(id).await.is_err(), "{id:?}");
    }
    host.images.remove_rootfs("never-made").await.unwrap();
}

#[tokio::test]
async fn garbage_is_what_neither_images_nor_containers_need() {
    let (registry, mut host) = (Registry::start().await, Host::new());
    let base = Layer::default().file("base", &"b".repeat(10_000)).plain();
    registry.image("a", &[base.clone(), Layer::default().file("a", "1").plain()], json!({}));
    registry.image("b", &[base, Layer::default().file("b", &"b".repeat(20_000)).plain()], json!({}));
    let a = host.pull(&registry.reference("app:a")).await.unwrap();
    let b = host.pull(&registry.reference("app:b")).await.unwrap();
    host.rootfs("of-b", &b).await;
    assert_eq!(host.images.collect_garbage(std::slice::from_ref(&a.digest)).await.unwrap(), 0);
    assert!(host.images.cached(&registry.reference("app:b")).await.is_some(), "a container uses it");

    host.images.remove_rootfs("of-b").await.unwrap();
    host.reopen();
    let freed = host.images.collect_garbage(std::slice::from_ref(&a.digest)).await.unwrap();
    assert!((20_000..30_000).contains(&freed), "{freed}");
    assert!(host.images.cached(&registry.reference("app:b")).await.is_none());
    assert!(host.images.cached(&registry.reference("app:a")).await.is_some());
    assert!(host.images.prepare_rootfs("b", &b).await.is_err(), "its layer is gone");
    mounted(&host.rootfs("of-a", &a).await, |root| assert!(root.join("base").exists()));

    host.images.remove_rootfs("of-a").await.unwrap();
    host.images.collect_garbage(&[]).await.unwrap();
    assert_eq!((host.entries("layers"), host.entries("blobs"), host.entries("references")), (0, 0, 0));
}

#[tokio::test]
async fn a_volume_starts_with_what_the_image_has_there() {
    let (registry, host) = (Registry::start().await, Host::new());
    let layers = [
        Layer::default()
            .directory("data", 0o750)
            .file_of("data/owned", 1000, 0o640)
            .file("data/.config", "x")
            .directory("data/sub", 0o700)
            .hard_link("data/sub/same", "data/owned")
            .symlink("data/link", "/etc/passwd")
            .file("file", "")
            .plain(),
        Layer::default().file("data/.wh..config", "").symlink("alias", "/data").symlink("evil", "../../../tmp").plain(),
    ];
    registry.image("v1", &layers, json!({}));
    let image = host.pull(&registry.reference("app:v1")).await.unwrap();
    let volume = |name: &str| {
        let path = host.directory.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    };
    for path in ["/data", "alias", "/data/sub/../../alias"] {
        let target = volume(&path.replace(['/', '.'], "_"));
        host.images.copy_out(&image, path, &target).await.unwrap();
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o7777, 0o750, "{path}");
        let owned = fs::metadata(target.join("owned")).unwrap();
        assert_eq!((owned.uid(), owned.mode() & 0o7777, owned.nlink()), (1000, 0o640, 2));
        assert_eq!(fs::metadata(target.join("sub")).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(fs::read_link(target.join("link")).unwrap().to_str(), Some("/etc/passwd"));
        assert!(!target.join(".config").exists());
    }
    for nothing in ["/nothing", "/file", "/evil"] {
        let target = volume(&nothing.replace('/', "-"));
        host.images.copy_out(&image, nothing, &target).await.unwrap();
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0, "{nothing}");
    }
}

#[tokio::test]
async fn what_a_crash_left_half_done_is_cleared() {
    let mut host = Host::new();
    let images = host.directory.path().join("images");
    fs::create_dir_all(images.join("tmp/half/fs/dir")).unwrap();
    fs::write(images.join("tmp/blob"), "half").unwrap();
    fs::write(images.join("references/x.json"), "{").unwrap();
    host.reopen();
    assert_eq!(host.entries("tmp"), 0);
    host.images.collect_garbage(&[]).await.unwrap();
    assert_eq!(host.entries("references"), 0);
}

/// What is mounted below the image directory.
fn mounts(host: &Host) -> Vec<PathBuf> {
    let images = host.directory.path().join("images");
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    points.filter(|point| point.starts_with(&images)).collect()
}

#[tokio::test]
async fn images_of_layers_are_mounted_once_and_unmounted_when_collected() {
    let (registry, mut host) = (Registry::start().await, Host::new());
    if !host.images.mounts_erofs() {
        return;
    }
    let base = Layer::default().directory("d", 0o750).file("d/base", "b").gzip();
    let top = Layer::default().file("d/.wh.base", "").file("d/top", "t").gzip();
    registry.image("v1", &[base, top], json!({}));
    let image = host.pull(&registry.reference("app:v1")).await.unwrap();
    let check = |root: &Path| {
        assert_eq!(fs::read_to_string(root.join("d/top")).unwrap(), "t");
        assert!(!root.join("d/base").exists());
        fs::write(root.join("d/new"), "n").unwrap();
    };
    mounted(&host.rootfs("a", &image).await, check);
    mounted(&host.rootfs("b", &image).await, check);
    assert_eq!(mounts(&host).len(), 2, "one for each layer");

    // The agent was killed: the next one finds the mounts.
    host.reopen();
    mounted(&host.rootfs("c", &image).await, check);
    assert_eq!(mounts(&host).len(), 2);

    // The host was started again: nothing is mounted. The agent prepares containers as before.
    LocalImages::unmount_all(&host.directory.path().join("images")).unwrap();
    host.reopen();
    assert_eq!(host.images.cached(&registry.reference("app:v1")).await.as_ref(), Some(&image));
    mounted(&host.rootfs("a", &image).await, check);
    assert_eq!(mounts(&host).len(), 2);

    for id in ["a", "b", "c"] {
        host.images.remove_rootfs(id).await.unwrap();
    }
    let freed = host.images.collect_garbage(&[]).await.unwrap();
    assert!(freed > 0);
    assert_eq!((host.entries("layers"), mounts(&host).len()), (0, 0));
}

#[tokio::test]
async fn a_container_keeps_its_layers_when_they_are_unmounted() {
    let (registry, host) = (Registry::start().await, Host::new());
    registry.image("v1", &[Layer::default().file("f", "content").gzip()], json!({}));
    let image = host.pull(&registry.reference("app:v1")).await.unwrap();
    let images = host.directory.path().join("images");
    mounted(&host.rootfs("a", &image).await, |root| {
        // In every namespace, as when the layer is collected.
        std::thread::scope(|scope| scope.spawn(|| LocalImages::unmount_all(&images).unwrap()).join().unwrap());
        assert_eq!(fs::read_to_string(root.join("f")).unwrap(), "content");
    });
}
