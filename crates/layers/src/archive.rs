//! Reads a tar stream entry by entry: ustar, GNU long names and PAX records, as far as image layers use them.
//!
//! Everything that a header can make us hold in memory is bounded here. The `tar` crate's own iterator is not used:
//! it reads long names of any length into memory and splits PAX records at newlines, which breaks binary attributes.

use std::io::{self, BufRead};

use tar::{EntryType, Header};

use crate::LayerError;

const BLOCK: u64 = 512;
/// Longest PAX header or GNU long name; Go's reader has the same bound.
const EXTENSION_BYTES_MAX: u64 = 1 << 20;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file, the only kind with content.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Another name of an earlier entry.
    Hardlink,
    /// A character device.
    Character,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
}

/// One entry, PAX and GNU extensions applied.
#[derive(Debug)]
pub struct Entry {
    /// As in the archive, not cleaned.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Target of a symbolic or hard link.
    pub link: Vec<u8>,
    /// Permission, setuid, setgid and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds and nanoseconds since the epoch.
    pub mtime: (i64, u32),
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes by full name.
    pub xattrs: Vec<(String, Vec<u8>)>,
}

/// Extensions that apply to the next entry.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<(i64, u32)>,
    xattrs: Vec<(String, Vec<u8>)>,
}

pub(crate) struct Archive<R> {
    reader: R,
    /// Content of the current entry that was not read yet, and the padding after it.
    content: u64,
    padding: u64,
    headers: u64,
    headers_max: u64,
}

impl<R: BufRead> Archive<R> {
    pub(crate) fn new(reader: R, headers_max: u64) -> Self {
        Self { reader, content: 0, padding: 0, headers: 0, headers_max }
    }

    /// Entries seen so far, extension headers included.
    pub(crate) fn headers(&self) -> u64 {
        self.headers
    }

