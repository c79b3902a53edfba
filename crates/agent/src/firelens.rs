//! FireLens: a task's log router gets a configuration and a socket that the other containers' output goes to. Pure but
//! for [`write()`].
//!
//! - [`configuration()`]: what the router is told.

mod configuration;

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use gantry_runtime::container::{Mount, MountSource};

pub(crate) use configuration::configuration;

use crate::task::{RouterKind, TaskNetwork, TaskSpec};

/// The log driver of containers whose output goes to the router.
pub(crate) const DRIVER: &str = "awsfirelens";
/// Below `DATA/agent`: a directory per task.
pub(crate) const DIRECTORY: &str = "firelens";
/// Where other programs of the task send to.
pub(crate) const PORT: u16 = 24_224;
const SOCKET_DIRECTORY: &str = "/var/run";

/// The socket of a task's router, on the host.
pub(crate) fn socket(directory: &Path, task_id: &str) -> PathBuf {
    directory.join(task_id).join("socket/fluent.sock")
}

/// The variable of the router that has the value of a secret option of container `index`. By its number, because there
/// are names of containers that a configuration could not refer to.
pub(crate) fn variable(option: &str, index: usize) -> String {
    format!("{option}_{index}")
}

/// Where the router finds the configuration that was fetched for it.
pub(crate) fn fetched_file(kind: RouterKind) -> &'static str {
    match kind {
        RouterKind::Fluentbit => "/fluent-bit/etc/external.conf",
        RouterKind::Fluentd => "/fluentd/etc/external.conf",
    }
}

/// Makes the router's files in `directory` and says what to mount for it.
pub(crate) fn write(
    directory: &Path,
    kind: RouterKind,
    generated: &str,
    fetched: Option<&str>,
) -> io::Result<Vec<Mount>> {
    let sockets = directory.join("socket");
    fs::create_dir_all(&sockets)?;
    // Whoever the router runs as; nobody else reaches a path below our data directory.
    fs::set_permissions(&sockets, fs::Permissions::from_mode(0o777))?;
    let mount = |source: PathBuf, target: &str, readonly: bool| Mount {
        source: MountSource::Bind(source),
        target: target.to_owned(),
        readonly,
    };
    let target = match kind {
        RouterKind::Fluentbit => "/fluent-bit/etc/fluent-bit.conf",
        RouterKind::Fluentd => "/fluentd/etc/fluent.conf",
    };
    let mut mounts = vec![mount(sockets, SOCKET_DIRECTORY, false)];
    let fetched = fetched.map(|text| ("external.conf", text, fetched_file(kind)));
    for (name, text, target) in [("fluent.conf", generated, target)].into_iter().chain(fetched) {
        let file = directory.join(name);
        fs::write(&file, text)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
        mounts.push(mount(file, target, true));
    }
    Ok(mounts)
}

/// Where containers find the router's port, given its address in bridge mode.
pub(crate) fn host(task: &TaskSpec, router: Option<std::net::IpAddr>) -> Option<String> {
    match task.network {
        TaskNetwork::Bridge => router.map(|address| address.to_string()),
        TaskNetwork::Awsvpc(_) => Some("127.0.0.1".to_owned()),
        TaskNetwork::Host | TaskNetwork::None => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_router_finds_its_files_where_its_kind_looks_for_them() {
        let folder = tempfile::tempdir().unwrap();
        for (kind, fetched, expected) in [
            (RouterKind::Fluentbit, None, vec!["/var/run", "/fluent-bit/etc/fluent-bit.conf"]),
            (
                RouterKind::Fluentd,
                Some("extra"),
                vec!["/var/run", "/fluentd/etc/fluent.conf", "/fluentd/etc/external.conf"],
            ),
        ] {
            let mounts = write(folder.path(), kind, "generated", fetched).unwrap();
            assert_eq!(mounts.iter().map(|mount| mount.target.as_str()).collect::<Vec<_>>(), expected);
            assert_eq!(
                mounts.iter().map(|mount| mount.readonly).collect::<Vec<_>>(),
                [false, true, true][..mounts.len()]
            );
        }
        assert_eq!(fs::read_to_string(folder.path().join("external.conf")).unwrap(), "extra");
    }
}
