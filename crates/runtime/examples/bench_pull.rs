//! Times a pull into an empty image directory, up to a root filesystem that could be mounted. Needs root.
//!
//! `cargo run --release -p gantry-runtime --example bench_pull REFERENCE [ROUNDS [FORM]]`; the form is `erofs`,
//! `directories`, or `prepared`: from a Gantry, with the password for its registry in `BENCH_PASSWORD`.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::{sync::Arc, time::Instant};

use gantry_runtime::image::{ImageOptions, Images, LocalImages, NoProgress, Password, RegistryAccess};

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let reference = arguments.next().unwrap();
    let rounds: usize = arguments.next().map_or(3, |rounds| rounds.parse().unwrap());
    let mut options = ImageOptions::default();
    let mut access = RegistryAccess::default();
    match arguments.next().as_deref() {
        Some("directories") => options.erofs_blob_bytes_min = u64::MAX,
        Some("prepared") => {
            access.basic = Some(("AWS".to_owned(), Password(std::env::var("BENCH_PASSWORD").unwrap())));
            access.prepared = true;
        }
        _ => {}
    }
    for _ in 0..rounds {
        // What earlier rounds left to write is not this one's. Not /tmp, which may be in memory.
        rustix::fs::sync();
        std::thread::sleep(std::time::Duration::from_secs(1));
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let images = LocalImages::open(directory.path().join("images"), options.clone()).unwrap();
        let start = Instant::now();
        let image = images.pull(&reference, &access, Arc::new(NoProgress)).await.unwrap();
        let pulled = start.elapsed();
        let start = Instant::now();
        images.prepare_rootfs("bench", &image).await.unwrap();
        println!(
            "pull {:.2} s, root filesystem {:.2} ms, {} layers",
            pulled.as_secs_f64(),
            start.elapsed().as_secs_f64() * 1e3,
            image.layers.len()
        );
        LocalImages::unmount_all(&directory.path().join("images")).unwrap();
    }
}
