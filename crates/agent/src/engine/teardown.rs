//! What a stopped task held is freed. Everything may be repeated; what cannot be removed is told and left.

use std::{fs, io, path::PathBuf};

use tracing::warn;

use crate::{
    host::Host,
    managed_volumes,
    reason::chain,
    record::blocking,
    task::{TaskNetwork, TaskSpec},
};

/// Takes apart what a stopped task held: processes, networks, cgroup, writable layers, task volumes, generated files.
pub(crate) async fn tear_down(host: &Host, task: &TaskSpec, ids: &[String]) {
    let failed = |what: &str, error: &dyn std::error::Error| {
        warn!(task = task.id(), what, error = chain(error), "left-over was not removed");
    };
    // Networks first: another task may be waiting for the ports.
    for id in ids {
        if matches!(task.network, TaskNetwork::Bridge | TaskNetwork::None | TaskNetwork::Awsvpc(_))
            && let Err(error) = host.runtime.networks.remove(id).await
        {
            failed("container network", &error);
        }
    }
    if matches!(task.network, TaskNetwork::Awsvpc(_))
        && let Err(error) = host.runtime.networks.remove(task.id()).await
    {
        failed("task network", &error);
    }
    for id in ids {
        if let Err(error) = host.runtime.containers.remove(id).await {
            failed("container", &error);
        }
        if let Err(error) = host.runtime.images.remove_rootfs(id).await {
            failed("writable layer", &error);
        }
    }
    if let Err(error) = host.runtime.containers.remove_task_cgroup(task.id()).await {
        failed("task cgroup", &error);
    }
    if let Err(error) = managed_volumes::detach(host, task).await {
        failed("mounts of volumes", &error);
    }
    let volumes = host.dirs.volumes(task.id()).task;
    let mut directories: Vec<PathBuf> = ids.iter().map(|id| host.dirs.etc(id)).collect();
    directories.extend([volumes, host.dirs.firelens(task.id())]);
    let removed = blocking(move || {
        for directory in directories {
            match fs::remove_dir_all(&directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    });
    if let Err(error) = removed.await {
        failed("volumes", &error);
    }
}
