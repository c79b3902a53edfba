//! The chunks of a packed image: where each lies, and how it is recognised.
//!
//! The table stands behind the frames, in a skippable frame: per chunk the length of its frame (4 bytes, little-endian)
//! and the SHA-256 of it. [`TablePlace`] says where in the blob it is and which digest it has, and comes from our
//! registry, which made it. So every chunk that is fetched by itself is bound to the layer as the whole blob would be:
//! row, table, chunk. A frame is checked before it is given to the decoder.

use std::{io, ops::Range};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{LayerError, digest::sha256};

/// Decoders skip what follows.
const SKIPPABLE_MAGIC: u32 = 0x184D_2A50;
const HEADER_BYTES: u64 = 8;
const ENTRY_BYTES: usize = 36;
/// Larger ones would have to be held in memory.
const CHUNK_BYTES_MAX: u64 = 8 << 20;
const CHUNK_BYTES_MIN: u64 = 4096;

/// Where the table of a packed image is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TablePlace {
    /// Its first byte in the blob.
    pub at: u64,
    /// Its length.
    pub size: u64,
    /// Its digest, `sha256:…`.
    pub digest: String,
    /// How much of the image each chunk holds; the last one holds what is left.
    pub chunk_bytes: u64,
}

/// Collects a table while frames are written.
#[derive(Default)]
pub(super) struct TableMaker {
    entries: Vec<u8>,
    position: u64,
}

impl TableMaker {
    /// Notes the next frame.
    pub(super) fn add(&mut self, frame: &[u8]) -> io::Result<()> {
        let length = u32::try_from(frame.len()).map_err(|_| io::Error::other("a frame of 4 GiB"))?;
        self.entries.extend_from_slice(&length.to_le_bytes());
        self.entries.extend_from_slice(&Sha256::digest(frame));
        self.position += u64::from(length);
        Ok(())
    }

    /// The skippable frame with the table, and where the table is.
    pub(super) fn finish(self, chunk_bytes: u64) -> io::Result<(Vec<u8>, TablePlace)> {
        let size = u32::try_from(self.entries.len()).map_err(|_| io::Error::other("too many chunks"))?;
        let mut frame = Vec::with_capacity(self.entries.len() + HEADER_BYTES as usize);
        frame.extend_from_slice(&SKIPPABLE_MAGIC.to_le_bytes());
        frame.extend_from_slice(&size.to_le_bytes());
        frame.extend_from_slice(&self.entries);
        let place = TablePlace {
            at: self.position + HEADER_BYTES,
            size: u64::from(size),
            digest: sha256(&self.entries),
            chunk_bytes,
        };
        Ok((frame, place))
    }
}

#[derive(Debug)]
struct Chunk {
    /// Of its frame in the blob.
    at: u64,
    length: u32,
    digest: [u8; 32],
}

/// The chunks of one packed image, by number.
#[derive(Debug)]
pub struct Chunks {
    chunks: Vec<Chunk>,
    chunk_bytes: u64,
    image_size: u64,
}

impl Chunks {
    /// Reads the table that is at `place`, of an image of `image_size` bytes.
    ///
    /// # Errors
    /// [`LayerError::Corrupt`] when it has another digest, or is no table of such an image.
    pub fn read(table: &[u8], place: &TablePlace, image_size: u64) -> Result<Self, LayerError> {
        let corrupt = |what: &str| LayerError::corrupt(format!("the table of a prepared layer: {what}"));
        if sha256(table) != place.digest {
            return Err(corrupt("another digest"));
        }
        if !(CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&place.chunk_bytes) {
            return Err(corrupt("no usable length of chunks"));
        }
        let (entries, rest) = table.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() || entries.len() as u64 != image_size.div_ceil(place.chunk_bytes) {
            return Err(corrupt("not one entry for each chunk"));
        }
        let mut at = 0;
        let mut chunks = Vec::with_capacity(entries.len());
        for entry in entries {
            let [a, b, c, d, digest @ ..] = *entry;
            let length = u32::from_le_bytes([a, b, c, d]);
            chunks.push(Chunk { at, length, digest });
            at += u64::from(length);
        }
        if at + HEADER_BYTES != place.at {
            return Err(corrupt("frames of other lengths"));
        }
        Ok(Self { chunks, chunk_bytes: place.chunk_bytes, image_size })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.chunks.len()
    }

    /// Length of the image.
    pub fn image_size(&self) -> u64 {
        self.image_size
    }

    /// The chunks that hold these bytes of the image; what lies behind its end has none.
    pub fn covering(&self, bytes: Range<u64>) -> Range<usize> {
        let end = bytes.end.min(self.image_size);
        if bytes.start >= end {
            return 0..0;
        }
        (bytes.start / self.chunk_bytes) as usize..end.div_ceil(self.chunk_bytes) as usize
    }

