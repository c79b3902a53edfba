//! A zip archive as a sequence of its files, read without holding the list of them: archives of advisories have
//! hundreds of thousands.
//!
//! Stored and deflated files; zip64; no encryption, no parts on several disks.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

const END: &[u8; 4] = b"PK\x05\x06";
const END64: &[u8; 4] = b"PK\x06\x06";
const END64_LOCATOR: &[u8; 4] = b"PK\x06\x07";
const CENTRAL: &[u8; 4] = b"PK\x01\x02";
const LOCAL: &[u8; 4] = b"PK\x03\x04";

/// Where the central directory lies, and how many entries it has.
struct Directory {
    offset: u64,
    entries: u64,
}

/// Calls `each` with the name and the content of every file whose name `wanted` accepts, at most `bytes_max` bytes
/// of it; longer ones are passed as an error.
pub(super) fn for_each<E: From<io::Error>>(
    path: &std::path::Path,
    bytes_max: u64,
    wanted: impl Fn(&str) -> bool,
    mut each: impl FnMut(&str, io::Result<&[u8]>) -> Result<(), E>,
) -> Result<(), E> {
    let mut file = File::open(path)?;
    let directory = directory(&mut file)?;
    let mut central = BufReader::with_capacity(256 * 1024, File::open(path)?);
    central.seek(SeekFrom::Start(directory.offset))?;
    let mut content = Vec::new();
    for _ in 0..directory.entries {
        let entry = entry(&mut central)?;
        if !wanted(&entry.name) {
            continue;
        }
        content.clear();
        match read(&mut file, &entry, bytes_max, &mut content) {
            Ok(()) => each(&entry.name, Ok(&content))?,
            Err(error) => each(&entry.name, Err(error))?,
        }
    }
    Ok(())
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Finds the end record, which only a comment may follow.
fn directory(file: &mut File) -> io::Result<Directory> {
    const END_BYTES: u64 = 22;
    let length = file.seek(SeekFrom::End(0))?;
    let tail_length = length.min(END_BYTES + 65_535);
    file.seek(SeekFrom::Start(length - tail_length))?;
    let mut tail = Vec::new();
    file.by_ref().take(tail_length).read_to_end(&mut tail)?;
    let at = memchr::memmem::rfind(&tail, END).ok_or_else(|| invalid("not a zip archive"))?;
    let end = &tail[at..];
    if end.len() < 22 {
        return Err(invalid("the archive is cut"));
    }
    let (entries, offset) = (number(end, 10, 2), number(end, 16, 4));
    if entries != 0xffff && offset != 0xffff_ffff {
        return Ok(Directory { offset, entries });
    }
    let locator = at.checked_sub(20).map(|at| &tail[at..at + 20]).filter(|locator| locator.starts_with(END64_LOCATOR));
    let Some(locator) = locator else { return Ok(Directory { offset, entries }) };
    file.seek(SeekFrom::Start(number(locator, 8, 8)))?;
    let mut end = [0; 56];
    file.read_exact(&mut end)?;
    if !end.starts_with(END64) {
        return Err(invalid("the archive has no zip64 record where it says"));
    }
    Ok(Directory { offset: number(&end, 48, 8), entries: number(&end, 32, 8) })
}

struct Entry {
    name: String,
    method: u64,
    compressed: u64,
    offset: u64,
}

fn entry(central: &mut impl Read) -> io::Result<Entry> {
    let mut fixed = [0; 46];
    central.read_exact(&mut fixed)?;
    if !fixed.starts_with(CENTRAL) {
        return Err(invalid("the archive's directory is damaged"));
    }
    let mut name = vec![0; usize::from(u16::from_le_bytes([fixed[28], fixed[29]]))];
    let mut extra = vec![0; usize::from(u16::from_le_bytes([fixed[30], fixed[31]]))];
    central.read_exact(&mut name)?;
    central.read_exact(&mut extra)?;
    io::copy(&mut central.take(number(&fixed, 32, 2)), &mut io::sink())?;
    let mut entry = Entry {
        name: String::from_utf8_lossy(&name).into_owned(),
        method: number(&fixed, 10, 2),
        compressed: number(&fixed, 20, 4),
        offset: number(&fixed, 42, 4),
    };
    entry.take_zip64(&extra, number(&fixed, 24, 4) == 0xffff_ffff);
    Ok(entry)
}

impl Entry {
    /// Field 1 of the extra data holds, in order, those numbers that did not fit.
    fn take_zip64(&mut self, mut extra: &[u8], size_is_wide: bool) {
        while extra.len() >= 4 {
            let (id, length) = (number(extra, 0, 2), usize::from(u16::from_le_bytes([extra[2], extra[3]])));
            let Some(field) = extra.get(4..4 + length) else { return };
            extra = &extra[4 + length..];
            if id != 1 {
                continue;
            }
            let mut numbers = field.chunks_exact(8).map(|bytes| number(bytes, 0, 8)).skip(usize::from(size_is_wide));
            if self.compressed == 0xffff_ffff {
                self.compressed = numbers.next().unwrap_or(self.compressed);
            }
            if self.offset == 0xffff_ffff {
                self.offset = numbers.next().unwrap_or(self.offset);
            }
        }
    }
}

fn read(file: &mut File, entry: &Entry, bytes_max: u64, content: &mut Vec<u8>) -> io::Result<()> {
    file.seek(SeekFrom::Start(entry.offset))?;
    let mut local = [0; 30];
    file.read_exact(&mut local)?;
    if !local.starts_with(LOCAL) {
        return Err(invalid("a file is not where the directory says"));
    }
    file.seek(SeekFrom::Current((number(&local, 26, 2) + number(&local, 28, 2)) as i64))?;
    let stored = BufReader::new(file.take(entry.compressed));
    let read = match entry.method {
        0 => stored.take(bytes_max + 1).read_to_end(content)?,
        8 => flate2::bufread::DeflateDecoder::new(stored).take(bytes_max + 1).read_to_end(content)?,
        _ => return Err(invalid("a file is compressed in a way that is not supported")),
    };
    if read as u64 > bytes_max { Err(invalid("a file is too large")) } else { Ok(()) }
}

fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    bytes[at..at + size].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}
