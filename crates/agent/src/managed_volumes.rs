//! Managed volumes (`configuredAtLaunch`): each has a file of its own size in `DATA/agent/managed-volumes`, beside a
//! document that says whose it is, and is mounted where the other mounts of its task's volumes are.
//!
//! The document is written first and removed last: whatever an agent that was killed left of a volume, the next one knows
//! by it whether it is wanted. A volume that is to outlive its task stays there, for the operator to use and to remove.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use gantry_domain::reason::VolumeFailure;
use gantry_runtime::volume::{self, Filesystem, VolumeError};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::warn;

use crate::{
    host::Host,
    reason::{ContainerReason, chain},
    record::{Durability, blocking, replace},
    task::{ManagedVolume, TaskSpec, task_id},
    volume_files::{unmount_below, unmount_task},
    volumes::{MANAGED, MOUNTS},
};

/// How long room is waited for while stopped tasks are taken apart.
const ROOM_WAIT: Duration = Duration::from_secs(30);

/// Whose a volume is, as it stands beside its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    volume_id: String,
    task_arn: String,
    /// In the task definition.
    name: String,
    size_in_gib: u32,
    filesystem_type: String,
    delete_on_termination: bool,
    tags: BTreeMap<String, String>,
}

/// The files of one volume.
struct Place {
    document: PathBuf,
    image: PathBuf,
}

impl Place {
    fn new(directory: &Path, volume_id: &str) -> Self {
        let file = |extension: &str| directory.join(format!("{volume_id}.{extension}"));
        Self { document: file("json"), image: file("img") }
    }

