//! RPM: package headers, in whichever of the three databases they lie.

mod bdb;
mod ndb;
mod sqlite;

use super::{Manager, PACKAGES_PER_FILE_MAX, Package};

/// A database that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damaged;

/// `rpmdb.sqlite`, with its write-ahead log when there is one.
pub(super) fn sqlite(database: &[u8], wal: Option<&[u8]>, path: &str) -> Result<Vec<Package>, Damaged> {
    let mut found = Vec::new();
    sqlite::Database::open(database, wal)?.table("Packages", |header| add(&mut found, header, path))?;
    Ok(found)
}

/// `Packages`, a hash table of Berkeley DB.
pub(super) fn bdb(database: &[u8], path: &str) -> Result<Vec<Package>, Damaged> {
    let mut found = Vec::new();
    bdb::values(database, |header| add(&mut found, header, path))?;
    Ok(found)
}

/// `Packages.db`, RPM's own format.
pub(super) fn ndb(database: &[u8], path: &str) -> Result<Vec<Package>, Damaged> {
    let mut found = Vec::new();
    ndb::values(database, |header| add(&mut found, header, path))?;
    Ok(found)
}

fn add(found: &mut Vec<Package>, header: &[u8], path: &str) {
    if found.len() < PACKAGES_PER_FILE_MAX {
        found.extend(package(header, path));
    }
}

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const ARCH: u32 = 1022;
const SOURCE_RPM: u32 = 1044;
const TYPE_INT32: u32 = 4;
const TYPE_STRING: u32 = 6;

/// A header: counts, index entries of 16 bytes, data.
fn package(header: &[u8], path: &str) -> Option<Package> {
    let count = usize::try_from(u32_be(header, 0)?).ok()?;
    let size = usize::try_from(u32_be(header, 4)?).ok()?;
    let index = header.get(8..8_usize.checked_add(count.checked_mul(16)?)?)?;
    let data = header.get(8 + index.len()..)?;
    let data = &data[..size.min(data.len())];
    let mut package = Package::new(Manager::Rpm, "", "", path);
    let (mut version, mut release, mut epoch) = (String::new(), String::new(), 0);
    for entry in index.chunks_exact(16) {
        let (tag, kind, offset) = (u32_be(entry, 0)?, u32_be(entry, 4)?, u32_be(entry, 8)?);
        let Some(value) = data.get(usize::try_from(offset).ok()?..) else { continue };
        match (tag, kind) {
            (NAME, TYPE_STRING) => package.name = text(value),
            (VERSION, TYPE_STRING) => version = text(value),
            (RELEASE, TYPE_STRING) => release = text(value),
            (ARCH, TYPE_STRING) => package.arch = text(value),
            (EPOCH, TYPE_INT32) => epoch = u32_be(value, 0)?,
            (SOURCE_RPM, TYPE_STRING) => package.source = source(&text(value)),
            _ => {}
        }
    }
    let prefix = if epoch == 0 { String::new() } else { format!("{epoch}:") };
    package.version = format!("{prefix}{version}-{release}");
    if let Some((_, source_version)) = &mut package.source {
        source_version.insert_str(0, &prefix);
    }
    // Keys of signers are kept as packages.
    (package.name != "gpg-pubkey" && !version.is_empty() && package.is_named()).then_some(package)
}

/// `openssl-3.0.7-16.el9.src.rpm`
fn source(file: &str) -> Option<(String, String)> {
    let stem = file.strip_suffix(".src.rpm").or_else(|| file.strip_suffix(".nosrc.rpm"))?;
    let (rest, release) = stem.rsplit_once('-')?;
    let (name, version) = rest.rsplit_once('-')?;
    Some((name.to_owned(), format!("{version}-{release}")))
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().take(512).position(|byte| *byte == 0).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn u32_be(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u32_le(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u16_be(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?)))
}

fn u16_le(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?)))
}

/// Largest header read: the kernel's, with its file list, has under 4 MiB.
const HEADER_BYTES_MAX: usize = 32 << 20;

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A package header as rpm writes it.
    pub(crate) fn header(name: &str, epoch: u32, version: &str, release: &str, source: &str) -> Vec<u8> {
        let (mut index, mut data): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
        let mut add = |tag: u32, kind: u32, value: &[u8]| {
            for number in [tag, kind, data.len() as u32, 1] {
                index.extend(number.to_be_bytes());
            }
            data.extend(value);
        };
        add(EPOCH, TYPE_INT32, &epoch.to_be_bytes());
        for (tag, value) in
            [(NAME, name), (VERSION, version), (RELEASE, release), (ARCH, "x86_64"), (SOURCE_RPM, source)]
        {
            add(tag, TYPE_STRING, format!("{value}\0").as_bytes());
        }
        let mut bytes = (index.len() as u32 / 16).to_be_bytes().to_vec();
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend(index);
        bytes.extend(data);
        bytes
    }

    #[test]
    fn headers_are_read() {
        let bytes = header("openssl-libs", 1, "3.0.7", "16.el9_2", "openssl-3.0.7-16.el9_2.src.rpm");
        let found = package(&bytes, "p").unwrap();
        assert_eq!((found.name.as_str(), found.version.as_str()), ("openssl-libs", "1:3.0.7-16.el9_2"));
        assert_eq!(found.source, Some(("openssl".into(), "1:3.0.7-16.el9_2".into())));
        for cut in 0..bytes.len() {
            let _ = package(&bytes[..cut], "p");
        }
        let mut wild = bytes.clone();
        for at in 0..bytes.len() {
            wild[at] = 0xff;
            let _ = package(&wild, "p");
            wild[at] = bytes[at];
        }
    }
}
