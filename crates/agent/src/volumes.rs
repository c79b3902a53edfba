//! Volumes of a task: which directory of the host each mount of a container shows. Pure; `volume_files` makes them.

use std::path::{Path, PathBuf};

use gantry_domain::task_definition::LocalMount;
use gantry_runtime::container::{Mount, MountSource};

use crate::{
    engine::state::runtime_id,
    file_systems::{FileSystems, Owner},
    reason::ContainerReason,
    task::{ContainerDefinition, SharedVolume, TaskSpec, Volume, VolumeSource},
};

/// Where volumes live.
#[derive(Debug, Clone)]
pub(crate) struct VolumeDirs {
    /// `DATA/agent/volumes/<task id>`: goes with the task.
    pub(crate) task: PathBuf,
    /// `DATA/agent/shared-volumes`: stays.
    pub(crate) shared: PathBuf,
    /// `DATA/agent/volume-mounts/<task id>`: file systems that are mounted for the task alone.
    pub(crate) task_mounts: PathBuf,
    /// `DATA/agent/volume-mounts/shared`: those of shared volumes.
    pub(crate) shared_mounts: PathBuf,
    /// `DATA/agent/managed-volumes`: the files of all managed volumes.
    pub(crate) managed: PathBuf,
}

/// What must exist behind a mount before the container starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Backing {
    /// A path of the host, made as a directory when it is missing.
    Host,
    /// A directory of ours; when it is new, it gets the image's content at the mount's path.
    Filled,
    /// A directory of the host that must be there.
    Present,
    /// A file system, mounted there when it is not yet.
    Mounted(LocalMount),
    /// A volume of the instance, which has a record of how it was made.
    Shared {
        /// Its name.
        volume: String,
        /// Make it when it is missing.
        autoprovision: bool,
        made: SharedVolume,
    },
    /// A directory of a file system, made for this owner where an access point says so.
    FileSystem(Option<Owner>),
    /// The task's managed volume, mounted there since the task was set up.
    Managed,
}

/// A volume mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VolumeMount {
    pub(crate) directory: PathBuf,
    /// A path in `directory` that is shown instead: nothing in it may lead out of the directory.
    pub(crate) below: Option<String>,
    pub(crate) target: String,
    pub(crate) readonly: bool,
    pub(crate) backing: Backing,
}

impl VolumeMount {
    pub(crate) fn mount(&self) -> Mount {
        let directory = self.directory.clone();
        Mount {
            source: match &self.below {
                Some(path) => MountSource::Below { directory, path: path.clone() },
                None => MountSource::Bind(directory),
            },
            target: self.target.clone(),
            readonly: self.readonly,
        }
    }
}

/// The group of a managed volume's root directory.
const MANAGED_GROUP: u32 = 0;

/// Groups that a container with these volumes is a member of: whoever is not root may write to a managed volume, too.
pub(crate) fn groups(volumes: &[VolumeMount]) -> Vec<u32> {
    if volumes.iter().any(|volume| volume.backing == Backing::Managed) { vec![MANAGED_GROUP] } else { Vec::new() }
}

/// What volumes are found by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places<'a> {
    pub(crate) dirs: &'a VolumeDirs,
    pub(crate) file_systems: &'a FileSystems,
}

/// The volumes of container `index`: its mount points, those of its `volumesFrom`, and the paths that its image
/// declares as volumes. An earlier entry wins a target.
pub(crate) fn volume_mounts(
    task: &TaskSpec,
    index: usize,
    image_volumes: &[String],
    places: Places<'_>,
) -> Result<Vec<VolumeMount>, ContainerReason> {
    let definition = &task.containers[index];
    let mut mounts = Vec::new();
    collect(task, definition, places, false, &mut mounts, &mut vec![definition.name.as_str()])?;
    for path in image_volumes {
        add(&mut mounts, anonymous(task, definition, path, places.dirs));
    }
    Ok(mounts)
}

fn collect<'a>(
    task: &'a TaskSpec,
    definition: &'a ContainerDefinition,
    places: Places<'_>,
    readonly: bool,
    mounts: &mut Vec<VolumeMount>,
    seen: &mut Vec<&'a str>,
) -> Result<(), ContainerReason> {
    for point in &definition.mounts {
        let volume = task.volumes.iter().find(|volume| volume.name == point.volume).ok_or_else(|| {
            ContainerReason::HostConfig(format!("container refers to unknown volume {}", point.volume))
        })?;
        let mut mount = behind(task, volume, places)?;
        mount.target = normal(&point.container_path);
        mount.readonly |= readonly || point.readonly;
        add(mounts, mount);
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
        collect(task, &task.containers[source], places, readonly || from.readonly, mounts, seen)?;
    }
    Ok(())
}

/// A volume before it has a place in a container.
fn behind(task: &TaskSpec, volume: &Volume, places: Places<'_>) -> Result<VolumeMount, ContainerReason> {
    let dirs = places.dirs;
    let at = |directory: PathBuf, backing: Backing| VolumeMount {
        directory,
        below: None,
        target: String::new(),
        readonly: false,
        backing,
    };
    Ok(match &volume.source {
        VolumeSource::Host(path) => at(PathBuf::from(path), Backing::Host),
        VolumeSource::Task => at(dirs.task.join(&volume.name), Backing::Filled),
        VolumeSource::Mounted(LocalMount::Directory { path, read_only }) => {
            VolumeMount { readonly: *read_only, ..at(PathBuf::from(path), Backing::Present) }
        }
        VolumeSource::Mounted(mount) => at(dirs.task_mounts.join(&volume.name), Backing::Mounted(mount.clone())),
        VolumeSource::Shared { autoprovision, made } => at(
            dirs.shared.join(&volume.name),
            Backing::Shared { volume: volume.name.clone(), autoprovision: *autoprovision, made: made.clone() },
        ),
        VolumeSource::Managed(_) => at(dirs.task_mounts.join(&volume.name), Backing::Managed),
        VolumeSource::FileSystem(wanted) => {
            let place = places.file_systems.place(wanted, task.region());
            let place = place.map_err(|error| ContainerReason::ResourceInitialization(error.to_string()))?;
            VolumeMount { below: Some(place.below), ..at(place.directory, Backing::FileSystem(place.owner)) }
        }
    })
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
    VolumeMount { directory: dirs.task.join(name), below: None, target, readonly: false, backing: Backing::Filled }
}

/// An absolute path without a trailing slash.
fn normal(path: &str) -> String {
    let trimmed = path.trim_end_matches('/');
    if trimmed.starts_with('/') { trimmed.to_owned() } else { format!("/{trimmed}") }
}

/// Directories under which a task's own volumes are made.
pub(crate) fn volume_dirs(agent_dir: &Path, task_id: &str) -> VolumeDirs {
    let mounts = agent_dir.join(MOUNTS);
    VolumeDirs {
        task: agent_dir.join("volumes").join(task_id),
        shared: agent_dir.join("shared-volumes"),
        task_mounts: mounts.join(task_id),
        // No task has this id.
        shared_mounts: mounts.join("shared"),
        managed: agent_dir.join(MANAGED),
    }
}

/// The directory of all file systems that are mounted for volumes: a directory per task with a directory per volume.
pub(crate) const MOUNTS: &str = "volume-mounts";
/// The directory of the files of managed volumes.
pub(crate) const MANAGED: &str = "managed-volumes";