    /// The document last: without it nobody would know what the rest is.
    fn remove(&self) -> io::Result<()> {
        volume::remove(&self.image)?;
        match fs::remove_file(&self.document) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Makes and mounts the task's managed volume, if it has one. May be repeated.
pub(crate) async fn attach(host: &Host, task: &TaskSpec) -> Result<(), ContainerReason> {
    let Some((name, volume)) = task.managed_volume() else { return Ok(()) };
    let not_attached = |failure: VolumeFailure| ContainerReason::VolumeNotAttached(failure.to_string());
    let kind = volume.filesystem.as_deref().and_then(Filesystem::parse).or_else(volume::filesystem_default);
    let kind = kind.ok_or_else(|| not_attached(VolumeFailure::NoProgram(Filesystem::Ext4.program())))?;
    let dirs = host.dirs.volumes(task.id());
    let document = Document {
        volume_id: volume.id.clone(),
        task_arn: task.arn.clone(),
        name: name.to_owned(),
        size_in_gib: volume.size_gib,
        filesystem_type: kind.as_str().to_owned(),
        delete_on_termination: volume.delete_on_termination,
        tags: volume.tags.clone(),
    };
    let deadline = Instant::now() + ROOM_WAIT;
    loop {
        let alone = host.mounting.lock(&volume.id).await;
        let (document, directory, at) = (document.clone(), dirs.managed.clone(), dirs.task_mounts.join(name));
        // It goes on when nobody waits for it any more, and whoever takes the volume away waits for it.
        let made = tokio::spawn(async move {
            let _alone = alone;
            make(&document, kind, &directory, at).await
        });
        let made = made.await.unwrap_or_else(|error| {
            Err(VolumeError::Io { what: "making the volume", source: io::Error::other(error) })
        });
        match made {
            Ok(()) => return Ok(()),
            Err(VolumeError::NoRoom { free_bytes }) => {
                let ended = tokio::time::timeout_at(deadline, host.teardowns.one_ended()).await;
                if !matches!(ended, Ok(true)) {
                    let gib = u64::from(volume.size_gib);
                    return Err(not_attached(VolumeFailure::NoRoom { gib, free_mib: free_bytes >> 20 }));
                }
            }
            Err(VolumeError::NoProgram { program }) => return Err(not_attached(VolumeFailure::NoProgram(program))),
            Err(error) => return Err(not_attached(VolumeFailure::Other(chain(&error)))),
        }
    }
}

async fn make(document: &Document, kind: Filesystem, directory: &Path, at: PathBuf) -> Result<(), VolumeError> {
    let place = Place::new(directory, &document.volume_id);
    let written = (directory.to_owned(), place.document.clone(), document.clone());
    let write = blocking(move || {
        let (directory, path, document) = written;
        fs::create_dir_all(&directory)?;
        replace(&path, &serde_json::to_vec_pretty(&document)?, Durability::Power)
    });
    write.await.map_err(|source| VolumeError::Io { what: "writing whose the volume is", source })?;
    let made = volume::make(&place.image, u64::from(document.size_in_gib) << 30, kind).await;
    if made.is_err() {
        // Also when it was to stay: there is none.
        let _ = place.remove();
    }
    made?;
    let image = place.image;
    let mounted = tokio::task::spawn_blocking(move || volume::mount(&image, &at, kind)).await;
    mounted.map_err(|error| VolumeError::Io { what: "mounting", source: io::Error::other(error) })?
}

/// Takes down what was mounted for a stopped task, and removes its managed volume unless that is to stay.
pub(crate) async fn detach(host: &Host, task: &TaskSpec) -> io::Result<()> {
    let dirs = host.dirs.volumes(task.id());
    let managed = task.managed_volume().map(|(_, volume)| volume.clone());
    let alone = match &managed {
        Some(volume) => Some(host.mounting.lock(&volume.id).await),
        None => None,
    };
    blocking(move || {
        let _alone = alone;
        unmount_task(&dirs)?;
        match managed {
            Some(ManagedVolume { id, delete_on_termination: true, .. }) => Place::new(&dirs.managed, &id).remove(),
            _ => Ok(()),
        }
    })
    .await
}

/// Takes down the volumes of tasks that nobody knows any more, and removes those that are not to stay. `known` are the ids
/// of the tasks that hold theirs.
pub(crate) fn sweep(agent_dir: &Path, known: &BTreeSet<String>) {
    let directory = agent_dir.join(MANAGED);
    for document in documents(&directory) {
        let task = task_id(&document.task_arn);
        if known.contains(task) {
            continue;
        }
        let taken_down = unmount_below(&agent_dir.join(MOUNTS).join(task));
        let removed = taken_down.and_then(|()| match document.delete_on_termination {
            true => Place::new(&directory, &document.volume_id).remove(),
            false => Ok(()),
        });
        if let Err(error) = removed {
            warn!(task, volume = document.volume_id, %error, "left-over volume was not taken down");
        }
    }
}

/// GiB that volumes of tasks may have on this machine's disk together: what is free of it, and what is theirs now. A
/// volume that outlives its task is the operator's. `alive` are the ids of the tasks that hold theirs.
pub(crate) fn room_gib(agent_dir: &Path, alive: &BTreeSet<String>) -> io::Result<u32> {
    let directory = agent_dir.join(MANAGED);
    let all = documents(&directory).into_iter();
    let of_tasks = all.filter(|one| one.delete_on_termination || alive.contains(task_id(&one.task_arn)));
    let kept = of_tasks.map(|one| volume::kept_bytes(&Place::new(&directory, &one.volume_id).image));
    let bytes = kept.fold(volume::free_bytes(agent_dir)?, u64::saturating_add);
    Ok(u32::try_from(bytes >> 30).unwrap_or(u32::MAX))
}

/// Takes down everything that was mounted for volumes of tasks that will not come back, and removes the managed volumes
/// that go with their tasks.
///
/// # Errors
/// The host refuses.
pub fn take_down_volumes(data_dir: &Path) -> io::Result<()> {
    let agent_dir = data_dir.join("agent");
    match fs::read_dir(agent_dir.join(MOUNTS)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        tasks => tasks?.try_for_each(|task| unmount_below(&task?.path()))?,
    }
    remove_all(&agent_dir)
}

/// Removes every volume that goes with its task. Nothing may be mounted any more.
fn remove_all(agent_dir: &Path) -> io::Result<()> {
    let directory = agent_dir.join(MANAGED);
    documents(&directory)
        .into_iter()
        .filter(|document| document.delete_on_termination)
        .try_for_each(|document| Place::new(&directory, &document.volume_id).remove())
}

/// Of all volumes in the directory; one that cannot be read is told about and left.
fn documents(directory: &Path) -> Vec<Document> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let paths = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let read = |path: PathBuf| {
        let read = fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
        read.inspect_err(|error| warn!(path = %path.display(), %error, "a volume's document is unreadable")).ok()
    };
    paths.filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KNOWN: &str = "0123456789abcdef0123456789abcdef";

    fn leave(agent_dir: &Path, id: &str, task: &str, delete_on_termination: bool) -> Place {
        let directory = agent_dir.join(MANAGED);
        fs::create_dir_all(&directory).unwrap();
        let place = Place::new(&directory, id);
        let document = Document {
            volume_id: id.to_owned(),
            task_arn: format!("arn:aws:ecs:us-east-1:000000000000:task/default/{task}"),
            name: "data".to_owned(),
            size_in_gib: 1,
            filesystem_type: "ext4".to_owned(),
            delete_on_termination,
            tags: BTreeMap::new(),
        };
        fs::write(&place.document, serde_json::to_vec(&document).unwrap()).unwrap();
        fs::write(&place.image, "image").unwrap();
        fs::write(place.image.with_extension("unfinished"), "half").unwrap();
        place
    }

    #[test]
    fn the_room_for_volumes_counts_those_of_tasks_and_not_those_that_were_left() {
        let agent_dir = tempfile::tempdir().unwrap();
        let agent_dir = agent_dir.path();
        // Free space changes under other tests; what is compared is far larger.
        let keep = |place: &Place| {
            let free = volume::free_bytes(agent_dir).unwrap();
            let file = fs::File::options().write(true).open(&place.image).unwrap();
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 4 << 30).unwrap();
            free
        };
        let place = leave(agent_dir, "vol-1", KNOWN, false);
        let before = keep(&place);
        let after = volume::free_bytes(agent_dir).unwrap();
        assert!(after < before - (3 << 30), "the disk keeps it");
        let room = |alive: &[&str]| room_gib(agent_dir, &alive.iter().map(|id| (*id).to_owned()).collect()).unwrap();
        let (held, left) = (room(&[KNOWN]), room(&[]));
        assert!(held >= left + 3, "{held} GiB while its task has it, {left} when it was left");
    }

    #[test]
    fn volumes_of_tasks_that_nobody_knows_are_removed_unless_they_are_to_stay() {
        let agent_dir = tempfile::tempdir().unwrap();
        let agent_dir = agent_dir.path();
        let known = leave(agent_dir, "vol-1", KNOWN, true);
        let gone = leave(agent_dir, "vol-2", "f00", true);
        let stays = leave(agent_dir, "vol-3", "f01", false);
        fs::write(agent_dir.join(MANAGED).join("vol-4.json"), "{").unwrap();
        sweep(agent_dir, &BTreeSet::from([KNOWN.to_owned()]));
        assert!(known.image.exists() && known.document.exists());
        assert!(!gone.image.exists() && !gone.document.exists());
        assert!(!gone.image.with_extension("unfinished").exists());
        assert!(stays.image.exists() && stays.document.exists());
        remove_all(agent_dir).unwrap();
        assert!(!known.image.exists() && stays.image.exists());
        assert!(agent_dir.join(MANAGED).join("vol-4.json").exists(), "nobody knows what it is");
    }
}
