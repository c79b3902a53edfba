//! File systems that tasks name by an id (`efsVolumeConfiguration`): what the instance's configuration puts behind them.
//! Pure; the runtime refuses paths that lead out of a file system when it opens them.

use std::{collections::BTreeMap, path::PathBuf};

use crate::task::FileSystemVolume;

/// File system id → what stands behind it.
pub type FileSystemConfigs = BTreeMap<String, FileSystemConfig>;

/// What stands behind a file system id on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileSystemConfig {
    /// A directory: of a local disk, or one on which the operator mounts NFS or anything else.
    pub path: PathBuf,
    /// Access point id → its root directory.
    pub access_points: BTreeMap<String, AccessPoint>,
}

/// An access point of a file system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessPoint {
    /// Below the file system's root; tasks see nothing above it.
    pub path: String,
    /// Whose the directory is made when it is not there; without it, it must be there.
    pub owner: Option<Owner>,
}

/// Owner and mode of a directory that is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// The file systems of this machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileSystems(FileSystemConfigs);

/// Where a volume is on the host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file system.
    pub(crate) directory: PathBuf,
    /// In it.
    pub(crate) below: String,
    pub(crate) owner: Option<Owner>,
}

/// Why there is no such directory, in the words of the helper that mounts EFS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FileSystemError {
    #[error(
        "failed to invoke EFS utils commands to set up EFS volumes: stderr: Failed to resolve \
         \"{id}.efs.{region}.amazonaws.com\" - check that your file system ID is correct, and ensure that the VPC has \
         an EFS mount target for this file system ID."
    )]
    Unknown { id: String, region: String },
    #[error(
        "failed to invoke EFS utils commands to set up EFS volumes: stderr: b'mount.nfs4: access denied by server while \
         mounting 127.0.0.1:/' : unsuccessful EFS utils command execution; code: 32 (access point {0} is not known)"
    )]
    UnknownAccessPoint(String),
}

impl FileSystems {
    pub(crate) fn new(configured: FileSystemConfigs) -> Self {
        Self(configured)
    }

    /// Where the volume's directory is.
    pub(crate) fn place(&self, wanted: &FileSystemVolume, region: &str) -> Result<Place, FileSystemError> {
        // A file system of another account is named by its ARN.
        let id = wanted.id.rsplit('/').next().unwrap_or_default();
        let known =
            self.0.get(id).ok_or_else(|| FileSystemError::Unknown { id: id.to_owned(), region: region.to_owned() })?;
        let Some(access_point) = &wanted.access_point else {
            return Ok(Place { directory: known.path.clone(), below: relative(&wanted.root_directory), owner: None });
        };
        let point = known.access_points.get(access_point);
        let point = point.ok_or_else(|| FileSystemError::UnknownAccessPoint(access_point.clone()))?;
        Ok(Place { directory: known.path.clone(), below: relative(&point.path), owner: point.owner })
    }
}

/// Without slashes in front; `.` for the root itself. What else is in it is looked at when it is opened.
fn relative(path: &str) -> String {
    match path.trim_matches('/') {
        "" => ".".to_owned(),
        path => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn file_systems() -> FileSystems {
        let owner = Some(Owner { uid: 1000, gid: 1000, mode: 0o750 });
        let access_points =
            BTreeMap::from([("fsap-1".to_owned(), AccessPoint { path: "/apps/web".to_owned(), owner })]);
        FileSystems(BTreeMap::from([("fs-12".to_owned(), FileSystemConfig { path: "/srv/fs".into(), access_points })]))
    }

    fn wanted(id: &str, root: &str, access_point: Option<&str>) -> FileSystemVolume {
        FileSystemVolume {
            id: id.to_owned(),
            root_directory: root.to_owned(),
            access_point: access_point.map(str::to_owned),
        }
    }

    #[test]
    fn a_volume_is_a_directory_of_its_file_system() {
        let below = |root: &str, point: Option<&str>| {
            let place = file_systems().place(&wanted("fs-12", root, point), "r").unwrap();
            assert_eq!(place.directory, PathBuf::from("/srv/fs"));
            (place.below, place.owner.map(|owner| owner.uid))
        };
        assert_eq!(below("", None), (".".to_owned(), None));
        assert_eq!(below("/", None), (".".to_owned(), None));
        assert_eq!(below("/a/b/", None), ("a/b".to_owned(), None));
        assert_eq!(below("/", Some("fsap-1")), ("apps/web".to_owned(), Some(1000)));
        let arn = "arn:aws:elasticfilesystem:r:0:file-system/fs-12";
        assert!(file_systems().place(&wanted(arn, "/", None), "r").is_ok());
    }

    #[test]
    fn what_the_configuration_does_not_know_is_told_in_the_services_words() {
        let unknown = file_systems().place(&wanted("fs-9", "/", None), "eu-west-1").unwrap_err();
        assert!(unknown.to_string().contains("Failed to resolve \"fs-9.efs.eu-west-1.amazonaws.com\""), "{unknown}");
        let unknown = file_systems().place(&wanted("fs-12", "/", Some("fsap-2")), "r").unwrap_err();
        assert_eq!(unknown, FileSystemError::UnknownAccessPoint("fsap-2".to_owned()));
    }
}
