//! Real clients against a real port.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use gantry_registry::digest::Digest;
use gantry_registry::metadata::RepositoryRow;
use gantry_registry::mutability::Mutability;
use gantry_registry::push::{ImageConfig, Progress, PushError, Pushed, Source, push};
use serde_json::{Value, json};

use crate::server::{Server, client, run, try_run};

/// A small root file system with one of everything a layer can hold.
fn rootfs(directory: &Path) -> PathBuf {
    let root = directory.join("rootfs");
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::create_dir_all(root.join("tmp")).unwrap();
    std::fs::set_permissions(root.join("tmp"), std::fs::Permissions::from_mode(0o1777)).unwrap();
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    std::fs::hard_link(root.join("bin/busybox"), root.join("bin/cat")).unwrap();
    symlink("busybox", root.join("bin/sh")).unwrap();
    std::fs::write(root.join("hello"), "hello from a layer\n").unwrap();
    let long = root.join("d".repeat(120)).join("e".repeat(120));
    std::fs::create_dir_all(&long).unwrap();
    std::fs::write(long.join("ü"), "long name").unwrap();
    root
}

fn config() -> ImageConfig {
    ImageConfig { cmd: vec!["/bin/cat".to_owned(), "/hello".to_owned()], ..ImageConfig::default() }
}

async fn push_path(server: &Server, path: &Path, tag: &str, image: Option<&str>) -> Result<Pushed, PushError> {
    let source = Source::detect(path, config(), image.map(str::to_owned))?;
    push(&client(), &server.target("app", tag), source, Arc::new(|_| {})).await
}

