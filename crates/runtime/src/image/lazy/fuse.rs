//! As much of the kernel's FUSE protocol (version 7) as a file system with one file in it needs. Bytes in, bytes out;
//! whoever calls reads and writes `/dev/fuse`.
//!
//! Structures: Linux, `include/uapi/linux/fuse.h`. Numbers are in the machine's own byte order.

use std::time::Duration;

/// Name of the one file.
pub(super) const FILE: &str = "image";
const ROOT_NODE: u64 = 1;
const FILE_NODE: u64 = 2;

/// Longest request: the kernel wants room for `MAX_WRITE` and a header, and at least 8 KiB.
pub(super) const REQUEST_BYTES: usize = 16 << 10;
const MAX_WRITE: u32 = 4096;
/// Longest answer to a read, in pages.
const MAX_PAGES: u16 = 256;
/// Reads that the kernel may have under way beside those that somebody waits for.
const BACKGROUND_MAX: u16 = 64;

const HEADER_BYTES: usize = 40;
const ANSWER_HEADER_BYTES: usize = 16;
const MAJOR: u32 = 7;
const MINOR: u32 = 38;
const ASYNC_READ: u32 = 1;
const ASYNC_DIO: u32 = 1 << 15;
const MAX_PAGES_GIVEN: u32 = 1 << 22;
const WANTED: u32 = ASYNC_READ | ASYNC_DIO | MAX_PAGES_GIVEN;
/// What is read through the file is cached by whoever reads (EROFS), not a second time below it.
const OPEN_DIRECT_IO: u32 = 1;
const NOTIFY_RESEND: i32 = 7;
/// Nothing here ever changes.
const VALID: Duration = Duration::from_secs(86_400);

/// What the kernel asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Which version is spoken; the kernel's flags.
    Init(u32),
    /// The file of that name in the root directory; false for any other name.
    Lookup(bool),
    /// Attributes of a node.
    Attributes,
    /// Opening the file.
    Open,
    /// This many bytes of the file from there.
    Read { offset: u64, size: u32 },
    /// Whoever waits for the request of this number was killed.
    Interrupt(u64),
    /// Something that wants no answer.
    Silent,
    /// Something to agree to.
    Agree,
    /// Sizes of the file system.
    Statistics,
    /// What this file system does not have.
    Unknown,
}

/// A request: what is asked, about which node, and the number to answer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) unique: u64,
    pub(super) node: u64,
    pub(super) asked: Asked,
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
}

/// Reads one request; `None` when it is none.
pub(super) fn parse(bytes: &[u8]) -> Option<Request> {
    let (opcode, unique, node) = (u32_at(bytes, 4)?, u64_at(bytes, 8)?, u64_at(bytes, 16)?);
    let body = bytes.get(HEADER_BYTES..)?;
    let asked = match opcode {
        1 => {
            let name = body.split(|byte| *byte == 0).next().unwrap_or_default();
            Asked::Lookup(node == ROOT_NODE && name == FILE.as_bytes())
        }
        // FORGET and BATCH_FORGET.
        2 | 42 => Asked::Silent,
        3 => Asked::Attributes,
        14 => Asked::Open,
        15 => Asked::Read { offset: u64_at(body, 8)?, size: u32_at(body, 16)? },
        17 => Asked::Statistics,
        // RELEASE, FLUSH, OPENDIR, RELEASEDIR, ACCESS, DESTROY.
        18 | 25 | 27 | 29 | 34 | 38 => Asked::Agree,
        26 => Asked::Init(u32_at(body, 12)?),
        36 => Asked::Interrupt(u64_at(body, 0)?),
        _ => Asked::Unknown,
    };
    Some(Request { unique, node, asked })
}

/// The answer to everything but reads and interrupts, which the caller has to think about. `None`: say nothing.
pub(super) fn answer(request: &Request, file_bytes: u64) -> Option<Vec<u8>> {
    let unique = request.unique;
    Some(match request.asked {
        Asked::Init(flags) => success(unique, &init(flags)),
        Asked::Lookup(true) => success(unique, &entry(file_bytes)),
        Asked::Lookup(false) => failure(unique, libc::ENOENT),
        Asked::Attributes => success(unique, &attributes_answer(request.node, file_bytes)),
        Asked::Open => success(unique, &[&[0; 8][..], &OPEN_DIRECT_IO.to_ne_bytes(), &[0; 4]].concat()),
        // Of `struct fuse_kstatfs` nobody reads more than that it is there.
        Asked::Statistics => success(unique, &[0; 80]),
        Asked::Agree => success(unique, &[]),
        Asked::Unknown => failure(unique, libc::ENOSYS),
        Asked::Silent | Asked::Read { .. } | Asked::Interrupt(_) => return None,
    })
}

/// The header of an answer with `length` bytes of content behind it.
pub(super) fn header(unique: u64, length: usize) -> [u8; ANSWER_HEADER_BYTES] {
    answer_header(unique, length, 0)
}

/// A refusal with an error number.
pub(super) fn failure(unique: u64, error: i32) -> Vec<u8> {
    answer_header(unique, 0, -error).to_vec()
}

