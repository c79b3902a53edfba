//! One file of a stream: blocks one after another, and a seal at the end once it gets no more.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::block::{HEADER_LEN, Header, Kind};

/// A segment gets no more blocks beyond this size: what retention can delete at once, and what a reader may have to
/// hop through.
pub(super) const SEGMENT_BYTES_MAX: u64 = 4 << 20;

/// How much of a segment is read at once.
const CHUNK: usize = 64 << 10;

/// What is known of a segment without reading it. Only whole, durable blocks count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// Number of its first event; also its file's name.
    pub(super) first_sequence: u64,
    /// Number of the first event after it.
    pub(super) next_sequence: u64,
    /// Bytes of blocks.
    pub(super) len: u64,
    /// Smallest and largest timestamp; `min > max` while it is empty.
    pub(super) min: u64,
    pub(super) max: u64,
    /// When its first and its last events came.
    pub(super) first_ingestion: u64,
    pub(super) last_ingestion: u64,
    /// Gets no more blocks.
    pub(super) sealed: bool,
}

/// How far to trust a segment that is looked at for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// It was synced: headers are enough.
    Headers,
    /// It may have been cut by a crash: read every body.
    Nothing,
}

impl Segment {
    /// A segment without blocks.
    pub(super) fn empty(first_sequence: u64) -> Self {
        Self {
            first_sequence,
            next_sequence: first_sequence,
            len: 0,
            min: u64::MAX,
            max: 0,
            first_ingestion: 0,
            last_ingestion: 0,
            sealed: false,
        }
    }

    /// The segment's file.
    pub(super) fn path(&self, directory: &Path) -> PathBuf {
        directory.join(format!("{:020}.seg", self.first_sequence))
    }

    /// The first event number in a file's name.
    pub(super) fn parse_name(name: &str) -> Option<u64> {
        name.strip_suffix(".seg")?.parse().ok()
    }

    /// Looks at the file. What follows the last good block is not part of the segment.
    pub(super) fn load(directory: &Path, first_sequence: u64, trust: Trust) -> io::Result<Self> {
        let mut segment = Self::empty(first_sequence);
        let file = File::open(segment.path(directory))?;
        let len = file.metadata()?.len();
        if trust == Trust::Headers && segment.load_seal(&file, len)? {
            return Ok(segment);
        }
        let mut scan = Scan::new(&file, 0, len);
        while let Some((_, header)) = scan.next_header()? {
            if header.kind == Kind::Seal {
                segment.sealed = true;
                break;
            }
            if trust == Trust::Nothing && !scan.body_is_intact(&header)? {
                break;
            }
            segment.add(&header);
        }
        Ok(segment)
    }

    fn load_seal(&mut self, file: &File, len: u64) -> io::Result<bool> {
        let Some(at) = len.checked_sub(HEADER_LEN as u64) else { return Ok(false) };
        let mut bytes = [0; HEADER_LEN];
        file.read_exact_at(&mut bytes, at)?;
        let Some(seal) = Header::decode(&bytes).filter(|header| header.kind == Kind::Seal) else { return Ok(false) };
        // The time of the first events only decides when a segment is sealed, which this one is.
        *self = Self {
            first_sequence: self.first_sequence,
            next_sequence: seal.first_sequence,
            len: at,
            min: seal.min,
            max: seal.max,
            first_ingestion: seal.ingestion,
            last_ingestion: seal.ingestion,
            sealed: true,
        };
        Ok(true)
    }

    /// Takes in a block at the end.
    pub(super) fn add(&mut self, header: &Header) {
        if self.len == 0 {
            self.first_ingestion = header.ingestion;
        }
        self.len += header.block_len();
        self.next_sequence = header.next_sequence();
        self.min = self.min.min(header.min);
        self.max = self.max.max(header.max);
        self.last_ingestion = header.ingestion;
    }
}

/// Hops from header to header.
pub(super) struct Scan<'a> {
    file: &'a File,
    at: u64,
    end: u64,
    chunk: Vec<u8>,
    chunk_at: u64,
}

impl<'a> Scan<'a> {
    pub(super) fn new(file: &'a File, at: u64, end: u64) -> Self {
        Self { file, at, end, chunk: Vec::new(), chunk_at: 0 }
    }

    /// The next block's place and header; nothing at the end or at the first thing that is no whole block.
    pub(super) fn next_header(&mut self) -> io::Result<Option<(u64, Header)>> {
        let at = self.at;
        if at + HEADER_LEN as u64 > self.end {
            return Ok(None);
        }
        let Some(header) = Header::decode(self.bytes(at, HEADER_LEN)?) else { return Ok(None) };
        if at + header.block_len() > self.end {
            return Ok(None);
        }
        self.at += header.block_len();
        Ok(Some((at, header)))
    }

    /// Whether the body of the block just found is intact.
    pub(super) fn body_is_intact(&mut self, header: &Header) -> io::Result<bool> {
        let body_at = self.at - u64::from(header.body_len);
        let body = self.bytes(body_at, header.body_len as usize)?;
        Ok(header.is_intact(body))
    }

    fn bytes(&mut self, at: u64, len: usize) -> io::Result<&[u8]> {
        let held = at >= self.chunk_at && at + len as u64 <= self.chunk_at + self.chunk.len() as u64;
        if !held {
            let want = usize::try_from(self.end - at).unwrap_or(usize::MAX).min(CHUNK.max(len));
            self.chunk.resize(want, 0);
            self.file.read_exact_at(&mut self.chunk, at)?;
            self.chunk_at = at;
        }
        let from = usize::try_from(at - self.chunk_at).expect("within a chunk");
        Ok(&self.chunk[from..from + len])
    }
}
