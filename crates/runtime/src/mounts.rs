//! What is mounted where.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

/// Whether something is mounted on `target`. Our mount points lie on the file system of the directory they are in; a
/// missing one has nothing mounted on it.
///
/// # Errors
/// The directory that it is in cannot be looked at.
pub fn is_mounted(target: &Path) -> io::Result<bool> {
    let (Some(parent), Ok(meta)) = (target.parent(), fs::symlink_metadata(target)) else { return Ok(false) };
    Ok(fs::metadata(parent)?.dev() != meta.dev())
}
