//! Directories that only a lower layer describes.
//!
//! Layers are unpacked apart from each other, so that they can be unpacked at the same time and shared. Some builders
//! leave out the entries of parent directories: a layer with `tmp/x` alone gets a plain `tmp`, and on top of a base
//! image that plain directory would hide that `/tmp` is 1777. For such images one more layer is laid on top, holding
//! nothing but the directories concerned with the attributes they should have. overlayfs takes a merged directory's
//! attributes from the topmost layer that has it.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{copy::copy_attributes, digest::sha256, failure::Failure, store::Store, unpack::Layer};

/// More than any builder leaves out; beyond it the attributes stay as they are.
const IMPLIED_MAX: usize = 20_000;

/// The name under which the extra layer of an image with these layers is stored.
pub(super) fn extra_layer_id(diff_ids: &[String]) -> String {
    sha256(format!("parents of {}", diff_ids.join(" ")).as_bytes())
}

/// Makes the extra layer of an image whose `diff_ids` (lowest first) are all unpacked, when it needs one.
pub(super) fn make_extra_layer(store: &Store, diff_ids: &[String]) -> Result<(), Failure> {
    let id = extra_layer_id(diff_ids);
    if store.has_layer(&id) {
        return Ok(());
    }
    diff_ids.iter().try_for_each(|diff_id| store.mount_layer(diff_id))?;
    // Topmost first from here on.
    let stack: Vec<(PathBuf, Layer)> = diff_ids
        .iter()
        .rev()
        .map(|diff_id| (store.layer_root(diff_id), store.layer(diff_id).unwrap_or_default()))
        .collect();
    let wanted = directories_to_repeat(&stack);
    if wanted.is_empty() {
        return Ok(());
    }
    let failed = |error| Failure::io("make the layer of parent directories", error);
    let scratch = store.scratch()?;
    let root = scratch.join("fs");
    fs::create_dir(&root).map_err(failed)?;
    for (path, source) in &wanted {
        let target = root.join(path);
        fs::create_dir_all(&target).map_err(failed)?;
        copy_attributes(source, &target).map_err(failed)?;
    }
    let layer = Layer { entries: wanted.len() as u64, implied: vec![], ..Layer::default() };
    store.adopt_layer(&id, &scratch, &layer)
}

/// The directory whose attributes the image's root has: from the topmost layer that describes it.
pub(super) fn root_source(store: &Store, diff_ids: &[String]) -> Option<PathBuf> {
    let describes = |diff_id: &&String| store.layer(diff_id).is_some_and(|layer| layer.root_explicit);
    diff_ids.iter().rev().find(describes).map(|diff_id| store.layer_root(diff_id))
}

/// Paths to put into the extra layer, parents before children, each with the directory to copy attributes from.
fn directories_to_repeat(stack: &[(PathBuf, Layer)]) -> Vec<(String, PathBuf)> {
    let implied: BTreeSet<&str> =
        stack.iter().flat_map(|(_, layer)| layer.implied.iter().map(String::as_str)).collect();
    if implied.len() > IMPLIED_MAX {
        tracing::warn!(count = implied.len(), "too many undescribed directories in an image");
        return Vec::new();
    }
    let mut wanted = BTreeSet::new();
    for path in implied {
        if let Some(Merged { source, topmost: false }) = merged(stack, path)
            && !is_plain(&source)
        {
            wanted.extend(prefixes(path));
        }
    }
    wanted.into_iter().filter_map(|path| Some((path.to_owned(), merged(stack, path)?.source))).collect()
}

fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at]).chain(std::iter::once(path))
}

struct Merged {
    source: PathBuf,
    /// The topmost layer that has the directory is the one that describes it.
    topmost: bool,
}

/// Where the attributes of directory `path` should come from. `None` when it is no directory in the merged image.
fn merged(stack: &[(PathBuf, Layer)], path: &str) -> Option<Merged> {
    let mut first: Option<PathBuf> = None;
    for (root, layer) in stack {
        let look = look(root, path);
        if let Look::Directory { .. } = look {
            let source = root.join(path);
            if layer.implied.binary_search_by(|implied| implied.as_str().cmp(path)).is_err() {
                return Some(Merged { source, topmost: first.is_none() });
            }
            first.get_or_insert(source);
        }
        match look {
            Look::Hidden | Look::Directory { opaque: true } => break,
            Look::Absent | Look::Directory { opaque: false } => {}
        }
    }
    first.map(|source| Merged { source, topmost: true })
}

enum Look {
    /// Lower layers decide.
    Absent,
    /// Whatever lower layers have there is out of sight.
    Hidden,
    Directory {
        opaque: bool,
    },
}

fn look(root: &Path, path: &str) -> Look {
    let mut opaque = is_opaque(root);
    for prefix in prefixes(path) {
        let here = root.join(prefix);
        match fs::symlink_metadata(&here) {
            Ok(meta) if meta.is_dir() => opaque |= is_opaque(&here),
            Ok(_) => return Look::Hidden,
            Err(_) if opaque => return Look::Hidden,
            Err(_) => return Look::Absent,
        }
    }
    Look::Directory { opaque }
}

fn is_opaque(path: &Path) -> bool {
    rustix::fs::lgetxattr(path, "trusted.overlay.opaque", &mut [0u8; 4][..]).is_ok()
}

/// What an undescribed directory gets anyway.
fn is_plain(path: &Path) -> bool {
    let xattrs = rustix::fs::llistxattr(path, &mut [0u8; 0][..]);
    fs::symlink_metadata(path).is_ok_and(|meta| meta.mode() & 0o7777 == 0o755 && meta.uid() == 0 && meta.gid() == 0)
        && !matches!(xattrs, Ok(1..))
}