async fn skopeo(server: &Server, arguments: &[&str]) -> String {
    let credentials = server.credentials();
    let mut all = vec!["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"];
    all.extend(["--dest-creds", &credentials, "--src-creds", &credentials]);
    all.extend(arguments);
    run("skopeo", &all).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_becomes_an_image_that_others_can_read() {
    let server = Server::start().await;
    let directory = tempfile::tempdir().unwrap();
    let root = rootfs(directory.path());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let report = Arc::new({
        let seen = Arc::clone(&seen);
        move |progress| seen.lock().unwrap().push(progress)
    });
    let source = Source::detect(&root, config(), None).unwrap();
    let pushed = push(&client(), &server.target("app", "v1"), source.clone(), report).await.unwrap();
    assert_eq!((pushed.blobs_sent, pushed.blobs_present), (2, 0));
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let sent = seen.iter().map(|progress| if let Progress::Sent { bytes, .. } = progress { *bytes } else { 0 });
    assert_eq!(sent.sum::<u64>(), pushed.bytes_sent);
    assert!(matches!(seen[0], Progress::Prepared { blobs: 2, bytes } if bytes == pushed.bytes_sent));

    let again = push(&client(), &server.target("app", "v2"), source, Arc::new(|_| {})).await.unwrap();
    assert_eq!((again.digest, again.blobs_sent, again.blobs_present), (pushed.digest, 0, 2));

    let layout = directory.path().join("layout");
    let from = format!("docker://{}/app:v1", server.address);
    skopeo(&server, &[&from, &format!("oci:{}:v1", layout.display())]).await;
    let read = |digest: &Value| {
        let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
        std::fs::read(layout.join("blobs/sha256").join(hex)).unwrap()
    };
    let index: Value = serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    let manifest: Value = serde_json::from_slice(&read(&index["manifests"][0]["digest"])).unwrap();
    let config: Value = serde_json::from_slice(&read(&manifest["config"]["digest"])).unwrap();
    assert_eq!(config["config"], json!({"Cmd": ["/bin/cat", "/hello"]}));

    let unpacked = directory.path().join("unpacked");
    std::fs::create_dir(&unpacked).unwrap();
    let layer = directory.path().join("layer");
    std::fs::write(&layer, read(&manifest["layers"][0]["digest"])).unwrap();
    run("tar", &["-xf", layer.to_str().unwrap(), "-C", unpacked.to_str().unwrap()]).await;
    run("diff", &["-r", "--no-dereference", root.to_str().unwrap(), unpacked.to_str().unwrap()]).await;
    let inode = |name: &str| std::fs::metadata(unpacked.join(name)).unwrap().ino();
    assert_eq!(inode("bin/busybox"), inode("bin/cat"));
    assert_eq!(std::fs::metadata(unpacked.join("tmp")).unwrap().permissions().mode() & 0o7777, 0o1777);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archives_of_every_kind_are_pushed() {
    let server = Server::start().await;
    let directory = tempfile::tempdir().unwrap();
    push_path(&server, &rootfs(directory.path()), "v1", None).await.unwrap();
    let from = format!("docker://{}/app:v1", server.address);
    let path = |name: &str| directory.path().join(name);
    skopeo(&server, &[&from, &format!("oci:{}:one", path("layout").display())]).await;
    skopeo(&server, &[&from, &format!("oci-archive:{}:one", path("oci.tar").display())]).await;
    skopeo(&server, &[&from, &format!("docker-archive:{}:one:latest", path("docker.tar").display())]).await;
    run("gzip", &["-k", path("docker.tar").to_str().unwrap()]).await;
    for name in ["layout", "oci.tar", "docker.tar", "docker.tar.gz"] {
        let target = Server::start().await;
        let pushed = push_path(&target, &path(name), "copied", None).await.unwrap();
        assert_eq!(pushed.blobs_sent, 2, "{name}");
        let inspect = format!("docker://{}/app:copied", target.address);
        let (credentials, tls) = (target.credentials(), "--tls-verify=false");
        let text = run("skopeo", &["inspect", tls, "--config", "--creds", &credentials, &inspect]).await;
        let config: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(config["config"]["Cmd"], json!(["/bin/cat", "/hello"]), "{name}");
    }
    let several = path("layout");
    skopeo(&server, &[&from, &format!("oci:{}:two", several.display())]).await;
    let unclear = push_path(&server, &several, "x", None).await.unwrap_err();
    assert!(matches!(unclear, PushError::ChooseImage { images, .. } if images == ["one", "two"]));
    push_path(&server, &several, "x", Some("two")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_pushed_says_why() {
    let server = Server::start().await;
    let directory = tempfile::tempdir().unwrap();
    let root = rootfs(directory.path());
    let text = directory.path().join("text");
    std::fs::write(&text, "not an image").unwrap();
    assert!(matches!(push_path(&server, &text, "x", None).await, Err(PushError::NotAnImage { .. })));
    assert!(matches!(
        push_path(&server, &directory.path().join("absent"), "x", None).await,
        Err(PushError::Read { .. })
    ));
    let source = || Source::detect(&root, config(), None).unwrap();
    let missing = push(&client(), &server.target("missing", "x"), source(), Arc::new(|_| {})).await.unwrap_err();
    let message = "The repository with name 'missing' does not exist in the registry with id '000000000000'";
    assert!(matches!(&missing, PushError::RepositoryNotFound { .. }), "{missing:?}");
    assert_eq!(missing.to_string(), message);
    let mut target = server.target("app", "x");
    target.password = "wrong".to_owned();
    let refused = push(&client(), &target, source(), Arc::new(|_| {})).await.unwrap_err();
    assert!(matches!(refused, PushError::Refused { status: 401, .. }), "{refused:?}");
    target.endpoint = "http://127.0.0.1:1".to_owned();
    let unreachable = push(&client(), &target, source(), Arc::new(|_| {})).await.unwrap_err();
    assert!(matches!(unreachable, PushError::Unreachable { .. }));
    // A layout whose blob was changed is refused by the registry, and nothing is left behind.
    push_path(&server, &root, "v1", None).await.unwrap();
    let layout = directory.path().join("layout");
    skopeo(&server, &[&format!("docker://{}/app:v1", server.address), &format!("oci:{}:v1", layout.display())]).await;
    for blob in std::fs::read_dir(layout.join("blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if bytes.len() > 100_000 {
            bytes[50_000] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
    let other = Server::start().await;
    let refused = push_path(&other, &layout, "v1", None).await.unwrap_err();
    assert!(matches!(refused, PushError::Refused { status: 400, .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skopeo_pushes_copies_lists_and_deletes() {
    let server = Server::start().await;
    server.world.repository("team/other").await;
    let row = RepositoryRow { mutability: Mutability::Immutable, ..RepositoryRow::default() };
    server.world.repository_with("fixed", row).await;
    let directory = tempfile::tempdir().unwrap();
    push_path(&server, &rootfs(directory.path()), "v1", None).await.unwrap();
    let at = |name: &str| format!("docker://{}/{name}", server.address);
    let credentials = server.credentials();
    for format in ["oci", "v2s2"] {
        skopeo(&server, &["--format", format, &at("app:v1"), &at(&format!("team/other:{format}"))]).await;
    }
    let common = ["--tls-verify=false", "--creds", credentials.as_str()];
    let list = |name: &str| {
        [&["list-tags"], common.as_slice()]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .chain([at(name)])
            .collect::<Vec<_>>()
    };
    let arguments = list("team/other");
    let tags: Value =
        serde_json::from_str(&run("skopeo", &arguments.iter().map(String::as_str).collect::<Vec<_>>()).await).unwrap();
    assert_eq!(tags["Tags"], json!(["oci", "v2s2"]));

    skopeo(&server, &[&at("app:v1"), &at("fixed:v1")]).await;
    skopeo(&server, &[&at("app:v1"), &at("fixed:v1")]).await;
    let (ok, _, stderr) = try_run(
        "skopeo",
        &[
            "copy",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            "--src-creds",
            &credentials,
            "--dest-creds",
            &credentials,
            "--format",
            "v2s2",
            &at("app:v1"),
            &at("fixed:v1"),
        ],
    )
    .await;
    assert!(!ok);
    assert!(stderr.contains("cannot be overwritten because the tag is immutable"), "{stderr}");

    let target = at("team/other:oci");
    run("skopeo", &[&["delete"], common.as_slice(), &[target.as_str()]].concat()).await;
    let (ok, _, stderr) = try_run("skopeo", &[&["inspect"], common.as_slice(), &[target.as_str()]].concat()).await;
    assert!(!ok);
    assert!(stderr.contains("manifest unknown"), "{stderr}");
    let (ok, _, stderr) =
        try_run("skopeo", &["inspect", "--tls-verify=false", "--creds", "AWS:wrong", &at("app:v1")]).await;
    assert!(!ok);
    assert!(stderr.contains("unauthorized"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skopeo_copies_a_list_with_all_its_images() {
    let server = Server::start().await;
    server.world.repository("copy").await;
    let directory = tempfile::tempdir().unwrap();
    let root = rootfs(directory.path());
    push_path(&server, &root, "amd64", None).await.unwrap();
    std::fs::write(root.join("hello"), "another\n").unwrap();
    push_path(&server, &root, "arm64", None).await.unwrap();
    let mut entries = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let answer = server.world.get(&format!("/v2/app/manifests/{architecture}")).await;
        let digest = Digest::of(&answer.body);
        entries.push(json!({"mediaType": crate::harness::OCI_MANIFEST, "digest": digest, "size": answer.body.len(),
            "platform": {"architecture": architecture, "os": "linux"}}));
    }
    let index = json!({"schemaVersion": 2, "mediaType": crate::harness::OCI_INDEX, "manifests": entries}).to_string();
    assert_eq!(server.world.put_manifest("app", "multi", &index).await.status, 201);
    let at = |name: &str| format!("docker://{}/{name}", server.address);
    skopeo(&server, &["--all", "--preserve-digests", &at("app:multi"), &at("copy:multi")]).await;
    assert_eq!(server.world.get("/v2/copy/manifests/multi").await.body, index.as_bytes());
    // And through a layout, pushed by us.
    let layout = directory.path().join("layout");
    skopeo(&server, &["--all", "--preserve-digests", &at("app:multi"), &format!("oci:{}:multi", layout.display())])
        .await;
    let other = Server::start().await;
    push_path(&other, &layout, "multi", None).await.unwrap();
    assert_eq!(other.world.get("/v2/app/manifests/multi").await.body, index.as_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn podman_pulls_and_pushes() {
    let server = Server::start().await;
    let directory = tempfile::tempdir().unwrap();
    push_path(&server, &rootfs(directory.path()), "v1", None).await.unwrap();
    let (root, state) = (directory.path().join("root"), directory.path().join("state"));
    let credentials = server.credentials();
    let storage = ["--root", root.to_str().unwrap(), "--runroot", state.to_str().unwrap(), "--storage-driver", "vfs"];
    let access = ["--quiet", "--tls-verify=false", "--creds", &credentials];
    let image = |tag: &str| format!("{}/app:{tag}", server.address);
    run("podman", &[&storage[..], &["pull"], &access, &[&image("v1")]].concat()).await;
    run("podman", &[&storage[..], &["push"], &access, &[&image("v1"), &image("v2")]].concat()).await;
    let text = run("podman", &[&storage[..], &["image", "inspect", &image("v1")]].concat()).await;
    let inspected: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(inspected[0]["Config"]["Cmd"], json!(["/bin/cat", "/hello"]));
    run("podman", &[&storage[..], &["rmi", "--all"]].concat()).await;
    run("podman", &[&storage[..], &["pull"], &access, &[&image("v2")]].concat()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containerd_pulls_and_pushes() {
    let server = Server::start().await;
    server.world.repository("copy").await;
    let directory = tempfile::tempdir().unwrap();
    push_path(&server, &rootfs(directory.path()), "v1", None).await.unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let file = format!(
        "version = 2\nroot = \"{}\"\nstate = \"{}\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\", \
         \"io.containerd.internal.v1.opt\"]\n[grpc]\naddress = \"{}\"\n",
        path("root"),
        path("state"),
        path("socket")
    );
    std::fs::write(path("config.toml"), file).unwrap();
    let mut containerd = tokio::process::Command::new("containerd");
    containerd.args(["--config", &path("config.toml")]).stdin(Stdio::null()).stdout(Stdio::null());
    let log = std::fs::File::create(path("log")).unwrap();
    let mut containerd = containerd.stderr(log).kill_on_drop(true).spawn().expect("containerd is needed for this test");
    let socket = path("socket");
    // `ctr` waits for the socket to answer, as long as this allows.
    let ctr = ["--address", socket.as_str(), "--connect-timeout", "20s"];
    let credentials = server.credentials();
    let access = ["--plain-http", "--user", &credentials];
    let image = |name: &str| format!("{}/{name}", server.address);
    while !Path::new(&socket).exists() {
        if let Some(status) = containerd.try_wait().unwrap() {
            panic!("containerd ended ({status}): {}", std::fs::read_to_string(path("log")).unwrap());
        }
        tokio::task::yield_now().await;
    }
    run("ctr", &[&ctr[..], &["images", "pull", "--snapshotter", "native"], &access, &[&image("app:v1")]].concat())
        .await;
    run("ctr", &[&ctr[..], &["images", "push"], &access, &[&image("copy:v1"), &image("app:v1")]].concat()).await;
    let original = server.world.get("/v2/app/manifests/v1").await.body;
    assert_eq!(server.world.get("/v2/copy/manifests/v1").await.body, original);
}
