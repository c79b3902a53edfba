//! Prepared layers: the EROFS image of a layer, made once by the registry and packed for the way to the agents.
//!
//! Packed, an image is a sequence of zstd frames, each of [`CHUNK_BYTES`] of the image, and after them the digests of
//! these frames in a frame that decoders skip ([`chunks`]): any zstd decoder reads the whole, and whoever has the digests
//! can fetch and check every chunk alone. What there is of an image is told by [`PreparedImage`], a document that only
//! our registry writes.

pub mod chunks;

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use self::chunks::{TableMaker, TablePlace};
use crate::{Layer, LayerError};

/// How much of an image one frame holds: the least that is fetched when a container reads a file that is not here
/// yet. A tenth of this makes blobs 5 % larger, ten times this fetches mostly what nobody asked for.
const CHUNK_BYTES: usize = 512 << 10;
/// Unpacks about as fast as the fastest level and is a good deal smaller.
const LEVEL: i32 = 3;
const BUFFER_BYTES: usize = 1 << 20;

/// What the registry prepared for one image: some or all of its layers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreparedImage {
    /// In no particular order.
    pub layers: Vec<PreparedLayer>,
}

/// One prepared layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreparedLayer {
    /// The layer, by the digest of its uncompressed archive.
    pub diff_id: String,
    /// Digest of the packed image, a blob of the layer's repository.
    pub blob: String,
    /// Its length in bytes.
    pub size: u64,
    /// Length of the image.
    pub image_size: u64,
    /// Where the digests of its chunks are. Without them it is fetched whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunks: Option<TablePlace>,
    /// What reading the layer would have told.
    pub layer: Layer,
}

/// Packs `image` into `sink`, frame by frame, and returns where the digests of the frames are.
///
/// # Errors
/// Those of reading, and of the sink.
pub fn pack(image: &mut impl Read, sink: &mut impl FnMut(Vec<u8>) -> io::Result<()>) -> io::Result<TablePlace> {
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    let mut table = TableMaker::default();
    loop {
        chunk.clear();
        image.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
        if chunk.is_empty() {
            break;
        }
        let frame = zstd::bulk::compress(&chunk, LEVEL)?;
        table.add(&frame)?;
        sink(frame)?;
    }
    let (frame, place) = table.finish(CHUNK_BYTES as u64)?;
    sink(frame)?;
    Ok(place)
}

/// Unpacks `blob` into `image`, which must come to `image_size` bytes.
///
/// # Errors
/// [`LayerError::Corrupt`] when it is no packed image of that size.
pub fn unpack(blob: impl Read, image: &mut impl Write, image_size: u64) -> Result<(), LayerError> {
    let corrupt = |error: io::Error| LayerError::corrupt(format!("prepared layer cannot be unpacked: {error}"));
    let mut decoder = zstd::Decoder::new(blob).map_err(corrupt)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut written = 0u64;
    loop {
        let length = decoder.read(&mut buffer).map_err(corrupt)?;
        written += length as u64;
        if written > image_size || (length == 0 && written < image_size) {
            return Err(LayerError::corrupt(format!("prepared layer does not unpack to {image_size} bytes")));
        }
        if length == 0 {
            return Ok(());
        }
        image.write_all(&buffer[..length]).map_err(|error| LayerError::io("write a prepared layer", error))?;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_image_comes_back_whole_or_is_refused() {
        let image: Vec<u8> = (0..CHUNK_BYTES + 12_345).map(|at| (at / 7) as u8).collect();
        let mut packed = Vec::new();
        let mut frames = 0;
        pack(&mut &image[..], &mut |frame| {
            frames += 1;
            packed.extend(frame);
            Ok(())
        })
        .unwrap();
        assert_eq!(frames, 3, "two chunks and their digests");
        let mut back = Vec::new();
        unpack(&packed[..], &mut back, image.len() as u64).unwrap();
        assert!(back == image);
        for (bytes, size) in [
            (&packed[..], image.len() as u64 + 1),
            (&packed[..], image.len() as u64 - 1),
            (&packed[..packed.len() / 2], image.len() as u64),
            (b"nonsense", 8),
        ] {
            assert!(matches!(unpack(bytes, &mut Vec::new(), size), Err(LayerError::Corrupt(_))));
        }
    }
}