/// Asks the kernel for every request once more that nobody has answered: whoever read them is gone (Linux 6.9).
pub(super) fn resend() -> Vec<u8> {
    answer_header(0, 0, NOTIFY_RESEND).to_vec()
}

fn success(unique: u64, content: &[u8]) -> Vec<u8> {
    [&header(unique, content.len())[..], content].concat()
}

fn answer_header(unique: u64, length: usize, error: i32) -> [u8; ANSWER_HEADER_BYTES] {
    let mut bytes = [0; ANSWER_HEADER_BYTES];
    let whole = u32::try_from(ANSWER_HEADER_BYTES + length).unwrap_or(u32::MAX);
    bytes[..4].copy_from_slice(&whole.to_ne_bytes());
    bytes[4..8].copy_from_slice(&error.to_ne_bytes());
    bytes[8..].copy_from_slice(&unique.to_ne_bytes());
    bytes
}

fn init(offered: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    // Version, read-ahead, flags.
    for number in [MAJOR, MINOR, 1 << 20, WANTED & offered] {
        bytes.extend_from_slice(&number.to_ne_bytes());
    }
    for number in [BACKGROUND_MAX, BACKGROUND_MAX / 4 * 3] {
        bytes.extend_from_slice(&number.to_ne_bytes());
    }
    // Longest write, granularity of times.
    for number in [MAX_WRITE, 1] {
        bytes.extend_from_slice(&number.to_ne_bytes());
    }
    bytes.extend_from_slice(&MAX_PAGES.to_ne_bytes());
    bytes.resize(64, 0);
    bytes
}

fn entry(file_bytes: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    // Node, generation, how long the name and the attributes are valid.
    for number in [FILE_NODE, 0, VALID.as_secs(), VALID.as_secs(), 0] {
        bytes.extend_from_slice(&number.to_ne_bytes());
    }
    bytes.extend_from_slice(&attributes(FILE_NODE, file_bytes));
    bytes
}

fn attributes_answer(node: u64, file_bytes: u64) -> Vec<u8> {
    [&VALID.as_secs().to_ne_bytes()[..], &[0; 8], &attributes(node, file_bytes)].concat()
}

fn attributes(node: u64, file_bytes: u64) -> Vec<u8> {
    let (mode, links, size) = match node {
        ROOT_NODE => (libc::S_IFDIR | 0o500, 2, 0),
        _ => (libc::S_IFREG | 0o400, 1, file_bytes),
    };
    let mut bytes = Vec::with_capacity(88);
    // Number, size, blocks, three times.
    for number in [node, size, size.div_ceil(512), 0, 0, 0] {
        bytes.extend_from_slice(&number.to_ne_bytes());
    }
    // Nanoseconds of these, mode, links, owner, group, device, block size, flags.
    for number in [0, 0, 0, mode, links, 0, 0, 0, 4096, 0] {
        bytes.extend_from_slice(&number.to_ne_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn request(opcode: u32, node: u64, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[4..8].copy_from_slice(&opcode.to_ne_bytes());
        bytes[8..16].copy_from_slice(&77u64.to_ne_bytes());
        bytes[16..24].copy_from_slice(&node.to_ne_bytes());
        [&bytes, body].concat()
    }

    #[test]
    fn answers_have_the_lengths_that_the_kernel_expects() {
        let bodies: [(u32, u64, &[u8], usize); 6] = [
            (26, 0, &[0xff; 64], 64),
            (1, 1, b"image\0", 128),
            (3, 2, &[0; 16], 104),
            (14, 2, &[0; 8], 16),
            (17, 1, &[], 80),
            (18, 2, &[0; 24], 0),
        ];
        for (opcode, node, body, length) in bodies {
            let parsed = parse(&request(opcode, node, body)).unwrap();
            let answer = answer(&parsed, 4096).unwrap();
            assert_eq!(answer.len(), ANSWER_HEADER_BYTES + length, "{opcode}");
            assert_eq!(u32_at(&answer, 0), Some(answer.len() as u32));
            assert_eq!((u32_at(&answer, 4), u64_at(&answer, 8)), (Some(0), Some(77)));
        }
    }

    #[test]
    fn reads_are_understood_and_other_names_and_operations_refused() {
        let read = [&[0; 8][..], &9u64.to_ne_bytes(), &5u32.to_ne_bytes(), &[0; 20]].concat();
        assert_eq!(parse(&request(15, 2, &read)).unwrap().asked, Asked::Read { offset: 9, size: 5 });
        assert_eq!(parse(&request(15, 2, &read[..19])), None, "cut short");
        let other = parse(&request(1, 1, b"other\0")).unwrap();
        assert_eq!(answer(&other, 0).unwrap(), failure(77, libc::ENOENT));
        let write = parse(&request(16, 2, &[])).unwrap();
        assert_eq!(answer(&write, 0).unwrap(), failure(77, libc::ENOSYS));
        assert_eq!(answer(&parse(&request(2, 2, &[])).unwrap(), 0), None);
    }
}
