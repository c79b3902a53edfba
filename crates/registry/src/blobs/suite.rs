//! What every content store must do, and what the one on local disk must do besides.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;

use super::*;

/// Runs one check on a fresh store of every kind.
async fn on_each<F: Future<Output = ()>>(check: impl Fn(Arc<dyn BlobStore>) -> F) {
    let directory = tempfile::tempdir().unwrap();
    check(Arc::new(LocalBlobs::open(directory.path(), LocalLimits::default()).unwrap())).await;
    let service = S3Service::start().await;
    let directory = tempfile::tempdir().unwrap();
    check(Arc::new(S3Blobs::open(directory.path(), &service.config("some/prefix"), "us").await.unwrap())).await;
}

/// A real S3 server that is not ours: moto's, in a process of its own.
struct S3Service {
    process: std::process::Child,
    endpoint: String,
}

impl S3Service {
    async fn start() -> Self {
        use std::io::BufRead;
        // Fails when another test of this process was first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.venv/bin/moto_server");
        let mut command = std::process::Command::new(server);
        command.args(["-p", "0"]).stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        let started = command.stderr(std::process::Stdio::piped()).spawn();
        let mut process = started.unwrap_or_else(|error| panic!("{server} (see tools/setup) is needed: {error}"));
        let mut lines = std::io::BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let line = lines.find(|line| line.contains("Running on http://")).expect("the S3 server starts");
        let at = line.find("http://").unwrap();
        let endpoint = line[at..].split_whitespace().next().unwrap().to_owned();
        // Its log must be taken from it, or it stops.
        std::thread::spawn(move || lines.for_each(drop));
        let made = reqwest::Client::new().put(format!("{endpoint}/images")).send().await.unwrap();
        assert!(made.status().is_success(), "{made:?}");
        Self { process, endpoint }
    }

    fn config(&self, prefix: &str) -> S3Config {
        S3Config {
            bucket: "images".to_owned(),
            prefix: prefix.to_owned(),
            endpoint: Some(self.endpoint.clone()),
            region: Some("us-east-1".to_owned()),
            credentials: Some(("id".to_owned(), "the-secret".to_owned())),
        }
    }
}

impl Drop for S3Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn s3_large_blobs_go_in_parts_and_uploads_survive_a_restart() {
    let (service, directory) = (S3Service::start().await, tempfile::tempdir().unwrap());
    let config = service.config("");
    assert!(!format!("{config:?}").contains("the-secret"));
    let store = S3Blobs::open(directory.path(), &config, "us").await.unwrap();
    let bytes = content(20_000_001);
    let digest = Digest::of(&bytes);
    let id = store.upload_start("scope", Algorithm::Sha256).await.unwrap();
    let mut upload = store.upload_open("scope", &id, WriteMode::Streaming).await.unwrap();
    upload.write(bytes.slice(..12_000_000)).await.unwrap();
    upload.acknowledge().await.unwrap();
    drop((upload, store));

    let store = S3Blobs::open(directory.path(), &config, "us").await.unwrap();
    let mut upload = store.upload_open("scope", &id, WriteMode::Streaming).await.unwrap();
    assert_eq!(upload.offset(), 12_000_000);
    upload.write(bytes.slice(12_000_000..)).await.unwrap();
    assert_eq!(upload.commit(&digest).await.unwrap(), 20_000_001);
    // The copy on disk is gone; the bucket has it under its name.
    let staged = LocalBlobs::open(directory.path(), LocalLimits::default()).unwrap();
    assert!(staged.list(None, 10).await.unwrap().is_empty());
    store.verify(&digest).await.unwrap();
    assert_eq!(read(&store, &digest, 20_000_001, None).await, bytes);
    assert_eq!(read(&store, &digest, 20_000_001, Some(9_999_999..10_000_001)).await, bytes[9_999_999..10_000_001]);
    // Another length than the metadata has: damaged, set aside, to be pushed again.
    assert!(matches!(store.get(&digest, 20_000_000, None).await.map(drop), Err(BlobError::Damaged(_))));
    assert!(matches!(store.stat(&digest).await, Err(BlobError::Unknown(_))));
}