    /// Moves to the next entry, past what was not read of the current one. `None` at the end of the archive.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, LayerError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_rest()?;
            let Some(header) = self.read_header()? else { return Ok(None) };
            let kind = header.entry_type();
            let size = number(&header.as_old().size)?;
            match kind {
                EntryType::XHeader => {
                    let records = self.read_extension(size)?;
                    apply_pax(&records, &mut extensions)?;
                }
                EntryType::GNULongName => extensions.path = Some(until_nul(self.read_extension(size)?)),
                EntryType::GNULongLink => extensions.link = Some(until_nul(self.read_extension(size)?)),
                EntryType::XGlobalHeader => drop(self.read_extension(size)?),
                EntryType::GNUSparse => return Err(LayerError::corrupt("sparse files are not supported in layers")),
                _ => {
                    let size = extensions.size.unwrap_or(size);
                    if let Some(entry) = self.entry(&header, kind, size, &mut extensions)? {
                        return Ok(Some(entry));
                    }
                    extensions = Extensions::default();
                }
            }
        }
    }

    /// Hands the content of the current entry to `sink`, piece by piece.
    pub(crate) fn read_content(
        &mut self,
        mut sink: impl FnMut(&[u8]) -> Result<(), LayerError>,
    ) -> Result<(), LayerError> {
        while self.content > 0 {
            let piece = self.reader.fill_buf().map_err(broken_stream)?;
            if piece.is_empty() {
                return Err(truncated());
            }
            let length = piece.len().min(usize::try_from(self.content).unwrap_or(usize::MAX));
            sink(&piece[..length])?;
            self.reader.consume(length);
            self.content -= length as u64;
        }
        Ok(())
    }

    /// Reads to the end of the stream, so that its digest covers what follows the archive too.
    pub(crate) fn drain(mut self) -> Result<(), LayerError> {
        loop {
            let length = self.reader.fill_buf().map_err(broken_stream)?.len();
            if length == 0 {
                return Ok(());
            }
            self.reader.consume(length);
        }
    }

    fn entry(
        &mut self,
        header: &Header,
        kind: EntryType,
        size: u64,
        extensions: &mut Extensions,
    ) -> Result<Option<Entry>, LayerError> {
        let path = extensions.path.take().unwrap_or_else(|| header.path_bytes().into_owned());
        let kind = match kind {
            // Archives older than POSIX mark directories by a slash only.
            EntryType::Regular if path.ends_with(b"/") => Some(Kind::Directory),
            EntryType::Regular | EntryType::Continuous => Some(Kind::File),
            EntryType::Directory => Some(Kind::Directory),
            EntryType::Symlink => Some(Kind::Symlink),
            EntryType::Link => Some(Kind::Hardlink),
            EntryType::Char => Some(Kind::Character),
            EntryType::Block => Some(Kind::Block),
            EntryType::Fifo => Some(Kind::Fifo),
            _ => None,
        };
        // Only files have content, whatever the size field of a link says.
        if matches!(kind, Some(Kind::File) | None) {
            self.start_content(size);
        }
        let Some(kind) = kind else { return Ok(None) };
        let id = |wide: u64| u32::try_from(wide).map_err(|_| LayerError::corrupt(format!("user or group id {wide}")));
        let device = match (kind, header.as_ustar(), header.as_gnu()) {
            (Kind::Character | Kind::Block, Some(ustar), _) => (&ustar.dev_major, &ustar.dev_minor),
            (Kind::Character | Kind::Block, _, Some(gnu)) => (&gnu.dev_major, &gnu.dev_minor),
            _ => (&[0; 8], &[0; 8]),
        };
        let fields = header.as_old();
        let (uid, gid) = (extensions.uid.take(), extensions.gid.take());
        Ok(Some(Entry {
            link: match extensions.link.take() {
                Some(link) => link,
                None => header.link_name_bytes().unwrap_or_default().into_owned(),
            },
            mode: u32::try_from(number(&fields.mode)? & 0o7777).unwrap_or_default(),
            uid: id(uid.map_or_else(|| number(&fields.uid), Ok)?)?,
            gid: id(gid.map_or_else(|| number(&fields.gid), Ok)?)?,
            mtime: extensions
                .mtime
                .take()
                .unwrap_or_else(|| (number(&fields.mtime).ok().and_then(|s| i64::try_from(s).ok()).unwrap_or(0), 0)),
            device: (id(number(device.0)?)?, id(number(device.1)?)?),
            xattrs: std::mem::take(&mut extensions.xattrs),
            path,
            kind,
        }))
    }

    fn start_content(&mut self, size: u64) {
        self.content = size;
        self.padding = (BLOCK - size % BLOCK) % BLOCK;
    }

    fn skip_rest(&mut self) -> Result<(), LayerError> {
        self.read_content(|_| Ok(()))?;
        self.content = std::mem::take(&mut self.padding);
        self.read_content(|_| Ok(()))
    }

    fn read_extension(&mut self, size: u64) -> Result<Vec<u8>, LayerError> {
        if size > EXTENSION_BYTES_MAX {
            return Err(LayerError::corrupt(format!("extended header of {size} bytes")));
        }
        self.start_content(size);
        let mut bytes = Vec::new();
        self.read_content(|piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    fn read_header(&mut self) -> Result<Option<Header>, LayerError> {
        // A stream that ends here without the two zero blocks is accepted, as Go's reader does.
        if self.reader.fill_buf().map_err(broken_stream)?.is_empty() {
            return Ok(None);
        }
        let mut header = Header::new_old();
        self.reader.read_exact(header.as_mut_bytes()).map_err(broken_stream)?;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        self.headers += 1;
        if self.headers > self.headers_max {
            return Err(LayerError::corrupt(format!("more than {} entries in a layer", self.headers_max)));
        }
        let sum = header
            .as_bytes()
            .iter()
            .enumerate()
            .fold(0u32, |sum, (at, byte)| sum + if (148..156).contains(&at) { 32 } else { u32::from(*byte) });
        if number(&header.as_old().cksum)? != u64::from(sum) {
            return Err(LayerError::corrupt("tar header checksum does not match"));
        }
        Ok(Some(header))
    }
}

/// A numeric field: octal digits between blanks, or binary when the first bit is set. An empty field is zero, which the
/// `tar` crate's own accessors refuse but which writers of minimal headers produce.
fn number(field: &[u8]) -> Result<u64, LayerError> {
    let bad = || LayerError::corrupt("tar header: a numeric field is not a number");
    if let Some((first, rest)) = field.split_first()
        && first & 0x80 != 0
    {
        // A set second bit means a negative number, which no field but a time could be.
        let start = if first & 0x40 != 0 { None } else { Some(u64::from(first & 0x3f)) };
        return rest
            .iter()
            .try_fold(start.ok_or_else(bad)?, |value, byte| Some(value.checked_mul(256)? + u64::from(*byte)))
            .ok_or_else(bad);
    }
    let blank = |byte: &u8| *byte == 0 || *byte == b' ';
    let digits = field.iter().skip_while(|byte| blank(byte)).take_while(|byte| !blank(byte));
    digits
        .map(|digit| (b'0'..=b'7').contains(digit).then(|| u64::from(digit - b'0')))
        .try_fold(0u64, |value, digit| value.checked_mul(8)?.checked_add(digit?))
        .ok_or_else(bad)
}

fn truncated() -> LayerError {
    LayerError::corrupt("archive ends in the middle of an entry")
}

fn broken_stream(error: io::Error) -> LayerError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => truncated(),
        _ => LayerError::corrupt(error.to_string()),
    }
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

