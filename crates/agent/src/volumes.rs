//! Volumes of a task: which directory of the host each mount of a container shows. Pure; `steps` makes them.

use std::path::{Path, PathBuf};

use gantry_runtime::container::{Mount, MountSource};

use crate::{
    engine::state::runtime_id,
    reason::ContainerReason,
    task::{ContainerDefinition, TaskSpec, VolumeSource},
};

/// Where volumes live.
#[derive(Debug, Clone)]
pub(crate) struct VolumeDirs {
    /// `DATA/agent/volumes/<task id>`: goes with the task.
    pub(crate) task: PathBuf,
    /// `DATA/agent/shared-volumes`: stays.
    pub(crate) shared: PathBuf,
}

/// What must exist behind a mount before the container starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Backing {
    /// A path of the host, made as a directory when it is missing.
    Host,
    /// A directory of ours; when it is new, it gets the image's content at the mount's path.
    Filled,
    /// A shared volume that must be there already.
    Existing {
        /// Its name.
        volume: String,
    },
}

/// A volume mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VolumeMount {
    pub(crate) directory: PathBuf,
    pub(crate) target: String,
    pub(crate) readonly: bool,
    pub(crate) backing: Backing,
}

impl VolumeMount {
    pub(crate) fn mount(&self) -> Mount {
        Mount {
            source: MountSource::Bind(self.directory.clone()),
            target: self.target.clone(),
            readonly: self.readonly,
        }
    }
}

/// The volumes of container `index`: its mount points, those of its `volumesFrom`, and the paths that its image
/// declares as volumes. An earlier entry wins a target.
pub(crate) fn volume_mounts(
    task: &TaskSpec,
    index: usize,
    image_volumes: &[String],
    dirs: &VolumeDirs,
) -> Result<Vec<VolumeMount>, ContainerReason> {
    let definition = &task.containers[index];
    let mut mounts = Vec::new();
    collect(task, definition, dirs, false, &mut mounts, &mut vec![definition.name.as_str()])?;
    for path in image_volumes {
        add(&mut mounts, anonymous(task, definition, path, dirs));
    }
    Ok(mounts)
}

fn collect<'a>(
    task: &'a TaskSpec,
    definition: &'a ContainerDefinition,
    dirs: &VolumeDirs,
    readonly: bool,
    mounts: &mut Vec<VolumeMount>,
    seen: &mut Vec<&'a str>,
) -> Result<(), ContainerReason> {
    for point in &definition.mounts {
        let volume = task.volumes.iter().find(|volume| volume.name == point.volume).ok_or_else(|| {
            ContainerReason::HostConfig(format!("container refers to unknown volume {}", point.volume))
        })?;
        let (directory, backing) = match &volume.source {
            VolumeSource::Host(path) => (PathBuf::from(path), Backing::Host),
            VolumeSource::Task => (dirs.task.join(&volume.name), Backing::Filled),
            VolumeSource::Shared { autoprovision: true } => (dirs.shared.join(&volume.name), Backing::Filled),
            VolumeSource::Shared { autoprovision: false } => {
                (dirs.shared.join(&volume.name), Backing::Existing { volume: volume.name.clone() })
            }
        };
        let target = normal(&point.container_path);
        add(mounts, VolumeMount { directory, target, readonly: readonly || point.readonly, backing });
    }
    for from in &definition.volumes_from {
        // Circles are refused at registration; one in a damaged record must not hang the agent.
        if seen.contains(&from.container.as_str()) {
            continue;
        }
        let source = task.index_of(&from.container).ok_or_else(|| {
            ContainerReason::HostConfig(format!("volumesFrom refers to unknown container {}", from.container))
        })?;
        seen.push(&from.container);
        collect(task, &task.containers[source], dirs, readonly || from.readonly, mounts, seen)?;
    }
    Ok(())
}

fn add(mounts: &mut Vec<VolumeMount>, mount: VolumeMount) {
    if mounts.iter().all(|known| known.target != mount.target) {
        mounts.push(mount);
    }
}

/// A volume that only the image asked for: one per container and path.
fn anonymous(task: &TaskSpec, definition: &ContainerDefinition, path: &str, dirs: &VolumeDirs) -> VolumeMount {
    let target = normal(path);
    // A name that no volume of a task definition can have.
    let name = format!(".{}", runtime_id(&definition.name, &format!("{}{target}", task.id())));
    VolumeMount { directory: dirs.task.join(name), target, readonly: false, backing: Backing::Filled }
}

/// An absolute path without a trailing slash.
fn normal(path: &str) -> String {
    let trimmed = path.trim_end_matches('/');
    if trimmed.starts_with('/') { trimmed.to_owned() } else { format!("/{trimmed}") }
}

/// Directories under which a task's own volumes are made.
pub(crate) fn volume_dirs(agent_dir: &Path, task_id: &str) -> VolumeDirs {
    VolumeDirs { task: agent_dir.join("volumes").join(task_id), shared: agent_dir.join("shared-volumes") }
}