#[tokio::test]
async fn s3_a_prefix_belongs_to_one_gantry() {
    let (service, directory) = (S3Service::start().await, tempfile::tempdir().unwrap());
    let open = async |prefix: &str, owner: &str| S3Blobs::open(directory.path(), &service.config(prefix), owner).await;
    open("a", "us").await.unwrap();
    open("a", "us").await.unwrap();
    assert!(matches!(open("a", "them").await.map(drop), Err(BlobError::OfAnother { owner, .. }) if owner == "us"));
    open("b", "them").await.unwrap();
}

async fn read(store: &dyn BlobStore, digest: &Digest, size: u64, range: Option<Range<u64>>) -> Vec<u8> {
    let stream = store.get(digest, size, range).await.unwrap();
    let length = stream.size();
    let chunks: Vec<Bytes> = stream.try_collect().await.unwrap();
    let bytes = chunks.concat();
    assert_eq!(bytes.len() as u64, length);
    bytes
}

/// Bytes that are not all alike.
fn content(length: usize) -> Bytes {
    (0..length).map(|i| (i * 31 + i / 251) as u8).collect()
}

async fn upload(store: &dyn BlobStore, chunks: &[Bytes], digest: &Digest) -> Result<u64, BlobError> {
    let id = store.upload_start("scope", Algorithm::Sha256).await?;
    let mut upload = store.upload_open("scope", &id, WriteMode::Streaming).await?;
    for chunk in chunks {
        upload.write(chunk.clone()).await?;
    }
    upload.commit(digest).await
}

