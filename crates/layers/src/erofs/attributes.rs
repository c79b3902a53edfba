//! Extended attributes: which of an archive's are kept, and how EROFS stores them.
//!
//! A filesystem's own checks would refuse some attributes, which unpacking then leaves out (Docker does so too). EROFS
//! stores whatever it is given and fails when it is *read*, so the same checks are made here.

use crate::{
    LayerError,
    archive::{Entry, Kind},
};

const VALUE_BYTES_MAX: usize = u16::MAX as usize;
const NAME_BYTES_MAX: usize = 255;

/// One attribute as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attribute {
    /// Number of the name's prefix.
    index: u8,
    /// The rest of the name.
    name: Box<[u8]>,
    value: Box<[u8]>,
}

impl Attribute {
    /// overlayfs: hides everything that lower layers have in this directory.
    pub(super) fn opaque() -> Self {
        Self { index: 4, name: Box::from(&b"overlay.opaque"[..]), value: Box::from(&b"y"[..]) }
    }

    pub(super) fn has_name_of(&self, other: &Self) -> bool {
        self.index == other.index && self.name == other.name
    }

    pub(super) fn bytes(&self) -> usize {
        self.name.len() + self.value.len()
    }
}

/// The attributes of `entry` that are kept.
///
/// Those of overlayfs itself would let a layer redirect lookups to elsewhere: they are never taken from an archive.
pub(super) fn wanted(entry: &Entry) -> Result<Vec<Attribute>, LayerError> {
    let mut wanted: Vec<Attribute> = Vec::new();
    if entry.kind == Kind::Symlink {
        return Ok(wanted);
    }
    for (full, value) in &entry.xattrs {
        if full.starts_with("trusted.overlay.") || full.starts_with("user.overlay.") || full.contains('\0') {
            continue;
        }
        if full.len() > NAME_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
            return Err(LayerError::corrupt(format!("extended attribute of {} bytes", value.len())));
        }
        let Some((index, name)) = split(full) else { continue };
        let fits = match full.as_str() {
            "system.posix_acl_access" => entry_is_acl(value),
            "system.posix_acl_default" => entry.kind == Kind::Directory && entry_is_acl(value),
            "security.capability" => is_capability(value),
            _ => index != 1 || matches!(entry.kind, Kind::File | Kind::Directory),
        };
        if fits {
            let attribute = Attribute { index, name: Box::from(name.as_bytes()), value: Box::from(value.as_slice()) };
            wanted.retain(|other| !other.has_name_of(&attribute));
            wanted.push(attribute);
        }
    }
    Ok(wanted)
}

/// Prefixes that EROFS knows; any other is one that Linux filesystems do not store.
fn split(full: &str) -> Option<(u8, &str)> {
    match full {
        "system.posix_acl_access" => return Some((2, "")),
        "system.posix_acl_default" => return Some((3, "")),
        _ => {}
    }
    [(1, "user."), (4, "trusted."), (6, "security.")]
        .into_iter()
        .find_map(|(index, prefix)| Some((index, full.strip_prefix(prefix)?)))
        .filter(|(_, name)| !name.is_empty())
}

/// Version 2, and entries of known kinds.
fn entry_is_acl(value: &[u8]) -> bool {
    let Some((version, entries)) = value.split_first_chunk::<4>() else { return false };
    let known = |entry: &[u8]| matches!(entry, [1 | 2 | 4 | 8 | 16 | 32, 0, 0..=7, 0, ..]);
    *version == [2, 0, 0, 0] && entries.len() % 8 == 0 && !entries.is_empty() && entries.chunks(8).all(known)
}

/// Versions 2 and 3 with their lengths, the only ones that can be set.
fn is_capability(value: &[u8]) -> bool {
    matches!((value.len(), value.get(3)), (20, Some(2)) | (24, Some(3)))
}

/// Bytes that the attributes take behind their inode.
pub(super) fn stored_bytes(attributes: &[Attribute]) -> usize {
    if attributes.is_empty() {
        return 0;
    }
    12 + attributes.iter().map(|attribute| (4 + attribute.bytes()).next_multiple_of(4)).sum::<usize>()
}

/// Appends the attributes as they stand behind their inode.
pub(super) fn store(attributes: &[Attribute], bytes: &mut Vec<u8>) {
    if attributes.is_empty() {
        return;
    }
    bytes.extend_from_slice(&[0; 12]);
    for attribute in attributes {
        // Lengths were checked when the attribute was taken.
        bytes.push(u8::try_from(attribute.name.len()).unwrap_or(u8::MAX));
        bytes.push(attribute.index);
        bytes.extend_from_slice(&u16::try_from(attribute.value.len()).unwrap_or(u16::MAX).to_le_bytes());
        bytes.extend_from_slice(&attribute.name);
        bytes.extend_from_slice(&attribute.value);
        bytes.resize(bytes.len() + (4 - (attribute.bytes() % 4)) % 4, 0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn kept(kind: Kind, name: &str, value: &[u8]) -> bool {
        let entry = Entry {
            path: vec![],
            kind,
            link: vec![],
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            device: (0, 0),
            xattrs: vec![(name.to_owned(), value.to_vec())],
        };
        !wanted(&entry).unwrap().is_empty()
    }

    #[test]
    fn attributes_that_no_filesystem_would_store_are_left_out() {
        let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let acl = [2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255];
        for (kind, name, value, expected) in [
            (Kind::File, "user.a", &b"x"[..], true),
            (Kind::Fifo, "user.a", b"x", false),
            (Kind::Symlink, "trusted.a", b"x", false),
            (Kind::File, "user.", b"x", false),
            (Kind::File, "other.a", b"x", false),
            (Kind::File, "system.other", b"x", false),
            (Kind::File, "trusted.overlay.opaque", b"y", false),
            (Kind::File, "security.selinux", b"", true),
            (Kind::File, "security.capability", &capability, true),
            (Kind::File, "security.capability", b"nonsense", false),
            (Kind::File, "system.posix_acl_access", &acl, true),
            (Kind::File, "system.posix_acl_default", &acl, false),
            (Kind::Directory, "system.posix_acl_default", &acl, true),
            (Kind::File, "system.posix_acl_access", &acl[..9], false),
        ] {
            assert_eq!(kept(kind, name, value), expected, "{kind:?} {name}");
        }
    }
}
