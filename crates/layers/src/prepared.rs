//! Prepared layers: the EROFS image of a layer, made once by the registry and packed for the way to the agents.
//!
//! Packed, an image is a sequence of zstd frames, each of [`FRAME_BYTES`] of the image, so any zstd decoder reads it.
//! What there is of an image is told by [`PreparedImage`], a document that only our registry writes.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use crate::{Layer, LayerError};

/// How much of an image one frame holds.
const FRAME_BYTES: usize = 4 << 20;
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
    /// What reading the layer would have told.
    pub layer: Layer,
}

/// Packs `image` into `sink`, frame by frame.
///
/// # Errors
/// Those of reading, and of the sink.
pub fn pack(image: &mut impl Read, sink: &mut impl FnMut(Vec<u8>) -> io::Result<()>) -> io::Result<()> {
    let mut frame = Vec::with_capacity(FRAME_BYTES);
    loop {
        frame.clear();
        image.by_ref().take(FRAME_BYTES as u64).read_to_end(&mut frame)?;
        if frame.is_empty() {
            return Ok(());
        }
        sink(zstd::bulk::compress(&frame, LEVEL)?)?;
    }
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
        let image: Vec<u8> = (0..FRAME_BYTES + 12_345).map(|at| (at / 7) as u8).collect();
        let mut packed = Vec::new();
        let mut frames = 0;
        pack(&mut &image[..], &mut |frame| {
            frames += 1;
            packed.extend(frame);
            Ok(())
        })
        .unwrap();
        assert_eq!(frames, 2);
        let mut back = Vec::new();
        unpack(&packed[..], &mut back, image.len() as u64).unwrap();
        assert!(back == image);
        for (bytes, size) in [
            (&packed[..], image.len() as u64 + 1),
            (&packed[..], image.len() as u64 - 1),
            (&packed[..packed.len() - 3], image.len() as u64),
            (b"nonsense", 8),
        ] {
            assert!(matches!(unpack(bytes, &mut Vec::new(), size), Err(LayerError::Corrupt(_))));
        }
    }
}