#[tokio::test]
async fn a_blob_comes_back_whole_and_in_part() {
    on_each(|store| async move {
        for length in [0, 1, 1000, 64 * 1024, 64 * 1024 + 1, 3 * 1024 * 1024 + 17] {
            let bytes = content(length);
            let digest = Digest::of(&bytes);
            let chunks: Vec<Bytes> = bytes.chunks(70_000).map(Bytes::copy_from_slice).collect();
            assert_eq!(upload(store.as_ref(), &chunks, &digest).await.unwrap(), length as u64);
            assert_eq!(store.stat(&digest).await.unwrap().size, length as u64);
            assert_eq!(read(store.as_ref(), &digest, length as u64, None).await, bytes);
            if length > 10 {
                let range = 3..length as u64 - 4;
                assert_eq!(read(store.as_ref(), &digest, length as u64, Some(range)).await, bytes[3..length - 4]);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_small_blob_is_put_at_once_and_again() {
    on_each(|store| async move {
        let bytes = content(5000);
        let digest = Digest::of(&bytes);
        for _ in 0..2 {
            store.put(&digest, bytes.clone()).await.unwrap();
            assert_eq!(read(store.as_ref(), &digest, 5000, None).await, bytes);
        }
        assert!(store.delete(&digest).await.unwrap());
        assert!(!store.delete(&digest).await.unwrap());
        assert!(matches!(store.get(&digest, 5000, None).await, Err(BlobError::Unknown(_))));
        assert!(matches!(store.stat(&digest).await, Err(BlobError::Unknown(_))));
    })
    .await;
}

#[tokio::test]
async fn content_with_another_digest_is_never_committed() {
    on_each(|store| async move {
        let expected = Digest::of(b"expected");
        let refused = upload(store.as_ref(), &[Bytes::from_static(b"other")], &expected).await;
        assert!(matches!(refused, Err(BlobError::DigestMismatch { .. })));
        assert!(matches!(store.stat(&expected).await, Err(BlobError::Unknown(_))));
        assert!(store.list(None, 10).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_upload_asked_for_another_hash_is_hashed_again() {
    on_each(|store| async move {
        let bytes = content(100_000);
        let digest = Digest::of_with(Algorithm::Sha512, &bytes);
        upload(store.as_ref(), std::slice::from_ref(&bytes), &digest).await.unwrap();
        assert_eq!(read(store.as_ref(), &digest, 100_000, None).await, bytes);
    })
    .await;
}

#[tokio::test]
async fn an_upload_grows_over_several_requests() {
    on_each(|store| async move {
        let bytes = content(4_000_000);
        let id = store.upload_start("scope", Algorithm::Sha256).await.unwrap();
        for (index, part) in bytes.chunks(1_500_000).enumerate() {
            let mut upload = store.upload_open("scope", &id, WriteMode::AllOrNothing).await.unwrap();
            assert_eq!(upload.offset(), index as u64 * 1_500_000);
            upload.write(Bytes::copy_from_slice(part)).await.unwrap();
            upload.acknowledge().await.unwrap();
            assert_eq!(upload.parts().count, index as u32 + 1);
        }
        let digest = Digest::of(&bytes);
        let upload = store.upload_open("scope", &id, WriteMode::Streaming).await.unwrap();
        assert_eq!(upload.commit(&digest).await.unwrap(), 4_000_000);
        assert_eq!(read(store.as_ref(), &digest, 4_000_000, None).await, bytes);
        let gone = store.upload_open("scope", &id, WriteMode::Streaming).await;
        assert!(matches!(gone.map(drop), Err(BlobError::UploadUnknown)));
    })
    .await;
}

#[tokio::test]
async fn an_abandoned_chunk_leaves_the_upload_as_it_was() {
    on_each(|store| async move {
        let (kept, lost) = (content(2_000_000), content(3_000_000));
        let id = store.upload_start("scope", Algorithm::Sha256).await.unwrap();
        let mut upload = store.upload_open("scope", &id, WriteMode::AllOrNothing).await.unwrap();
        upload.write(kept.clone()).await.unwrap();
        upload.acknowledge().await.unwrap();
        drop(upload);
        let mut upload = store.upload_open("scope", &id, WriteMode::AllOrNothing).await.unwrap();
        upload.write(lost).await.unwrap();
        drop(upload);
        let upload = store.upload_open("scope", &id, WriteMode::Streaming).await.unwrap();
        assert_eq!(upload.offset(), 2_000_000);
        let digest = Digest::of(&kept);
        assert_eq!(upload.commit(&digest).await.unwrap(), 2_000_000);
        assert_eq!(read(store.as_ref(), &digest, 2_000_000, None).await, kept);
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_keeps_what_was_written() {
    on_each(|store| async move {
        let bytes = content(3_000_000);
        let id = store.upload_start("scope", Algorithm::Sha256).await.unwrap();
        let mut upload = store.upload_open("scope", &id, WriteMode::Streaming).await.unwrap();
        upload.write(bytes.slice(..2_000_000)).await.unwrap();
        drop(upload);
        let mut upload = store.upload_open("scope", &id, WriteMode::Streaming).await.unwrap();
        let offset = upload.offset() as usize;
        assert_eq!(offset, 2_000_000);
        upload.write(bytes.slice(offset..)).await.unwrap();
        upload.commit(&Digest::of(&bytes)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_upload_belongs_to_its_scope_until_it_is_cancelled() {
    on_each(|store| async move {
        let id = store.upload_start("a", Algorithm::Sha256).await.unwrap();
        for (scope, id) in [("b", id.as_str()), ("a", "../../etc/passwd"), ("a", ""), ("a", &id[1..])] {
            let unknown = store.upload_open(scope, id, WriteMode::Streaming).await;
            assert!(matches!(unknown.map(drop), Err(BlobError::UploadUnknown)), "{scope} {id}");
        }
        let held = store.upload_open("a", &id, WriteMode::Streaming).await.unwrap();
        held.cancel().await.unwrap();
        let gone = store.upload_open("a", &id, WriteMode::Streaming).await;
        assert!(matches!(gone.map(drop), Err(BlobError::UploadUnknown)));
    })
    .await;
}

#[tokio::test]
async fn uploads_of_a_scope_are_dropped_together() {
    on_each(|store| async move {
        let gone = store.upload_start("a", Algorithm::Sha256).await.unwrap();
        let stays = store.upload_start("b", Algorithm::Sha256).await.unwrap();
        store.uploads_drop("a").await.unwrap();
        assert!(store.upload_open("a", &gone, WriteMode::Streaming).await.is_err());
        assert!(store.upload_open("b", &stays, WriteMode::Streaming).await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn blobs_are_listed_in_order_page_by_page() {
    on_each(|store| async move {
        let mut digests = Vec::new();
        for i in 0..40_u8 {
            let bytes = Bytes::from(vec![i; 3]);
            let algorithm = if i % 4 == 0 { Algorithm::Sha512 } else { Algorithm::Sha256 };
            let digest = Digest::of_with(algorithm, &bytes);
            store.put(&digest, bytes).await.unwrap();
            digests.push(digest);
        }
        digests.sort();
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = store.list(after.as_ref(), 7).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.digest.clone());
            listed.extend(page.into_iter().map(|blob| blob.digest));
        }
        assert_eq!(listed, digests);
    })
    .await;
}

#[tokio::test]
async fn the_same_blob_uploaded_many_times_at_once_is_one_blob() {
    on_each(|store| async move {
        let bytes = content(300_000);
        let digest = Digest::of(&bytes);
        let pushes = (0..16).map(|_| {
            let (store, bytes, digest) = (Arc::clone(&store), bytes.clone(), digest.clone());
            tokio::spawn(async move { upload(store.as_ref(), &[bytes], &digest).await.unwrap() })
        });
        for push in pushes.collect::<Vec<_>>() {
            assert_eq!(push.await.unwrap(), 300_000);
        }
        assert_eq!(store.list(None, 10).await.unwrap().len(), 1);
        assert_eq!(read(store.as_ref(), &digest, 300_000, None).await, bytes);
    })
    .await;
}

fn local(limits: LocalLimits) -> (tempfile::TempDir, LocalBlobs) {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalBlobs::open(directory.path(), limits).unwrap();
    (directory, store)
}

fn path_of(directory: &tempfile::TempDir, digest: &Digest) -> std::path::PathBuf {
    directory.path().join("blobs/sha256").join(&digest.hex()[..2]).join(digest.hex())
}

#[tokio::test]
async fn local_an_upload_survives_a_restart() {
    let (directory, store) = local(LocalLimits::default());
    let bytes = content(2_500_000);
    let id = store.upload_start("scope", Algorithm::Sha256).await.unwrap();
    let mut upload = store.upload_open("scope", &id, WriteMode::Streaming).await.unwrap();
    upload.write(bytes.slice(..1_200_000)).await.unwrap();
    upload.acknowledge().await.unwrap();
    drop((upload, store));

    let store = LocalBlobs::open(directory.path(), LocalLimits { open_uploads_max: 1, ..LocalLimits::default() });
    let store = store.unwrap();
    assert!(matches!(store.upload_start("scope", Algorithm::Sha256).await, Err(BlobError::TooManyUploads { .. })));
    let mut upload = store.upload_open("scope", &id, WriteMode::Streaming).await.unwrap();
    assert_eq!(upload.offset(), 1_200_000);
    upload.write(bytes.slice(1_200_000..)).await.unwrap();
    upload.commit(&Digest::of(&bytes)).await.unwrap();
    assert!(store.upload_start("scope", Algorithm::Sha256).await.is_ok());
}

#[tokio::test]
async fn local_open_uploads_are_bounded_and_every_end_frees_one() {
    let (_directory, store) = local(LocalLimits { open_uploads_max: 2, ..LocalLimits::default() });
    let start = || store.upload_start("scope", Algorithm::Sha256);
    let (first, second) = (start().await.unwrap(), start().await.unwrap());
    assert!(matches!(start().await, Err(BlobError::TooManyUploads { limit: 2 })));
    let open = |id: String| {
        let store = store.clone();
        async move { store.upload_open("scope", &id, WriteMode::Streaming).await.unwrap() }
    };
    open(first).await.cancel().await.unwrap();
    let third = start().await.unwrap();
    open(second).await.commit(&Digest::of(b"")).await.unwrap();
    let _fourth = start().await.unwrap();
    assert!(open(third).await.commit(&Digest::of(b"something else")).await.is_err());
    assert!(start().await.is_ok());
    assert!(start().await.is_err());
    store.uploads_drop("scope").await.unwrap();
    assert!(start().await.is_ok());
}

#[tokio::test]
async fn local_an_upload_serves_one_request_at_a_time() {
    let (_directory, store) = local(LocalLimits { busy_wait: Duration::ZERO, ..LocalLimits::default() });
    let id = store.upload_start("a", Algorithm::Sha256).await.unwrap();
    let held = store.upload_open("a", &id, WriteMode::Streaming).await.unwrap();
    let busy = store.upload_open("a", &id, WriteMode::Streaming).await;
    assert!(matches!(busy.map(drop), Err(BlobError::UploadBusy)));
    drop(held);
    assert!(store.upload_open("a", &id, WriteMode::Streaming).await.is_ok());
}

#[tokio::test]
async fn local_idle_uploads_expire_but_not_those_in_use() {
    let (_directory, store) = local(LocalLimits::default());
    let idle = store.upload_start("scope", Algorithm::Sha256).await.unwrap();
    let used = store.upload_start("scope", Algorithm::Sha256).await.unwrap();
    let _held = store.upload_open("scope", &used, WriteMode::Streaming).await.unwrap();
    assert_eq!(store.uploads_expire(Duration::from_secs(3600)).await.unwrap(), 0);
    assert_eq!(store.uploads_expire(Duration::ZERO).await.unwrap(), 1);
    assert!(store.upload_open("scope", &idle, WriteMode::Streaming).await.is_err());
}

#[tokio::test]
async fn local_damage_is_noticed_and_set_aside() {
    // Small ones are hashed when they are read, large ones by `verify`, and a wrong length is noticed at once.
    for (length, flip, cut) in [(5000_u64, true, false), (5000, false, true), (200_000, false, true)] {
        let (directory, store) = local(LocalLimits { cache_bytes_max: 0, ..LocalLimits::default() });
        let store =
            if length == 5000 { LocalBlobs::open(directory.path(), LocalLimits::default()).unwrap() } else { store };
        let bytes = content(length as usize);
        let digest = Digest::of(&bytes);
        upload(&store, &[bytes.slice(..10), bytes.slice(10..)], &digest).await.unwrap();
        let path = path_of(&directory, &digest);
        let mut damaged = bytes.to_vec();
        if flip {
            damaged[77] ^= 1;
        }
        if cut {
            damaged.pop();
        }
        std::fs::write(&path, &damaged).unwrap();
        assert!(matches!(store.get(&digest, length, None).await.map(drop), Err(BlobError::Damaged(_))));
        assert!(!path.exists());
        assert!(matches!(store.get(&digest, length, None).await.map(drop), Err(BlobError::Unknown(_))));
        upload(&store, std::slice::from_ref(&bytes), &digest).await.unwrap();
        assert_eq!(read(&store, &digest, length, None).await, bytes);
    }
}

#[tokio::test]
async fn local_verify_reads_everything() {
    let (directory, store) = local(LocalLimits::default());
    let bytes = content(200_000);
    let digest = Digest::of(&bytes);
    store.put(&digest, bytes.clone()).await.unwrap();
    store.verify(&digest).await.unwrap();
    let mut damaged = bytes.to_vec();
    damaged[199_999] ^= 1;
    std::fs::write(path_of(&directory, &digest), damaged).unwrap();
    assert!(matches!(store.verify(&digest).await, Err(BlobError::Damaged(_))));
    assert!(matches!(store.verify(&digest).await, Err(BlobError::Unknown(_))));
}

#[tokio::test]
async fn local_a_full_disk_is_named() {
    let (_directory, store) = local(LocalLimits { reserve_bytes: u64::MAX, ..LocalLimits::default() });
    assert!(matches!(store.upload_start("scope", Algorithm::Sha256).await, Err(BlobError::DiskFull)));
    assert!(matches!(store.put(&Digest::of(b"x"), Bytes::from_static(b"x")).await, Err(BlobError::DiskFull)));
    let full = BlobError::io("testing")(std::io::Error::from(std::io::ErrorKind::StorageFull));
    assert!(matches!(full, BlobError::DiskFull));
}

#[tokio::test]
async fn local_files_of_others_are_left_alone() {
    let (directory, store) = local(LocalLimits::default());
    std::fs::create_dir_all(directory.path().join("blobs/sha256/zz")).unwrap();
    std::fs::write(directory.path().join("blobs/sha256/zz/README"), b"x").unwrap();
    std::fs::write(directory.path().join("blobs/sha256/lost+found"), b"x").unwrap();
    std::fs::write(directory.path().join("uploads/note"), b"x").unwrap();
    assert!(store.list(None, 10).await.unwrap().is_empty());
    assert_eq!(store.uploads_expire(Duration::ZERO).await.unwrap(), 0);
    assert!(LocalBlobs::open(directory.path(), LocalLimits::default()).is_ok());
}
