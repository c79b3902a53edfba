//! Scans, from a push or a call to their findings; with and without advisories; of hostile images; across restarts.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gantry_api::event::{Event, EventSink};
use gantry_registry::digest::Digest;
use gantry_scan::database;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::ecr::{call, refusal};
use crate::harness::{ACCOUNT, World, index, manifest};

const NO_DATABASE: &str = "There is no advisory database. Load one with 'gantry scan-db import'.";

struct Sink(mpsc::UnboundedSender<Event>);

impl EventSink for Sink {
    fn emit(&self, event: Event) {
        let _ = self.0.send(event);
    }
}

/// A registry that scans, and what it tells.
struct Scanner {
    world: World,
    events: mpsc::UnboundedReceiver<Event>,
    _tasks: JoinSet<()>,
}

impl Scanner {
    fn start(world: &World) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let world = world.with_events(Arc::new(Sink(sender)));
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&world.registry).deliver_changes());
        tasks.spawn(Arc::clone(&world.registry).scan_images());
        Self { world, events, _tasks: tasks }
    }

    async fn new() -> Self {
        Self::start(&World::new().await)
    }

    /// The next event about a scan.
    async fn scanned(&mut self) -> Value {
        loop {
            let event = tokio::time::timeout(std::time::Duration::from_secs(60), self.events.recv());
            let event = event.await.expect("in time").unwrap();
            if event.detail_type == "ECR Image Scan" {
                return event.detail;
            }
        }
    }

    /// Until handlers have seen every change so far.
    async fn changes_are_told(&self) {
        let changes = || self.world.store.range(gantry_store::KeyRange::prefix("/ecr/changes/"), 1);
        while !changes().await.unwrap().kvs.is_empty() {
            tokio::task::yield_now().await;
        }
    }

    fn import(&self, sources: &[PathBuf]) {
        import(self.world.directory.path(), sources);
    }

    async fn findings(&self, digest: &Digest) -> Value {
        let input = json!({"repositoryName": "app", "imageId": {"imageDigest": digest}});
        call(&self.world, "DescribeImageScanFindings", input).await
    }

    async fn start_scan(&self, digest: &Digest) -> Value {
        let input = json!({"repositoryName": "app", "imageId": {"imageDigest": digest}});
        call(&self.world, "StartImageScan", input).await
    }
}

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/advisories")
}

fn import(directory: &Path, sources: &[PathBuf]) {
    database::import(&directory.join("scan-db"), sources, 1_700_000_000_000, &mut |_| {}).unwrap();
}

fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    gzip(&tar.into_inner().unwrap())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

const DEBIAN: (&str, &str) = ("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n");

fn dpkg(packages: &[(&str, &str)]) -> String {
    let paragraph = |(name, version): &(&str, &str)| {
        format!("Package: {name}\nStatus: install ok installed\nVersion: {version}\n\n")
    };
    packages.iter().map(paragraph).collect()
}

async fn push(world: &World, tag: &str, layer: &[u8]) -> Digest {
    let config = format!("{{\"tag\":\"{tag}\"}}");
    let config_digest = world.push_blob("app", config.as_bytes()).await;
    let layer_digest = world.push_blob("app", layer).await;
    let manifest = manifest(&config_digest, config.len(), &layer_digest, layer.len()).to_string();
    assert_eq!(world.put_manifest("app", tag, &manifest).await.status, 201);
    Digest::of(manifest.as_bytes())
}

