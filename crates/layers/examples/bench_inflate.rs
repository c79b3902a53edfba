//! Times what inflating a layer costs on one core, the least that a pull can take.
//!
//! `cargo run --release -p gantry-layers --example bench_inflate LAYER.tar.gz`

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::{fs::File, io, time::Instant};

fn main() {
    let path = std::env::args().nth(1).unwrap();
    let began = Instant::now();
    let bytes = io::copy(&mut flate2::read::MultiGzDecoder::new(File::open(path).unwrap()), &mut io::sink()).unwrap();
    let seconds = began.elapsed().as_secs_f64();
    println!("{seconds:.2} s, {:.0} MB/s", bytes as f64 / seconds / 1e6);
}
