//! Keeps one layer on this host: as an EROFS image where the kernel can mount one from a file, else unpacked into
//! directories and files.
//!
//! Both come from the same reading of the archive and are the same filesystem to a container. Nothing is believed:
//! the caller makes the result visible only after the layer's digest was checked.

mod directory;

#[cfg(test)]
mod tests;

use std::{
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

pub(super) use gantry_layers::{Layer, Limits};

use self::directory::Writer;
use super::failure::Failure;

/// File name of a layer's EROFS image, beside the directory `fs` that it is mounted on.
pub(super) const IMAGE: &str = "image.erofs";

/// How a layer is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One file, mounted read-only.
    Erofs,
    /// Directories and files.
    Directory,
}

/// Reads the layer `blob` (gzip, zstd or plain tar, told by its first bytes) into the empty directory `scratch`, as
/// `fs` or as `image.erofs` and an empty `fs`. What is in `scratch/replaced` afterwards is rubbish.
pub(super) fn unpack(
    blob: impl Read + Send,
    scratch: &Path,
    form: Form,
    diff_id: &str,
    limits: Limits,
) -> Result<Layer, Failure> {
    let root = make_root(scratch)?;
    match form {
        Form::Erofs => {
            let image = make_image(scratch)?;
            Ok(gantry_layers::erofs::write(blob, image, diff_id, limits)?)
        }
        Form::Directory => {
            let replaced = scratch.join("replaced");
            fs::create_dir(&replaced).map_err(|error| Failure::io("create a directory", error))?;
            unpack_directory(blob, &root, &replaced, diff_id, limits)
        }
    }
}

/// Unpacks the prepared image `blob` of `image_size` bytes into the empty directory `scratch`, as `image.erofs` and an
/// empty `fs`.
pub(super) fn unpack_prepared(blob: impl Read, scratch: &Path, image_size: u64) -> Result<(), Failure> {
    make_root(scratch)?;
    Ok(gantry_layers::prepared::unpack(blob, &mut make_image(scratch)?, image_size)?)
}

pub(super) fn make_root(scratch: &Path) -> Result<PathBuf, Failure> {
    let root = scratch.join("fs");
    fs::create_dir(&root)
        .and_then(|()| fs::set_permissions(&root, fs::Permissions::from_mode(0o755)))
        .map_err(|error| Failure::io("create a directory", error))?;
    Ok(root)
}

fn make_image(scratch: &Path) -> Result<fs::File, Failure> {
    fs::File::create_new(scratch.join(IMAGE)).map_err(|error| Failure::io("create a layer's image", error))
}

fn unpack_directory(
    blob: impl Read + Send,
    root: &Path,
    replaced: &Path,
    diff_id: &str,
    limits: Limits,
) -> Result<Layer, Failure> {
    let mut writer = Writer::open(root, replaced)?;
    let extent = gantry_layers::read(blob, &mut writer, diff_id, limits)?;
    let written = writer.finish()?;
    Ok(Layer {
        bytes: extent.bytes,
        entries: extent.entries,
        implied: written.implied.into_iter().filter_map(|path| String::from_utf8(path).ok()).collect(),
        root_explicit: written.root_explicit,
    })
}