/// PAX records: `LENGTH KEY=VALUE\n`, where the length counts the whole record and the value may be binary.
fn apply_pax(mut records: &[u8], extensions: &mut Extensions) -> Result<(), LayerError> {
    let bad = || LayerError::corrupt("malformed PAX record");
    while !records.is_empty() {
        let space = records.iter().take(20).position(|byte| *byte == b' ').ok_or_else(bad)?;
        let length: usize =
            std::str::from_utf8(&records[..space]).ok().and_then(|digits| digits.parse().ok()).ok_or_else(bad)?;
        let record = records.get(space + 1..length).ok_or_else(bad)?;
        let record = record.strip_suffix(b"\n").ok_or_else(bad)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(bad)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        apply_record(std::str::from_utf8(key).map_err(|_| bad())?, value, extensions).ok_or_else(bad)?;
        if key.starts_with(b"GNU.sparse.") {
            return Err(LayerError::corrupt("sparse files are not supported in layers"));
        }
        records = &records[length..];
    }
    Ok(())
}

fn apply_record(key: &str, value: &[u8], extensions: &mut Extensions) -> Option<()> {
    let number = || std::str::from_utf8(value).ok()?.parse::<u64>().ok();
    match key {
        "path" => extensions.path = Some(value.to_vec()),
        "linkpath" => extensions.link = Some(value.to_vec()),
        "size" => extensions.size = Some(number()?),
        "uid" => extensions.uid = Some(number()?),
        "gid" => extensions.gid = Some(number()?),
        "mtime" => extensions.mtime = Some(pax_time(std::str::from_utf8(value).ok()?)?),
        _ => {
            if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                extensions.xattrs.push((name.to_owned(), value.to_vec()));
            }
        }
    }
    Some(())
}

fn pax_time(text: &str) -> Option<(i64, u32)> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let seconds: i64 = seconds.parse().ok()?;
    match (text.starts_with('-'), nanoseconds) {
        (true, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds)),
        _ => Some((seconds, nanoseconds)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        let mut record = format!("{length} {key}=").into_bytes();
        record.extend_from_slice(value);
        record.push(b'\n');
        record
    }

    #[test]
    fn pax_values_may_be_binary() {
        let capability = b"\x01\x00\n\x02=\n9 x=y\n";
        let mut records = record("SCHILY.xattr.security.capability", capability);
        records.extend(record("path", &b"long/".repeat(60)));
        records.extend(record("mtime", b"-1.25"));
        let mut extensions = Extensions::default();
        apply_pax(&records, &mut extensions).unwrap();
        assert_eq!(extensions.xattrs, [("security.capability".to_owned(), capability.to_vec())]);
        assert_eq!(extensions.path.unwrap().len(), 300);
        assert_eq!(extensions.mtime, Some((-2, 750_000_000)));
    }

    #[test]
    fn malformed_pax_records_are_refused() {
        for bad in [
            &b"x"[..],
            b"5",
            b"99 a=b\n",
            b"0 a=b\n",
            b"6 a=b",
            b"6 aab\n",
            b"3 \n",
            b"18446744073709551615 a=b\n",
            b"10 size=x\n",
            b"13 mtime=1.x\n",
            b"2 ",
            b"\xff a=b\n",
        ] {
            assert!(apply_pax(bad, &mut Extensions::default()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn numbers_are_octal_or_binary_or_absent() {
        for (field, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\x02", Some(0x102)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"0009\0", None),
            (b"77777777777777777777777", None),
        ] {
            assert_eq!(number(field).ok(), expected, "{field:?}");
        }
    }

    #[test]
    fn times_are_read_to_the_nanosecond() {
        assert_eq!(pax_time("12"), Some((12, 0)));
        assert_eq!(pax_time("12.5"), Some((12, 500_000_000)));
        assert_eq!(pax_time("12.1234567899"), Some((12, 123_456_789)));
        assert_eq!(pax_time("-1"), Some((-1, 0)));
        assert_eq!(pax_time("x"), None);
    }

    #[test]
    fn garbage_is_an_error_or_an_end_but_never_a_panic() {
        proptest::proptest!(|(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..3000))| {
            let mut archive = Archive::new(&bytes[..], 10);
            while let Ok(Some(_)) = archive.next_entry() {}
        });
    }

    #[test]
    fn headers_and_extensions_are_bounded() {
        let mut builder = tar::Builder::new(Vec::new());
        for name in ["a", "b", "c"] {
            let mut header = Header::new_gnu();
            header.set_size(0);
            header.set_cksum();
            builder.append_data(&mut header, name, io::empty()).unwrap();
        }
        let bytes = builder.into_inner().unwrap();
        let mut archive = Archive::new(&bytes[..], 2);
        assert!(archive.next_entry().unwrap().is_some());
        assert!(archive.next_entry().unwrap().is_some());
        assert!(matches!(archive.next_entry(), Err(LayerError::Corrupt(_))));

        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::GNULongName);
        header.set_size(1 << 40);
        header.set_cksum();
        let mut archive = Archive::new(&header.as_bytes()[..], 2);
        assert!(matches!(archive.next_entry(), Err(LayerError::Corrupt(detail)) if detail.contains("extended header")));
    }
}
