//! `[file_systems.ID]`: what stands behind the file system ids in tasks' volumes, and `access_points` of each.

use std::{collections::BTreeMap, path::PathBuf};

use gantry_agent::{AccessPoint, FileSystemConfig, FileSystemConfigs, Owner};
use serde::Deserialize;

/// As the file says it.
pub(crate) type FileSystemsFile = BTreeMap<String, FileSystemFile>;

/// `[file_systems.fs-0123]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FileSystemFile {
    path: PathBuf,
    access_points: BTreeMap<String, AccessPointFile>,
}

/// `[file_systems.fs-0123.access_points.fsap-0123]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AccessPointFile {
    path: String,
    owner_uid: Option<u32>,
    owner_gid: Option<u32>,
    permissions: Option<String>,
}

/// The checked configuration.
pub(crate) fn file_systems(file: FileSystemsFile, mistakes: &mut Vec<String>) -> FileSystemConfigs {
    let mut configs = FileSystemConfigs::new();
    for (id, given) in file {
        if !id.starts_with("fs-") {
            mistakes.push(format!("file_systems.{id}: the id of a file system begins with fs-"));
        }
        if !given.path.is_absolute() {
            mistakes.push(format!("file_systems.{id}: path must be an absolute path"));
        }
        let mut access_points = BTreeMap::new();
        for (point, given) in given.access_points {
            match access_point(given) {
                Ok(read) => drop(access_points.insert(point, read)),
                Err(why) => mistakes.push(format!("file_systems.{id}.access_points.{point}: {why}")),
            }
        }
        configs.insert(id, FileSystemConfig { path: given.path, access_points });
    }
    configs
}

fn access_point(given: AccessPointFile) -> Result<AccessPoint, &'static str> {
    if given.path.split('/').any(|part| part == "..") {
        return Err("path must not lead out of the file system");
    }
    let owner = match (given.owner_uid, given.owner_gid, given.permissions) {
        (None, None, None) => None,
        (Some(uid), Some(gid), permissions) => {
            let mode = u32::from_str_radix(permissions.as_deref().unwrap_or("755"), 8);
            let mode =
                mode.ok().filter(|mode| *mode <= 0o7777).ok_or("permissions must be an octal number such as 755")?;
            Some(Owner { uid, gid, mode })
        }
        _ => return Err("owner_uid and owner_gid belong together"),
    };
    Ok(AccessPoint { path: given.path, owner })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (FileSystemConfigs, Vec<String>) {
        let mut mistakes = Vec::new();
        let configs = file_systems(toml::from_str(text).expect("parses"), &mut mistakes);
        (configs, mistakes)
    }

    #[test]
    fn a_file_system_is_a_directory_with_access_points() {
        let (configs, mistakes) = read(
            "[fs-12]\npath = '/srv/fs'\n[fs-12.access_points.fsap-1]\npath = '/web'\nowner_uid = 7\nowner_gid = 8\npermissions = '750'\n",
        );
        assert_eq!(mistakes, Vec::<String>::new());
        let owner = Some(Owner { uid: 7, gid: 8, mode: 0o750 });
        assert_eq!(configs["fs-12"].access_points["fsap-1"], AccessPoint { path: "/web".to_owned(), owner });
    }

    #[test]
    fn mistakes_are_told_by_their_place() {
        let (_, mistakes) = read(
            "[x]\npath = 'srv'\n[x.access_points.a]\npath = '/../etc'\n[x.access_points.b]\nowner_uid = 1\n[x.access_points.c]\n\
             owner_uid = 1\nowner_gid = 1\npermissions = '999'\n",
        );
        assert_eq!(mistakes.len(), 5, "{mistakes:?}");
    }
}
