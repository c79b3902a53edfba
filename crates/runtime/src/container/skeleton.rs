//! The places that every container has something mounted on, as a layer below its own.
//!
//! An image need not have `/proc` or `/etc/hosts`. Making what is missing in each container's writable layer costs more
//! than all of its mounts (a copy of `/etc` and up to six new files); one shared layer has it all, once for the host.
//! Docker has such a layer too, for each container.

use std::{
    fs, io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::{ContainerSpec, MountSource};

const DIRECTORIES: [&str; 3] = ["dev", "proc", "sys"];

/// Only where all of them are mounted over: as empty files they would hide the image's own.
const FILES: [&str; 3] = ["etc/hostname", "etc/hosts", "etc/resolv.conf"];

/// Makes the layers below `directory`, where they are missing.
pub(super) fn make(directory: &Path) -> io::Result<()> {
    for (name, files) in [("plain", &[][..]), ("full", &FILES)] {
        let layer = directory.join(name);
        for place in DIRECTORIES.into_iter().chain(if files.is_empty() { None } else { Some("etc") }) {
            let place = layer.join(place);
            fs::create_dir_all(&place)?;
            fs::set_permissions(&place, fs::Permissions::from_mode(0o755))?;
        }
        for file in files {
            fs::OpenOptions::new().append(true).create(true).mode(0o644).open(layer.join(file))?;
        }
    }
    Ok(())
}

/// The layer for a container, to be put on top of its image's.
pub(super) fn layer(directory: &Path, spec: &ContainerSpec) -> PathBuf {
    let is_covered = |file: &str| {
        let mut mounts = spec.mounts.iter();
        mounts.any(|mount| mount.target.trim_start_matches('/') == file && matches!(mount.source, MountSource::Bind(_)))
    };
    directory.join(if FILES.into_iter().all(is_covered) { "full" } else { "plain" })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::container::{Mount, spec::tests::spec};

    #[test]
    fn files_of_the_image_are_hidden_only_by_what_is_mounted_on_them() {
        let mut spec = spec();
        assert_eq!(layer(Path::new("/s"), &spec), Path::new("/s/plain"));
        for target in ["/etc/hosts", "/etc/resolv.conf", "/etc/hostname"] {
            assert_eq!(layer(Path::new("/s"), &spec), Path::new("/s/plain"));
            let source = MountSource::Bind("/x".into());
            spec.mounts.push(Mount { source, target: target.into(), readonly: false });
        }
        assert_eq!(layer(Path::new("/s"), &spec), Path::new("/s/full"));
    }

    #[test]
    fn making_them_can_be_repeated() {
        let directory = tempfile::tempdir().unwrap();
        make(directory.path()).unwrap();
        make(directory.path()).unwrap();
        assert!(directory.path().join("plain/proc").is_dir());
        assert!(!directory.path().join("plain/etc").exists());
        assert!(directory.path().join("full/etc/hosts").is_file());
    }
}
