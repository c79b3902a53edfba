//! Mounts a root filesystem out of its layers.

use std::{
    ffi::CString,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::{Path, PathBuf},
};

use rustix::mount::{MountFlags, mount};

use super::Rootfs;

/// The kernel copies mount options into one page.
const OPTIONS_BYTES_MAX: usize = 4095;

/// Mounts `rootfs` on its mount point in the caller's mount namespace.
///
/// # Errors
/// The kernel's, for example when a layer is gone.
pub fn mount_rootfs(rootfs: &Rootfs) -> io::Result<()> {
    let writable = Some((rootfs.upper_dir.as_path(), rootfs.work_dir.as_path()));
    let options = options(&rootfs.lower_dirs, writable)?;
    if options.as_bytes().len() <= OPTIONS_BYTES_MAX {
        return mount_overlay(&rootfs.mount_point, &options);
    }
    // Very many layers: name them by short links that live as long as the writable layer.
    let links = rootfs.work_dir.with_file_name("l");
    fs::create_dir_all(&links)?;
    let mut short = Vec::with_capacity(rootfs.lower_dirs.len());
    for (index, lower) in rootfs.lower_dirs.iter().enumerate() {
        let link = links.join(index.to_string());
        match symlink(lower, &link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => short.push(link),
        }
    }
    mount_short(&short, rootfs)
}

/// Mounts with lower directories given relative to a working directory. The working directory belongs to the whole
/// process, so a thread gets one of its own; the mount lands in the caller's namespace all the same.
fn mount_short(links: &[PathBuf], rootfs: &Rootfs) -> io::Result<()> {
    let directory = links.first().and_then(|link| link.parent()).unwrap_or(Path::new("/"));
    let relative: Vec<PathBuf> = links.iter().filter_map(|link| link.file_name()).map(PathBuf::from).collect();
    let options = options(&relative, Some((&rootfs.upper_dir, &rootfs.work_dir)))?;
    std::thread::scope(|scope| {
        let mounter = scope.spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS)?;
            std::env::set_current_dir(directory)?;
            mount_overlay(&rootfs.mount_point, &options)
        });
        mounter.join().unwrap_or_else(|_| Err(io::Error::other("the mounting thread failed")))
    })
}

/// Mounts `lower_dirs` read-only on `target`.
pub(super) fn mount_read_only(lower_dirs: &[PathBuf], target: &Path) -> io::Result<()> {
    let options = options(lower_dirs, None)?;
    mount("overlay", target, "overlay", MountFlags::RDONLY, options.as_c_str())?;
    Ok(())
}

fn mount_overlay(target: &Path, options: &CString) -> io::Result<()> {
    mount("overlay", target, "overlay", MountFlags::empty(), options.as_c_str())?;
    Ok(())
}

fn options(lower_dirs: &[PathBuf], writable: Option<(&Path, &Path)>) -> io::Result<CString> {
    let mut options = b"lowerdir=".to_vec();
    for (index, lower) in lower_dirs.iter().enumerate() {
        if index > 0 {
            options.push(b':');
        }
        escape(lower, &mut options);
    }
    if let Some((upper, work)) = writable {
        options.extend_from_slice(b",upperdir=");
        escape(upper, &mut options);
        options.extend_from_slice(b",workdir=");
        escape(work, &mut options);
    }
    CString::new(options).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Colons separate layers and commas options.
fn escape(path: &Path, options: &mut Vec<u8>) {
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b':' | b',' | b'\\') {
            options.push(b'\\');
        }
        options.push(*byte);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn separators_in_paths_are_escaped() {
        let lower = [PathBuf::from("/a:b"), PathBuf::from("/c,d\\e")];
        let options = options(&lower, Some((Path::new("/u"), Path::new("/w")))).unwrap();
        assert_eq!(options.to_str().unwrap(), "lowerdir=/a\\:b:/c\\,d\\\\e,upperdir=/u,workdir=/w");
    }
}
