//! Compares a layer that was unpacked with its EROFS image.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    process::Command,
};

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountPropagationFlags, mount_change};

use crate::image::erofs;

/// Everything a container could see of one entry.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    device: u64,
    links: u64,
    /// First path with the same inode.
    same_as: PathBuf,
    mtime: (i64, i64),
    attributes: BTreeMap<String, Vec<u8>>,
    content: Vec<u8>,
}

/// Panics when `root` differs from what is in `image`, as mounted on `target`. Kernels that mount no images from files
/// only get the check by erofs-utils, where that is installed.
pub(super) fn check(root: &Path, image: &Path, target: &Path) {
    if let Ok(output) = Command::new("fsck.erofs").arg(image).output() {
        assert!(output.status.success(), "fsck.erofs: {}", String::from_utf8_lossy(&output.stderr));
    }
    let scratch = tempfile::tempdir().unwrap();
    if erofs::probe(scratch.path()).is_err() {
        return;
    }
    std::thread::scope(|scope| {
        let mounted = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
            erofs::mount(image, target).unwrap();
            look(target)
        });
        let (mut mounted, mut unpacked) = (mounted.join().unwrap(), look(root));
        for (path, seen) in &mut mounted {
            let Some(other) = unpacked.get_mut(path) else { panic!("{path:?} is in the image only") };
            // What no entry describes has the time of unpacking in one and none in the other.
            if seen.mtime == (0, 0) {
                other.mtime = (0, 0);
            }
            assert_eq!(seen, other, "{path:?}");
        }
        assert_eq!(mounted.len(), unpacked.len());
    });
}

fn look(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let (mut seen, mut first) = (BTreeMap::new(), BTreeMap::new());
    look_at(root, Path::new(""), &mut first, &mut seen);
    seen
}

fn look_at(root: &Path, path: &Path, first: &mut BTreeMap<u64, PathBuf>, seen: &mut BTreeMap<PathBuf, Seen>) {
    let here = root.join(path);
    let meta = fs::symlink_metadata(&here).unwrap();
    let content = match meta.file_type() {
        kind if kind.is_file() => fs::read(&here).unwrap(),
        kind if kind.is_symlink() => fs::read_link(&here).unwrap().into_os_string().into_encoded_bytes(),
        _ => Vec::new(),
    };
    let is_device = meta.file_type().is_char_device() || meta.file_type().is_block_device();
    let same_as = first.entry(meta.ino()).or_insert_with(|| path.to_owned()).clone();
    seen.insert(
        path.to_owned(),
        Seen {
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            device: if is_device { meta.rdev() } else { 0 },
            links: meta.nlink(),
            same_as,
            mtime: (meta.mtime(), meta.mtime_nsec()),
            attributes: attributes(&here),
            content,
        },
    );
    if meta.is_dir() {
        let mut names: Vec<_> = fs::read_dir(&here).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            // Found by listing and by name.
            look_at(root, &path.join(name), first, seen);
        }
    }
}

fn attributes(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let names = String::from_utf8_lossy(&names[..length]).into_owned();
    let value = |name: &str| {
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        value.truncate(length);
        value
    };
    names.split_terminator('\0').map(|name| (name.to_owned(), value(name))).collect()
}
