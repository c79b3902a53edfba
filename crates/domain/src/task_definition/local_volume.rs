//! What `driverOpts` of a Docker volume with the driver `local` mean. Only kinds of file systems that cannot read a disk
//! of the host are mounted: a tmpfs, an NFS export, and a directory of the host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What stands behind a local volume that has options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LocalMount {
    /// A directory of the host that is there already (`o=bind`).
    Directory {
        /// Where it is.
        path: String,
        /// `o=bind,ro`.
        read_only: bool,
    },
    /// A file system that is mounted for the volume.
    FileSystem {
        /// `tmpfs`, `nfs` or `nfs4`.
        kind: String,
        /// What is mounted: `:/export` for NFS.
        device: String,
        /// Mount options.
        options: Vec<String>,
    },
}

/// Why options of the driver cannot be honoured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocalVolumeError {
    /// The driver has no such option, or not here.
    #[error("driverOpts '{0}'")]
    Option(String),
    /// A file system that is not mounted for tasks.
    #[error("driverOpts type '{0}'")]
    Kind(String),
    /// One option needs another.
    #[error("driverOpts without '{0}'")]
    Missing(&'static str),
}

/// Reads the options; none make an ordinary directory.
///
/// # Errors
/// [`LocalVolumeError`] names what cannot be honoured.
pub fn local_mount(options: &BTreeMap<String, String>) -> Result<Option<LocalMount>, LocalVolumeError> {
    if let Some(unknown) = options.keys().find(|name| !["type", "o", "device"].contains(&name.as_str())) {
        return Err(LocalVolumeError::Option(unknown.clone()));
    }
    if options.is_empty() {
        return Ok(None);
    }
    let given = |name: &str| options.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let device = given("device").ok_or(LocalVolumeError::Missing("device"))?.to_owned();
    let flags: Vec<&str> = given("o").into_iter().flat_map(|text| text.split(',')).filter(|o| !o.is_empty()).collect();
    if flags.iter().any(|flag| matches!(*flag, "bind" | "rbind")) {
        if let Some(other) = flags.iter().find(|flag| !matches!(**flag, "bind" | "rbind" | "ro" | "rw")) {
            return Err(LocalVolumeError::Option(format!("o={other}")));
        }
        if !device.starts_with('/') {
            return Err(LocalVolumeError::Option(format!("device={device}")));
        }
        return Ok(Some(LocalMount::Directory { path: device, read_only: flags.contains(&"ro") }));
    }
    match given("type").ok_or(LocalVolumeError::Missing("type"))? {
        kind @ ("tmpfs" | "nfs" | "nfs4") => Ok(Some(LocalMount::FileSystem {
            kind: kind.to_owned(),
            device,
            options: flags.into_iter().map(str::to_owned).collect(),
        })),
        other => Err(LocalVolumeError::Kind(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[(&str, &str)]) -> Result<Option<LocalMount>, String> {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        local_mount(&options).map_err(|error| error.to_string())
    }

    #[test]
    fn options_name_a_directory_or_a_file_system() {
        assert_eq!(read(&[]), Ok(None));
        let directory = |read_only| Ok(Some(LocalMount::Directory { path: "/srv".to_owned(), read_only }));
        assert_eq!(read(&[("type", "none"), ("o", "bind"), ("device", "/srv")]), directory(false));
        assert_eq!(read(&[("o", "bind,ro"), ("device", "/srv")]), directory(true));
        let file_system = |kind: &str, device: &str, options: &[&str]| {
            let options = options.iter().map(|option| (*option).to_owned()).collect();
            Ok(Some(LocalMount::FileSystem { kind: kind.to_owned(), device: device.to_owned(), options }))
        };
        assert_eq!(
            read(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m,uid=7")]),
            file_system("tmpfs", "tmpfs", &["size=1m", "uid=7"])
        );
        assert_eq!(
            read(&[("type", "nfs"), ("device", ":/export"), ("o", "addr=10.0.0.1,nfsvers=4")]),
            file_system("nfs", ":/export", &["addr=10.0.0.1", "nfsvers=4"])
        );
    }

    #[test]
    fn what_could_read_a_disk_of_the_host_is_refused_by_name() {
        for (options, expected) in [
            (&[("type", "ext4"), ("device", "/dev/sda1")][..], "driverOpts type 'ext4'"),
            (&[("type", "overlay"), ("device", "x"), ("o", "lowerdir=/etc")], "driverOpts type 'overlay'"),
            (&[("type", "proc"), ("device", "proc")], "driverOpts type 'proc'"),
            (&[("o", "bind,shared"), ("device", "/srv")], "driverOpts 'o=shared'"),
            (&[("o", "bind"), ("device", "srv")], "driverOpts 'device=srv'"),
            (&[("size", "10m")], "driverOpts 'size'"),
            (&[("type", "tmpfs")], "driverOpts without 'device'"),
            (&[("device", "/dev/sda1")], "driverOpts without 'type'"),
        ] {
            assert_eq!(read(options), Err(expected.to_owned()), "{options:?}");
        }
    }
}