async fn push_debian(world: &World, tag: &str) -> Digest {
    let status = dpkg(&[("openssl", "3.0.11-1~deb12u1"), ("zlib", "1:1.2.13.dfsg-1"), ("bash", "5.2")]);
    push(world, tag, &layer(&[DEBIAN, ("var/lib/dpkg/status", &status)])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_that_is_asked_for_ends_with_findings() {
    let mut scanner = Scanner::new().await;
    scanner.import(&[samples()]);
    let digest = push_debian(&scanner.world, "1").await;
    let never = refusal(
        &scanner.world,
        "DescribeImageScanFindings",
        json!({"repositoryName": "app", "imageId": {"imageTag": "1"}}),
    );
    let text = "Image scan does not exist for the image with '{imageDigest:'null', imageTag:'1'}' in the repository \
        with name 'app' in the registry with id '000000000000'";
    assert_eq!(never.await, ("ScanNotFoundException".to_owned(), text.to_owned()));

    let started = scanner.start_scan(&digest).await;
    assert_eq!(started["imageScanStatus"], json!({"status": "IN_PROGRESS"}));
    assert_eq!(started["imageId"]["imageDigest"], json!(digest));
    let told = scanner.scanned().await;
    assert_eq!(told["scan-status"], "COMPLETE");
    assert_eq!(told["finding-severity-counts"], json!({"CRITICAL": 1, "HIGH": 1, "LOW": 1}));
    assert_eq!((&told["image-tags"], &told["image-digest"]), (&json!(["1"]), &json!(digest)));

    let found = scanner.findings(&digest).await;
    let status = json!({"status": "COMPLETE", "description": "The scan was completed successfully."});
    assert_eq!(found["imageScanStatus"], status);
    let findings = &found["imageScanFindings"];
    assert_eq!(findings["findingSeverityCounts"], told["finding-severity-counts"]);
    assert_eq!(findings["vulnerabilitySourceUpdatedAt"], 1_700_000_000.0);
    assert!(findings["imageScanCompletedAt"].is_f64() && findings.get("enhancedFindings").is_none());
    let expected = json!({
        "name": "CVE-2026-90001",
        "description": "A certificate with a wrong name is accepted",
        "uri": "https://advisories.example/GANTRY-2026-0001",
        "severity": "CRITICAL",
        "attributes": [
            {"key": "package_version", "value": "3.0.11-1~deb12u1"},
            {"key": "package_name", "value": "openssl"},
            {"key": "CVSS3_VECTOR", "value": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"},
            {"key": "CVSS3_SCORE", "value": "9.8"},
            {"key": "fixed_in_version", "value": "3.0.13-1~deb12u1"},
        ],
    });
    assert_eq!(findings["findings"][0], expected);

    let details = call(&scanner.world, "DescribeImages", json!({"repositoryName": "app"})).await;
    let detail = &details["imageDetails"][0];
    assert_eq!(detail["imageScanStatus"], status);
    assert_eq!(detail["imageScanFindingsSummary"]["findingSeverityCounts"], told["finding-severity-counts"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_nobody_reads_that_there_are_no_findings() {
    let mut scanner = Scanner::new().await;
    let digest = push_debian(&scanner.world, "1").await;
    scanner.start_scan(&digest).await;
    assert_eq!(scanner.scanned().await["scan-status"], "FAILED");
    let found = scanner.findings(&digest).await;
    assert_eq!(found["imageScanStatus"], json!({"status": "FINDINGS_UNAVAILABLE", "description": NO_DATABASE}));
    assert!(found.get("imageScanFindings").is_none());
    let details = call(&scanner.world, "DescribeImages", json!({"repositoryName": "app"})).await;
    assert!(details["imageDetails"][0]["imageScanFindingsSummary"].get("findingSeverityCounts").is_none());

    // A database that knows other distributions only does not acquit the image either.
    scanner.import(&[samples().join("GANTRY-2026-0009.json")]);
    let unavailable = async {
        loop {
            let found = scanner.findings(&digest).await;
            if found["imageScanStatus"]["description"] != NO_DATABASE {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    let found = unavailable.await;
    let text = "The advisory database has nothing on Debian:12.";
    assert_eq!(found["imageScanStatus"], json!({"status": "FINDINGS_UNAVAILABLE", "description": text}));

    // And one that knows it is compared without reading the layers again: they are gone.
    std::fs::remove_dir_all(scanner.world.directory.path().join("blobs")).unwrap();
    scanner.import(&[samples()]);
    assert_eq!(scanner.scanned().await["scan-status"], "COMPLETE");
    assert_eq!(scanner.findings(&digest).await["imageScanFindings"]["findings"].as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_scanned_when_they_come() {
    let mut scanner = Scanner::new().await;
    scanner.import(&[samples()]);
    let before = push_debian(&scanner.world, "before").await;
    scanner.changes_are_told().await;
    let rules =
        json!([{"scanFrequency": "SCAN_ON_PUSH", "repositoryFilters": [{"filter": "ap*", "filterType": "WILDCARD"}]}]);
    call(&scanner.world, "PutRegistryScanningConfiguration", json!({"scanType": "BASIC", "rules": rules})).await;
    let digest = push_debian(&scanner.world, "after").await;
    assert_eq!(scanner.scanned().await["image-digest"], json!(digest));
    assert_eq!(scanner.findings(&digest).await["imageScanStatus"]["status"], "COMPLETE");
    let input = json!({"repositoryName": "app", "imageId": {"imageDigest": before}});
    assert_eq!(refusal(&scanner.world, "DescribeImageScanFindings", input).await.0, "ScanNotFoundException");
    // The scan on push counts for the day.
    let input = json!({"repositoryName": "app", "imageId": {"imageDigest": digest}});
    let quota = "The scan quota per image has been exceeded. Wait and try again.".to_owned();
    let refused = refusal(&scanner.world, "StartImageScan", input.clone()).await;
    assert_eq!(refused, ("LimitExceededException".to_owned(), quota));
    scanner.world.advance_hours(24);
    scanner.world.log_in();
    scanner.start_scan(&digest).await;
    assert_eq!(scanner.scanned().await["image-digest"], json!(digest));

    // A list of images is not one; what is not there cannot be scanned.
    let list = index(&[(&digest, call_size(&scanner.world, &digest).await)]);
    assert_eq!(scanner.world.put_manifest("app", "list", &list).await.status, 201);
    let input = json!({"repositoryName": "app", "imageId": {"imageTag": "list"}});
    assert_eq!(refusal(&scanner.world, "StartImageScan", input).await.0, "UnsupportedImageTypeException");
    let input = json!({"repositoryName": "app", "imageId": {"imageTag": "none"}});
    assert_eq!(refusal(&scanner.world, "StartImageScan", input).await.0, "ImageNotFoundException");
}

async fn call_size(world: &World, digest: &Digest) -> usize {
    world.get(&format!("/v2/app/manifests/{digest}")).await.body.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_image_is_not_scanned_and_keeps_its_findings_for_later() {
    let mut scanner = Scanner::new().await;
    scanner.import(&[samples()]);
    let digest = push_debian(&scanner.world, "1").await;
    scanner.start_scan(&digest).await;
    scanner.scanned().await;
    let image = json!({"repositoryName": "app", "imageId": {"imageDigest": digest}});
    let class = |class: &str| {
        let mut input = image.clone();
        input["targetStorageClass"] = json!(class);
        input
    };
    call(&scanner.world, "UpdateImageStorageClass", class("ARCHIVE")).await;
    let refused = refusal(&scanner.world, "StartImageScan", image.clone()).await;
    assert_eq!(refused.0, "ImageArchivedException");
    let found = scanner.findings(&digest).await;
    assert_eq!(found["imageScanStatus"], json!({"status": "IMAGE_ARCHIVED"}));
    assert!(found.get("imageScanFindings").is_none());
    call(&scanner.world, "UpdateImageStorageClass", class("STANDARD")).await;
    assert_eq!(scanner.findings(&digest).await["imageScanStatus"]["status"], "COMPLETE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_image_has_no_scan_any_more() {
    let mut scanner = Scanner::new().await;
    scanner.import(&[samples()]);
    let digest = push_debian(&scanner.world, "1").await;
    scanner.start_scan(&digest).await;
    scanner.scanned().await;
    scanner.world.delete(&format!("/v2/app/manifests/{digest}")).await;
    loop {
        let mut left = Vec::new();
        for prefix in ["/ecr/scans/", "/ecr/findings/", "/ecr/inventories/", "/ecr/scan-queue/"] {
            left.extend(scanner.world.store.range(gantry_store::KeyRange::prefix(prefix), 100).await.unwrap().kvs);
        }
        if left.is_empty() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let again = push_debian(&scanner.world, "1").await;
    assert_eq!(again, digest);
    scanner.start_scan(&digest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_survives_the_end_of_the_process() {
    let world = World::new().await;
    import(world.directory.path(), &[samples()]);
    let digest = push_debian(&world, "1").await;
    // Nobody scans while this is asked for.
    call(&world, "StartImageScan", json!({"repositoryName": "app", "imageId": {"imageDigest": digest}})).await;
    let mut scanner = Scanner::start(&world.restart());
    assert_eq!(scanner.findings(&digest).await["imageScanStatus"]["status"], "IN_PROGRESS");
    assert_eq!(scanner.scanned().await["scan-status"], "COMPLETE");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_images_end_with_a_status_that_says_why() {
    let mut scanner = Scanner::new().await;
    scanner.import(&[samples()]);
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(64 << 20);
    tar.append_data(&mut header, "zeros", std::io::Read::take(std::io::repeat(0), 64 << 20)).unwrap();
    let bomb = gzip(&tar.into_inner().unwrap());
    let garbage = vec![b'x'; 10_000];
    let escape = layer(&[DEBIAN, ("var/lib/rpm/Packages", "garbage")]);
    let other = layer(&[("etc/os-release", "ID=amzn\nVERSION_ID=2023\n")]);
    let good = layer(&[DEBIAN]);
    for (tag, layer, status, description) in [
        ("bomb", &bomb, "IMAGE_SIZE_EXCEEDED", "The image has more than 8388608 bytes of content."),
        ("garbage", &garbage, "FAILED", "A layer cannot be read: a header field is no number."),
        ("cut", &good[..good.len() / 2].to_vec(), "FAILED", "A layer cannot be read: "),
        ("rpm", &escape, "UNSUPPORTED_IMAGE", "UnsupportedImageError: var/lib/rpm/Packages is damaged."),
        (
            "amzn",
            &other,
            "UNSUPPORTED_IMAGE",
            "UnsupportedImageError: The operating system 'amzn 2023' is not supported.",
        ),
    ] {
        let digest = push(&scanner.world, tag, layer).await;
        scanner.start_scan(&digest).await;
        assert_eq!(scanner.scanned().await["scan-status"], "FAILED", "{tag}");
        let found = scanner.findings(&digest).await;
        assert_eq!(found["imageScanStatus"]["status"], status, "{tag}");
        let told = found["imageScanStatus"]["description"].as_str().unwrap();
        assert!(told.starts_with(description), "{tag}: {told}");
        assert!(found.get("imageScanFindings").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_come_in_pages_in_both_shapes() {
    let mut scanner = Scanner::new().await;
    let folder = tempfile::tempdir().unwrap();
    for number in 0..250 {
        let severity = ["LOW", "HIGH", "MODERATE"][number % 3];
        let record = json!({
            "id": format!("CVE-2026-{number:05}"), "database_specific": {"severity": severity},
            "affected": [{"package": {"ecosystem": "PyPI", "name": "flask"}, "versions": ["1.0"]}],
        });
        std::fs::write(folder.path().join(format!("{number}.json")), record.to_string()).unwrap();
    }
    scanner.import(&[folder.path().to_owned()]);
    let digest = push(&scanner.world, "1", &layer(&[("app/requirements.txt", "flask==1.0\n")])).await;
    scanner.start_scan(&digest).await;
    scanner.scanned().await;
    let counts = json!({"HIGH": 83, "LOW": 84, "MEDIUM": 83});
    for (kind, shape, name) in [
        ("BASIC", "findings", "/name"),
        ("ENHANCED", "enhancedFindings", "/packageVulnerabilityDetails/vulnerabilityId"),
    ] {
        call(&scanner.world, "PutRegistryScanningConfiguration", json!({"scanType": kind})).await;
        for size in [1000, 100, 99, 7] {
            let (mut names, mut token, mut last) = (Vec::new(), Value::Null, String::new());
            loop {
                let mut input =
                    json!({"repositoryName": "app", "imageId": {"imageDigest": digest}, "maxResults": size});
                if token.is_string() {
                    input["nextToken"] = token;
                }
                let page = call(&scanner.world, "DescribeImageScanFindings", input).await;
                assert_eq!(page["imageScanFindings"]["findingSeverityCounts"], counts);
                for finding in page["imageScanFindings"][shape].as_array().unwrap() {
                    let order = ["HIGH", "MEDIUM", "LOW"].iter().position(|each| finding["severity"] == *each).unwrap();
                    let name = finding.pointer(name).unwrap().as_str().unwrap().to_owned();
                    let key = format!("{order}{name}");
                    assert!(last < key, "{last} comes before {key}");
                    last = key;
                    names.push(name);
                }
                token = page["nextToken"].clone();
                if token.is_null() {
                    break;
                }
            }
            names.sort();
            names.dedup();
            assert_eq!(names.len(), 250, "{kind} in pages of {size}");
        }
    }
    let input = json!({"repositoryName": "app", "imageId": {"imageDigest": digest}, "nextToken": "00"});
    assert_eq!(refusal(&scanner.world, "DescribeImageScanFindings", input).await.0, "InvalidParameterException");
    let input = json!({"repositoryName": "app", "imageId": {"imageDigest": digest}});
    let refused = refusal(&scanner.world, "StartImageScan", input).await;
    assert_eq!(refused, ("ValidationException".to_owned(), "This feature is disabled".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn configurations_are_kept_and_explained() {
    let scanner = Scanner::new().await;
    let world = &scanner.world;
    let answer = call(world, "GetRegistryScanningConfiguration", json!({})).await;
    assert_eq!(answer, json!({"registryId": ACCOUNT, "scanningConfiguration": {"scanType": "BASIC", "rules": []}}));
    let filter = |filter: &str| json!({"filter": filter, "filterType": "WILDCARD"});
    let rules = json!([
        {"scanFrequency": "CONTINUOUS_SCAN", "repositoryFilters": [filter("app")]},
        {"scanFrequency": "SCAN_ON_PUSH", "repositoryFilters": [filter("*")]},
    ]);
    let refused = refusal(world, "PutRegistryScanningConfiguration", json!({"rules": rules})).await;
    let text = "Invalid parameter at 'rules' failed to satisfy constraint: 'scan frequency CONTINUOUS_SCAN is not \
        supported by scan type BASIC'";
    assert_eq!(refused, ("InvalidParameterException".to_owned(), text.to_owned()));
    let configuration = json!({"scanType": "ENHANCED", "rules": rules});
    let put = call(world, "PutRegistryScanningConfiguration", configuration.clone()).await;
    assert_eq!(put, json!({"registryScanningConfiguration": configuration}));
    world.repository("other").await;
    let names = json!({"repositoryNames": ["app", "other", "none"]});
    let batch = call(world, "BatchGetRepositoryScanningConfiguration", names).await;
    let arn = |name: &str| format!("arn:aws:ecr:us-east-1:{ACCOUNT}:repository/{name}");
    let expected = json!({
        "scanningConfigurations": [
            {"repositoryArn": arn("app"), "repositoryName": "app", "scanOnPush": false,
             "scanFrequency": "CONTINUOUS_SCAN", "appliedScanFilters": [filter("app")]},
            {"repositoryArn": arn("other"), "repositoryName": "other", "scanOnPush": true,
             "scanFrequency": "SCAN_ON_PUSH", "appliedScanFilters": [filter("*")]},
        ],
        "failures": [{"failureCode": "REPOSITORY_NOT_FOUND", "repositoryName": "none", "failureReason":
            format!("The repository with name 'none' does not exist in the registry with id '{ACCOUNT}'")}],
    });
    assert_eq!(batch, expected);
}
