//! The unit of storage: the events of one request to one stream, as they stand in a segment and in the journal.
//!
//! A header of fixed size with its own checksum, so that a scan can hop from header to header, then the body: per
//! event the timestamp, the length and the message.

/// Bytes of a header.
pub(super) const HEADER_LEN: usize = 52;

const MAGIC_EVENTS: u32 = u32::from_le_bytes(*b"GLb1");
const MAGIC_SEAL: u32 = u32::from_le_bytes(*b"GLs1");

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Events, or the end of a segment that gets no more.
    pub(super) kind: Kind,
    pub(super) body_len: u32,
    body_crc: u32,
    /// Events in the body; in a seal, 0.
    pub(super) count: u32,
    /// Number of the first event in its stream; in a seal, of the first event after the segment.
    pub(super) first_sequence: u64,
    /// When the events came, in milliseconds since the epoch; in a seal, the last of these.
    pub(super) ingestion: u64,
    /// Smallest and largest timestamp, of the body or of the sealed segment.
    pub(super) min: u64,
    pub(super) max: u64,
}

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Events,
    Seal,
}

/// Events that are ready to be written but do not have their place yet.
#[derive(Debug)]
pub(super) struct Body {
    bytes: Vec<u8>,
    header: Header,
}

/// One event of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawEvent<'a> {
    pub(super) timestamp: u64,
    pub(super) message: &'a str,
}

impl Body {
    /// Encodes events, of which there is at least one.
    pub(super) fn new(ingestion: u64, events: &[(u64, String)]) -> Self {
        let len = events.iter().map(|(_, message)| 12 + message.len()).sum();
        let mut bytes = Vec::with_capacity(len);
        let (mut min, mut max) = (u64::MAX, 0);
        for (timestamp, message) in events {
            (min, max) = (min.min(*timestamp), max.max(*timestamp));
            bytes.extend_from_slice(&timestamp.to_le_bytes());
            bytes.extend_from_slice(&small(message.len()).to_le_bytes());
            bytes.extend_from_slice(message.as_bytes());
        }
        let header = Header {
            kind: Kind::Events,
            body_len: small(bytes.len()),
            body_crc: crc32fast::hash(&bytes),
            count: small(events.len()),
            first_sequence: 0,
            ingestion,
            min,
            max,
        };
        Self { bytes, header }
    }

    /// Bytes of the whole block.
    pub(super) fn block_len(&self) -> usize {
        HEADER_LEN + self.bytes.len()
    }

    /// Appends the block to `out`, its first event numbered `first_sequence`.
    pub(super) fn place(&self, first_sequence: u64, out: &mut Vec<u8>) -> Header {
        let header = Header { first_sequence, ..self.header };
        out.extend_from_slice(&header.encode());
        out.extend_from_slice(&self.bytes);
        header
    }
}

impl Header {
    /// The end of a segment.
    pub(super) fn seal(next_sequence: u64, ingestion: u64, min: u64, max: u64) -> Self {
        let body_crc = crc32fast::hash(&[]);
        Self { kind: Kind::Seal, body_len: 0, body_crc, count: 0, first_sequence: next_sequence, ingestion, min, max }
    }

    pub(super) fn encode(&self) -> [u8; HEADER_LEN] {
        let magic = match self.kind {
            Kind::Events => MAGIC_EVENTS,
            Kind::Seal => MAGIC_SEAL,
        };
        let mut bytes = [0; HEADER_LEN];
        for (at, number) in [magic, self.body_len, self.body_crc, self.count].into_iter().enumerate() {
            bytes[at * 4..at * 4 + 4].copy_from_slice(&number.to_le_bytes());
        }
        for (at, number) in [self.first_sequence, self.ingestion, self.min, self.max].into_iter().enumerate() {
            bytes[16 + at * 8..24 + at * 8].copy_from_slice(&number.to_le_bytes());
        }
        let crc = crc32fast::hash(&bytes[..48]);
        bytes[48..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header at the start of `bytes`; nothing when there is none or it is damaged.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_LEN] = bytes.first_chunk()?;
        if crc32fast::hash(&bytes[..48]) != small_at(bytes, 48) {
            return None;
        }
        let kind = match small_at(bytes, 0) {
            MAGIC_EVENTS => Kind::Events,
            MAGIC_SEAL => Kind::Seal,
            _ => return None,
        };
        Some(Self {
            kind,
            body_len: small_at(bytes, 4),
            body_crc: small_at(bytes, 8),
            count: small_at(bytes, 12),
            first_sequence: large_at(bytes, 16),
            ingestion: large_at(bytes, 24),
            min: large_at(bytes, 32),
            max: large_at(bytes, 40),
        })
    }

    /// Bytes of the whole block.
    pub(super) fn block_len(&self) -> u64 {
        HEADER_LEN as u64 + u64::from(self.body_len)
    }

    /// Number of the event after the last one of this block.
    pub(super) fn next_sequence(&self) -> u64 {
        self.first_sequence + u64::from(self.count)
    }

    /// Whether `body` is the one that was written.
    pub(super) fn is_intact(&self, body: &[u8]) -> bool {
        crc32fast::hash(body) == self.body_crc
    }
}

/// The events of an intact body. Ends early at anything that is not one.
pub(super) fn events(mut body: &[u8]) -> impl Iterator<Item = RawEvent<'_>> {
    std::iter::from_fn(move || {
        let (head, rest) = body.split_at_checked(12)?;
        let (message, rest) = rest.split_at_checked(small_at(head, 8) as usize)?;
        body = rest;
        Some(RawEvent { timestamp: large_at(head, 0), message: std::str::from_utf8(message).ok()? })
    })
}

fn small_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn large_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

fn small(len: usize) -> u32 {
    u32::try_from(len).expect("a request is bounded to about a mebibyte")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_block_comes_back_as_it_went_in() {
        let sent = [(5, "hello".to_owned()), (3, "wörld\n".to_owned()), (9, "x".repeat(5000))];
        let body = Body::new(77, &sent);
        let mut out = Vec::new();
        let header = body.place(40, &mut out);
        assert_eq!(out.len(), body.block_len());
        assert_eq!(Header::decode(&out), Some(header));
        assert_eq!((header.min, header.max, header.first_sequence, header.next_sequence()), (3, 9, 40, 43));
        assert!(header.is_intact(&out[HEADER_LEN..]));
        let back: Vec<_> =
            events(&out[HEADER_LEN..]).map(|event| (event.timestamp, event.message.to_owned())).collect();
        assert_eq!(back, sent);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut out = Vec::new();
        Body::new(77, &[(5, "hello".to_owned())]).place(1, &mut out);
        for at in 0..out.len() {
            let mut bad = out.clone();
            bad[at] ^= 4;
            let noticed = Header::decode(&bad).is_none_or(|header| !header.is_intact(&bad[HEADER_LEN..]));
            assert!(noticed, "byte {at}");
        }
        assert_eq!(Header::decode(&out[..51]), None);
    }
}
