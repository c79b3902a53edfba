//! Programs: what Go and `cargo auditable` leave in them.
//!
//! A program is read as a stream. Go's build information is found by its magic wherever it comes; the section of
//! `cargo auditable` is found by the section table at the end of the file, so programs beyond a size are not looked
//! at for it.

use std::io::{self, Read};

use memchr::memmem::Finder;

use super::{Package, cargo, go};

/// Largest program kept whole for its section table.
const WHOLE_BYTES_MAX: usize = 32 << 20;
/// Largest list of crates, inflated.
const CRATES_BYTES_MAX: u64 = 8 << 20;
const CHUNK: usize = 64 * 1024;

/// Reads a program to its end. `first` is what was read already.
pub(super) fn packages(first: &[u8], mut rest: impl Read, path: &str) -> io::Result<Vec<Package>> {
    let mut search = Search::new();
    let mut whole = first.to_vec();
    let mut cut = false;
    search.feed(first);
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = rest.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        search.feed(&chunk[..read]);
        cut = cut || whole.len() + read > WHOLE_BYTES_MAX;
        if cut {
            whole = Vec::new();
        } else {
            whole.extend_from_slice(&chunk[..read]);
        }
    }
    let mut found = search.found.and_then(|bytes| go::build_info(&bytes, path)).unwrap_or_default();
    if let Some(section) = section(&whole, b".dep-v0") {
        let mut json = Vec::new();
        let inflated = flate2::read::ZlibDecoder::new(section).take(CRATES_BYTES_MAX).read_to_end(&mut json);
        if inflated.is_ok() {
            found.extend(cargo::embedded(&json, path).unwrap_or_default());
        }
    }
    Ok(found)
}

/// Looks for the magic at multiples of 16 bytes, and keeps what follows.
struct Search {
    finder: Finder<'static>,
    /// The end of what was seen, in case the magic lies across two chunks.
    tail: Vec<u8>,
    /// Offset of the first byte of `tail`.
    offset: usize,
    found: Option<Vec<u8>>,
}

impl Search {
    fn new() -> Self {
        Self { finder: Finder::new(go::MAGIC), tail: Vec::new(), offset: 0, found: None }
    }

    fn feed(&mut self, bytes: &[u8]) {
        const ALIGNMENT: usize = 16;
        if let Some(found) = &mut self.found {
            let room = go::BUILD_INFO_BYTES_MAX - found.len();
            found.extend_from_slice(&bytes[..bytes.len().min(room)]);
            return;
        }
        self.tail.extend_from_slice(bytes);
        let at = self.finder.find_iter(&self.tail).find(|at| (self.offset + at).is_multiple_of(ALIGNMENT));
        if let Some(at) = at {
            let mut found = std::mem::take(&mut self.tail).split_off(at);
            found.truncate(go::BUILD_INFO_BYTES_MAX);
            self.found = Some(found);
            return;
        }
        let done = self.tail.len().saturating_sub(go::MAGIC.len() - 1);
        self.tail.drain(..done);
        self.offset += done;
    }
}

/// The bytes of a section of a little-endian ELF file.
fn section<'a>(file: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let wide = match (file.get(4)?, file.get(5)?) {
        (1, 1) => false,
        (2, 1) => true,
        _ => return None,
    };
    let number = |at: usize, size: usize| -> Option<usize> {
        let bytes = file.get(at..at.checked_add(size)?)?;
        usize::try_from(bytes.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))).ok()
    };
    let (table, size, count, names) = if wide {
        (number(40, 8)?, number(58, 2)?, number(60, 2)?, number(62, 2)?)
    } else {
        (number(32, 4)?, number(46, 2)?, number(48, 2)?, number(50, 2)?)
    };
    let part = |index: usize| -> Option<(usize, &'a [u8])> {
        let at = table.checked_add(size.checked_mul(index)?)?;
        let (offset, length) = if wide {
            (number(at.checked_add(24)?, 8)?, number(at.checked_add(32)?, 8)?)
        } else {
            (number(at.checked_add(16)?, 4)?, number(at.checked_add(20)?, 4)?)
        };
        Some((number(at, 4)?, file.get(offset..offset.checked_add(length)?)?))
    };
    let (_, names) = part(names)?;
    (0..count).filter_map(part).find_map(|(at, bytes)| {
        let rest = names.get(at..)?;
        (rest.starts_with(name) && rest.get(name.len()) == Some(&0)).then_some(bytes)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_magic_is_found_across_chunks_and_only_where_it_is_aligned() {
        for size in [1, 7, 16, 1000] {
            let mut file = vec![0; 320];
            file[101..101 + go::MAGIC.len()].copy_from_slice(go::MAGIC);
            file[160..160 + go::MAGIC.len()].copy_from_slice(go::MAGIC);
            let mut search = Search::new();
            file.chunks(size).for_each(|chunk| search.feed(chunk));
            assert_eq!(search.found.unwrap(), &file[160..]);
        }
    }

    #[test]
    fn the_section_of_cargo_auditable_is_read() {
        use std::io::Write;
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        zlib.write_all(br#"{"packages":[{"name":"time","version":"0.1.40","source":"crates.io"}]}"#).unwrap();
        let list = zlib.finish().unwrap();
        // Header, the list, the names, two section headers.
        let names = b"\0.dep-v0\0";
        let table = 64 + list.len() + names.len();
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[40..48].copy_from_slice(&(table as u64).to_le_bytes());
        file[58] = 64;
        file[60] = 2;
        file[62] = 1;
        file.extend(&list);
        file.extend(names);
        for (name, offset, length) in [(1_u32, 64, list.len()), (0, 64 + list.len(), names.len())] {
            let mut header = vec![0; 64];
            header[..4].copy_from_slice(&name.to_le_bytes());
            header[24..32].copy_from_slice(&(offset as u64).to_le_bytes());
            header[32..40].copy_from_slice(&(length as u64).to_le_bytes());
            file.extend(header);
        }
        let found = packages(&file[..10], &file[10..], "bin/x").unwrap();
        assert_eq!((found.len(), found[0].name.as_str()), (1, "time"));
        for at in 0..file.len() {
            let mut wild = file.clone();
            wild[at] ^= 0xff;
            let _ = packages(&wild[..10], &wild[10..], "bin/x");
        }
    }
}