    /// Where chunk `index` lies in the image.
    pub fn place(&self, index: usize) -> Range<u64> {
        let start = (index as u64).saturating_mul(self.chunk_bytes).min(self.image_size);
        start..(start + self.chunk_bytes).min(self.image_size)
    }

    /// Where the frame of chunk `index` lies in the blob; empty for a chunk that does not exist.
    pub fn frame(&self, index: usize) -> Range<u64> {
        self.chunks.get(index).map_or(0..0, |chunk| chunk.at..chunk.at + u64::from(chunk.length))
    }

    /// Where the frames of neighbouring chunks lie in the blob.
    pub fn frames(&self, chunks: Range<usize>) -> Range<u64> {
        match chunks.end.checked_sub(1) {
            Some(last) if chunks.start <= last => self.frame(chunks.start).start..self.frame(last).end,
            _ => 0..0,
        }
    }

    /// Checks the frame of chunk `index` and unpacks it.
    ///
    /// # Errors
    /// [`LayerError::Corrupt`] when it is not what the table says.
    pub fn unpack(&self, index: usize, frame: &[u8]) -> Result<Vec<u8>, LayerError> {
        let corrupt = |what: String| LayerError::corrupt(format!("chunk {index} of a prepared layer {what}"));
        let Some(chunk) = self.chunks.get(index) else { return Err(corrupt("does not exist".to_owned())) };
        if frame.len() != chunk.length as usize || *Sha256::digest(frame) != chunk.digest {
            return Err(corrupt("has another digest than its table says".to_owned()));
        }
        let place = self.place(index);
        let length = (place.end - place.start) as usize;
        let bytes = zstd::bulk::decompress(frame, length).map_err(|error| corrupt(format!("is no frame: {error}")))?;
        if bytes.len() != length {
            return Err(corrupt(format!("has {} bytes, not {length}", bytes.len())));
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn packed(image: &[u8]) -> (Vec<u8>, TablePlace) {
        let mut blob = Vec::new();
        let place = super::super::pack(&mut &image[..], &mut |frame| {
            blob.extend(frame);
            Ok(())
        })
        .unwrap();
        (blob, place)
    }

    fn slice(blob: &[u8], range: Range<u64>) -> &[u8] {
        &blob[range.start as usize..range.end as usize]
    }

    #[test]
    fn every_chunk_can_be_had_alone() {
        let image: Vec<u8> = (0..3 * super::super::CHUNK_BYTES + 777).map(|at| (at / 5) as u8).collect();
        let (blob, place) = packed(&image);
        let table = slice(&blob, place.at..place.at + place.size);
        assert_eq!(place.at + place.size, blob.len() as u64);
        let chunks = Chunks::read(table, &place, image.len() as u64).unwrap();
        assert_eq!(chunks.count(), 4);
        for index in [3, 0, 2, 1] {
            let bytes = chunks.unpack(index, slice(&blob, chunks.frame(index))).unwrap();
            assert!(bytes == slice(&image, chunks.place(index)), "{index}");
        }
        assert_eq!(chunks.frames(1..3), chunks.frame(1).start..chunks.frame(2).end);
        let size = image.len() as u64;
        assert_eq!(chunks.covering(0..1), 0..1);
        assert_eq!(chunks.covering(super::super::CHUNK_BYTES as u64 - 1..size + 9), 0..4);
        assert_eq!(chunks.covering(size..size + 1), 0..0);
        assert_eq!(chunks.frames(2..2), 0..0);
    }

    #[test]
    fn what_is_not_the_chunk_is_refused() {
        let image = vec![9; 2 * super::super::CHUNK_BYTES];
        let (blob, place) = packed(&image);
        let table = slice(&blob, place.at..place.at + place.size).to_vec();
        let chunks = Chunks::read(&table, &place, image.len() as u64).unwrap();
        let mut frame = slice(&blob, chunks.frame(1)).to_vec();
        assert!(chunks.unpack(0, &frame[1..]).is_err());
        *frame.last_mut().unwrap() ^= 1;
        assert!(chunks.unpack(1, &frame).is_err());
        assert!(chunks.unpack(2, &frame).is_err());

        let mut other = table.clone();
        other[0] ^= 1;
        assert!(Chunks::read(&other, &place, image.len() as u64).is_err(), "another table");
        let shorter = TablePlace { digest: sha256(&table[36..]), ..place.clone() };
        assert!(Chunks::read(&table[36..], &shorter, image.len() as u64).is_err(), "a chunk is missing");
        for place in [TablePlace { chunk_bytes: 0, ..place.clone() }, TablePlace { at: place.at + 1, ..place.clone() }]
        {
            assert!(Chunks::read(&table, &place, image.len() as u64).is_err(), "{place:?}");
        }
    }
}
