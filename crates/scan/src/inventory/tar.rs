//! A tar archive as a stream of entries. Nothing is kept but the current header; long names have a bound.
//!
//! Understands ustar prefixes, GNU long names and PAX records for path, link and size. Contents of sparse files are
//! what is stored, without the holes: no package database is sparse.

use std::io::{self, Read};

const BLOCK: usize = 512;
/// Longest extension header (long name, PAX records): far beyond PATH_MAX.
const EXTENSION_BYTES_MAX: u64 = 1 << 20;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    HardLink,
    Directory,
    /// Symbolic links, devices, pipes.
    Other,
}

/// An entry's header.
#[derive(Debug)]
pub(super) struct Entry {
    /// Without `./` and slashes at both ends; none when it leaves the root by `..`.
    pub(super) path: Option<String>,
    /// Target of a hard link, cleaned likewise.
    pub(super) link: Option<String>,
    pub(super) kind: Kind,
    pub(super) size: u64,
    pub(super) mode: u64,
}

/// The archive; reads the content of the current entry.
pub(super) struct Tar<R> {
    input: R,
    /// Bytes of the current entry still to come.
    content: u64,
    /// And the zeros after them.
    padding: u64,
}

#[derive(Default)]
struct Extensions {
    path: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

impl<R: Read> Tar<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, content: 0, padding: 0 }
    }

    /// The next entry; none at the end of the archive.
    pub(super) fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut extensions = Extensions::default();
        loop {
            self.skip()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let size = number(&header[124..136])?;
            self.begin(size);
            match header[156] {
                b'L' => extensions.path = Some(self.extension()?),
                b'K' => extensions.link = Some(self.extension()?),
                b'x' => {
                    let text = self.extension()?;
                    extensions.take_pax(&text)?;
                }
                b'g' => drop(self.extension()?),
                kind => return Ok(Some(self.entry(&header, kind, extensions))),
            }
        }
    }

    fn begin(&mut self, size: u64) {
        self.content = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    fn entry(&mut self, header: &[u8; BLOCK], kind: u8, extensions: Extensions) -> Entry {
        let name = || {
            let name = text(&header[..100]);
            let prefix = text(&header[345..500]);
            let ustar = &header[257..263] == b"ustar\0";
            if ustar && !prefix.is_empty() { format!("{prefix}/{name}") } else { name }
        };
        let kind = match kind {
            b'0' | 0 | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'5' => Kind::Directory,
            _ => Kind::Other,
        };
        if let Some(size) = extensions.size {
            self.begin(size);
        }
        // Some writers give links the size of their target, without content.
        if matches!(kind, Kind::HardLink | Kind::Directory) {
            self.begin(0);
        }
        let path = extensions.path.unwrap_or_else(name);
        let link = extensions.link.unwrap_or_else(|| text(&header[157..257]));
        let mode = number(&header[100..108]).unwrap_or_default();
        Entry { path: clean(&path), link: clean(&link), kind, size: self.content, mode }
    }

    /// The next header block that is not the end.
    fn header(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let sum: u64 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { u64::from(b' ') } else { u64::from(*byte) })
            .sum();
        if number(&block[148..156])? == sum { Ok(Some(block)) } else { Err(invalid("a header has a wrong checksum")) }
    }

    fn extension(&mut self) -> io::Result<String> {
        if self.content > EXTENSION_BYTES_MAX {
            return Err(invalid("an extended header is too long"));
        }
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned())
    }

    /// Passes over what is left of the current entry.
    fn skip(&mut self) -> io::Result<()> {
        let mut left = self.content + self.padding;
        (self.content, self.padding) = (0, 0);
        let mut buffer = [0; 16 * 1024];
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            match self.input.read(&mut buffer[..length])? {
                // An archive may end with its last content; it may not end inside of it, but a reader cannot tell.
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => left -= read as u64,
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for Tar<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.content).unwrap_or(usize::MAX).min(buffer.len());
        if length == 0 {
            return Ok(0);
        }
        match self.input.read(&mut buffer[..length])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.content -= read as u64;
                Ok(read)
            }
        }
    }
}

impl Extensions {
    /// Records `LENGTH KEY=VALUE\n`, where the length counts itself.
    fn take_pax(&mut self, mut text: &str) -> io::Result<()> {
        while !text.is_empty() {
            let (length, _) = text.split_once(' ').ok_or_else(|| invalid("a PAX record has no length"))?;
            let length: usize = length.parse().map_err(|_| invalid("a PAX record has no length"))?;
            let record = text.get(..length).ok_or_else(|| invalid("a PAX record is cut"))?;
            text = &text[length..];
            let Some((_, pair)) = record.trim_end_matches('\n').split_once(' ') else {
                return Err(invalid("a PAX record is empty"));
            };
            match pair.split_once('=') {
                Some(("path", value)) => self.path = Some(value.to_owned()),
                Some(("linkpath", value)) => self.link = Some(value.to_owned()),
                Some(("size", value)) => {
                    let size = value.parse().ok().filter(|size| *size <= SIZE_MAX);
                    self.size = Some(size.ok_or_else(|| invalid("a PAX size is no number"))?);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Largest size believed, so that sums cannot overflow.
const SIZE_MAX: u64 = 1 << 60;

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Octal digits, or base 256 when the first bit is set.
fn number(field: &[u8]) -> io::Result<u64> {
    let wrong = || invalid("a header field is no number");
    let value = if field[0] & 0x80 != 0 {
        let first = u64::from(field[0] & 0x7f);
        field[1..].iter().try_fold(first, |sum, byte| {
            sum.checked_mul(256).map(|sum| sum + u64::from(*byte)).filter(|sum| *sum <= SIZE_MAX)
        })
    } else {
        let digits = text(field);
        let digits = digits.trim();
        if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 8).ok() }
    };
    value.filter(|value| *value <= SIZE_MAX).ok_or_else(wrong)
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

fn clean(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => return None,
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
