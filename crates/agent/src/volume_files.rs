//! What is behind a volume is made on the host. Every step may be repeated: an agent that was killed in between finds
//! the whole thing or nothing.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use gantry_domain::task_definition::LocalMount;
use gantry_runtime::{image::Image, mounts::is_mounted};
use rustix::{
    fs::{AtFlags, CWD, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Uid},
    io::Errno,
    mount::{MountFlags, UnmountFlags},
};
use tokio::sync::OwnedMutexGuard;

use crate::{
    file_systems::Owner,
    host::Host,
    reason::{ContainerReason, chain},
    record::{Durability, blocking, replace},
    task::SharedVolume,
    volumes::{Backing, VolumeDirs, VolumeMount},
};

/// Makes it, and says which directory of the host it is when that is another than planned.
pub(crate) async fn prepare(
    host: &Host,
    dirs: &VolumeDirs,
    image: &Image,
    volume: &mut VolumeMount,
) -> Result<(), ContainerReason> {
    let failed = |error: io::Error| ContainerReason::CannotCreateVolume(chain(&error));
    let directory = volume.directory.clone();
    match volume.backing.clone() {
        Backing::Host => blocking(move || make_host_path(&directory)).await.map_err(failed),
        Backing::Present => present(&directory).map_err(failed),
        Backing::Managed => match is_mounted(&directory) {
            Ok(true) => Ok(()),
            // What a container wrote there would be on the machine's disk, without a limit.
            Ok(false) => Err(failed(io::Error::other("the volume is not attached"))),
            Err(error) => Err(failed(error)),
        },
        Backing::Filled => fill(host, image, &volume.target, directory).await,
        Backing::Mounted(mount) => {
            let alone = host.mounting.lock(&directory.to_string_lossy()).await;
            mount_alone(mount, directory, alone).await.map_err(failed)
        }
        Backing::FileSystem(owner) => {
            let below = volume.below.clone().unwrap_or_default();
            let alone = host.mounting.lock(&directory.to_string_lossy()).await;
            let made = blocking(move || {
                let _alone = alone;
                make_below(&directory, &below, owner)
            })
            .await;
            made.map_err(|error| ContainerReason::ResourceInitialization(efs_failure(&error)))
        }
        Backing::Shared { volume: name, autoprovision, made } => {
            let alone = host.mounting.lock(&directory.to_string_lossy()).await;
            let found = shared(host, dirs, &name, autoprovision, made).await?;
            match &found.mount {
                None => fill(host, image, &volume.target, directory).await,
                Some(LocalMount::Directory { path, read_only }) => {
                    volume.directory = PathBuf::from(path);
                    volume.readonly |= read_only;
                    present(&volume.directory).map_err(failed)
                }
                Some(mount) => {
                    volume.directory = dirs.shared_mounts.join(&name);
                    mount_alone(mount.clone(), volume.directory.clone(), alone).await.map_err(failed)
                }
            }
        }
    }
}

/// A host path may be a file or a device; only a missing one is made, as a directory.
fn make_host_path(path: &Path) -> io::Result<()> {
    if path.exists() { Ok(()) } else { fs::create_dir_all(path) }
}

fn present(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let error = format!("failed to mount local volume: mount {}: no such file or directory", directory.display());
    Err(io::Error::new(io::ErrorKind::NotFound, error))
}

/// Filled beside its place and then renamed: a crash in between leaves no half-filled volume.
async fn fill(host: &Host, image: &Image, target: &str, directory: PathBuf) -> Result<(), ContainerReason> {
    let failed = |error: &dyn std::error::Error| ContainerReason::CannotCreateVolume(chain(error));
    let Some(staging) = staging_of(&directory) else {
        return Err(ContainerReason::CannotCreateVolume("volume has no name".to_owned()));
    };
    if directory.is_dir() {
        return Ok(());
    }
    let fresh = staging.clone();
    blocking(move || fs::create_dir_all(&fresh)).await.map_err(|error| failed(&error))?;
    let copied = host.runtime.images.copy_out(image, target, &staging).await;
    copied.map_err(|error| failed(&error))?;
    // Another container of the task may have been faster; its directory is as good.
    let renamed = blocking(move || match fs::rename(&staging, &directory) {
        Err(_) if directory.is_dir() => fs::remove_dir_all(&staging),
        other => other,
    });
    renamed.await.map_err(|error| failed(&error))
}

/// A unique sibling to fill.
fn staging_of(directory: &Path) -> Option<PathBuf> {
    let name = directory.file_name()?.to_str()?;
    Some(directory.with_file_name(format!(".filling-{name}-{}", uuid::Uuid::new_v4().simple())))
}

/// How a shared volume was made; it is recorded now when there is none and it may be made.
async fn shared(
    host: &Host,
    dirs: &VolumeDirs,
    name: &str,
    autoprovision: bool,
    wanted: SharedVolume,
) -> Result<SharedVolume, ContainerReason> {
    let refused = |why: &str| {
        ContainerReason::ResourceInitialization(format!(
            "initialize volume: volume detection failed, volume '{name}' {why}"
        ))
    };
    // No volume of a task definition has such a name.
    let record = dirs.shared.join(format!(".{name}.json"));
    let plain = dirs.shared.join(name);
    let path = record.clone();
    let found = blocking(move || match fs::read(&path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice::<SharedVolume>(&bytes)?)),
        // A volume of an agent that kept no records, or one that the operator made by hand.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(plain.is_dir().then(SharedVolume::default)),
        Err(error) => Err(error),
    });
    let found = found.await.map_err(|error| ContainerReason::CannotCreateVolume(chain(&error)))?;
    match found {
        Some(found) if host.config.shared_volume_match_full_config && found != wanted => {
            Err(refused("exists with another configuration"))
        }
        Some(found) => Ok(found),
        None if !autoprovision => Err(refused("does not exist and autoprovision is set to false")),
        None => {
            let made = wanted.clone();
            let written = blocking(move || {
                if let Some(parent) = record.parent() {
                    fs::create_dir_all(parent)?;
                }
                replace(&record, &serde_json::to_vec(&wanted)?, Durability::Power)
            });
            written.await.map_err(|error| ContainerReason::CannotCreateVolume(chain(&error)))?;
            Ok(made)
        }
    }
}

/// [`mount_once`] while nobody else does so there. A mount goes on when nobody waits for it any more.
async fn mount_alone(mount: LocalMount, at: PathBuf, alone: OwnedMutexGuard<()>) -> io::Result<()> {
    blocking(move || {
        let _alone = alone;
        mount_once(&mount, &at)
    })
    .await
}

/// Mounts a file system on `at`, unless something is mounted there already.
fn mount_once(mount: &LocalMount, at: &Path) -> io::Result<()> {
    let LocalMount::FileSystem { kind, device, options } = mount else { return Ok(()) };
    fs::create_dir_all(at)?;
    if is_mounted(at)? {
        return Ok(());
    }
    let mut flags = MountFlags::NODEV | MountFlags::NOSUID;
    let mut data = Vec::new();
    for option in options {
        match option.as_str() {
            "ro" => flags |= MountFlags::RDONLY,
            "noexec" => flags |= MountFlags::NOEXEC,
            "noatime" => flags |= MountFlags::NOATIME,
            "sync" => flags |= MountFlags::SYNCHRONOUS,
            "rw" | "nodev" | "nosuid" | "exec" | "defaults" => {}
            other => data.push(other),
        }
    }
    let data = std::ffi::CString::new(data.join(","))?;
    rustix::mount::mount(device.as_str(), at, kind.as_str(), flags, data.as_c_str()).map_err(|error| {
        let error = io::Error::from(error);
        io::Error::new(
            error.kind(),
            format!(
                "failed to mount local volume: mount {device}:{}, data: {}: {error}",
                at.display(),
                data.to_string_lossy()
            ),
        )
    })
}

/// Makes the directory of an access point where it is missing: with its owner, as the service does at first use.
fn make_below(root: &Path, below: &str, owner: Option<Owner>) -> io::Result<()> {
    let open = |from: BorrowedFd<'_>, path: &str| {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(from, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), resolve)
    };
    let top = rustix::fs::openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let owner = match (open(top.as_fd(), below), owner) {
        (Ok(_), None) => return Ok(()),
        (Ok(found), Some(owner)) => return Ok(finish(found.as_fd(), owner)?),
        (Err(Errno::NOENT), Some(owner)) => owner,
        (Err(error), _) => return Err(error.into()),
    };
    let mut parent = top;
    for name in below.split('/').filter(|name| !name.is_empty()) {
        if name == ".." {
            return Err(Errno::XDEV.into());
        }
        parent = match open(parent.as_fd(), name) {
            Err(Errno::NOENT) => {
                make_owned(parent.as_fd(), name, owner)?;
                open(parent.as_fd(), name)?
            }
            found => {
                let found = found?;
                finish(found.as_fd(), owner)?;
                found
            }
        };
    }
    Ok(())
}

/// Makes a directory, which has its owner when it appears. One that appeared meanwhile stays.
fn make_owned(parent: BorrowedFd<'_>, name: &str, owner: Owner) -> rustix::io::Result<()> {
    let aside = format!(".making-{}", uuid::Uuid::new_v4().simple());
    rustix::fs::mkdirat(parent, &aside, Mode::RWXU)?;
    let renamed = own(parent, &aside, owner)
        .and_then(|()| rustix::fs::renameat_with(parent, &aside, parent, name, RenameFlags::NOREPLACE));
    if renamed.is_err() {
        // An empty directory that stays behind is in nobody's way.
        let _ = rustix::fs::unlinkat(parent, &aside, AtFlags::REMOVEDIR);
    }
    match renamed {
        // NFS knows no such rename, and its plain one would take the place of another's empty directory.
        Err(Errno::INVAL) => make_in_place(parent, name, owner),
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// How a directory looks that has no owner yet: empty, and of this mode.
const UNFINISHED: Mode = Mode::RWXU.union(Mode::SVTX);

/// The same where only making a directory tells whether it was there. It has its owner a moment later; should its maker
/// be killed in between, whoever comes next finishes it.
fn make_in_place(parent: BorrowedFd<'_>, name: &str, owner: Owner) -> rustix::io::Result<()> {
    match rustix::fs::mkdirat(parent, name, UNFINISHED) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    finish(open_made(parent, name)?.as_fd(), owner)
}

/// Gives a directory its owner that has none yet.
fn finish(directory: BorrowedFd<'_>, owner: Owner) -> rustix::io::Result<()> {
    if Mode::from_raw_mode(rustix::fs::fstat(directory)?.st_mode) != UNFINISHED {
        return Ok(());
    }
    let directory = open_made(directory, ".")?;
    let entries = rustix::fs::Dir::read_from(&directory)?;
    for entry in entries {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(());
        }
    }
    give(&directory, owner)
}

/// Gives a directory that was just made its owner.
fn own(parent: BorrowedFd<'_>, name: &str, owner: Owner) -> rustix::io::Result<()> {
    give(&open_made(parent, name)?, owner)
}

fn open_made(parent: BorrowedFd<'_>, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// The mode last: it says that the rest is done.
fn give(directory: &OwnedFd, owner: Owner) -> rustix::io::Result<()> {
    rustix::fs::fchown(directory, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))?;
    rustix::fs::fchmod(directory, Mode::from_raw_mode(owner.mode))
}

fn efs_failure(error: &io::Error) -> String {
    format!(
        "failed to invoke EFS utils commands to set up EFS volumes: stderr: b'mount.nfs4: mounting 127.0.0.1:/ failed, \
         reason given by server: {error}' : unsuccessful EFS utils command execution; code: 32"
    )
}

/// Takes down what was mounted for a task. Only mounts and empty directories go: what was in them is not ours.
pub(crate) fn unmount_task(dirs: &VolumeDirs) -> io::Result<()> {
    unmount_below(&dirs.task_mounts)
}

/// Takes down the mounts on the directories of `directory`, and the directories.
pub(crate) fn unmount_below(directory: &Path) -> io::Result<()> {
    let volumes = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for volume in volumes {
        let volume = volume?.path();
        // A server that is away must not keep it.
        match rustix::mount::unmount(&volume, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) | Err(Errno::INVAL) => fs::remove_dir(&volume)?,
            Err(error) => return Err(error.into()),
        }
    }
    fs::remove_dir(directory)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        os::unix::fs::{MetadataExt, symlink},
        sync::Arc,
    };

    use futures_util::FutureExt;

    use super::*;
    use crate::engine_tests::Bed;

    #[test]
    fn an_access_points_directory_is_made_inside_its_file_system_only() {
        let outside = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        let own = fs::metadata(root.path()).unwrap();
        let owner = Some(Owner { uid: own.uid(), gid: own.gid(), mode: 0o711 });
        make_below(root.path(), "a/b", owner).unwrap();
        make_below(root.path(), "a/b", owner).unwrap();
        assert_eq!(fs::metadata(root.path().join("a/b")).unwrap().mode() & 0o7777, 0o711);
        symlink(outside.path(), root.path().join("out")).unwrap();
        symlink("/etc", root.path().join("etc")).unwrap();
        for (path, owner) in [("out/x", owner), ("etc", None), ("../x", owner), ("a/../../x", owner), ("missing", None)]
        {
            assert!(make_below(root.path(), path, owner).is_err(), "{path}");
        }
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_access_points_directory_that_another_made_meanwhile_stays() {
        let root = tempfile::tempdir().unwrap();
        let own = fs::metadata(root.path()).unwrap();
        let owner = |mode| Owner { uid: own.uid(), gid: own.gid(), mode };
        let parent = fs::File::open(root.path()).unwrap();
        for (name, make) in [("a", make_owned as fn(_, _, _) -> _), ("b", make_in_place)] {
            make(parent.as_fd(), name, owner(0o711)).unwrap();
            let first = fs::metadata(root.path().join(name)).unwrap();
            assert_eq!(first.mode() & 0o7777, 0o711);
            make(parent.as_fd(), name, owner(0o700)).unwrap();
            let found = fs::metadata(root.path().join(name)).unwrap();
            assert_eq!((found.ino(), found.mode()), (first.ino(), first.mode()));
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2, "nothing is left aside");
    }

    #[test]
    fn an_access_points_directory_whose_maker_was_killed_gets_its_owner_from_the_next() {
        let root = tempfile::tempdir().unwrap();
        let own = fs::metadata(root.path()).unwrap();
        let owner = Some(Owner { uid: own.uid(), gid: own.gid(), mode: 0o711 });
        let parent = fs::File::open(root.path()).unwrap();
        let mode = |path: &str| fs::metadata(root.path().join(path)).unwrap().mode() & 0o7777;
        for (left, asked) in [("a", "a"), ("b", "b/c")] {
            rustix::fs::mkdirat(&parent, left, UNFINISHED).unwrap();
            assert_eq!(mode(left), 0o1700);
            make_below(root.path(), asked, owner).unwrap();
            assert_eq!((mode(left), mode(asked)), (0o711, 0o711));
        }
        // What is in use is its user's, however it looks.
        rustix::fs::mkdirat(&parent, "used", UNFINISHED).unwrap();
        fs::write(root.path().join("used/file"), "").unwrap();
        make_below(root.path(), "used", owner).unwrap();
        assert_eq!(mode("used"), 0o1700);
    }

    #[tokio::test]
    async fn a_mount_that_takes_long_keeps_no_other_volume_waiting() {
        let bed = Bed::new().await;
        let host = Arc::clone(&bed.agent().host);
        let dirs = host.dirs.volumes("task");
        let image = Image {
            digest: String::new(),
            config_digest: String::new(),
            config: Default::default(),
            layers: Vec::new(),
        };
        let mounted = |name: &str| VolumeMount {
            directory: dirs.task_mounts.join(name),
            below: None,
            target: "/data".to_owned(),
            readonly: false,
            // Nothing is mounted for it here.
            backing: Backing::Mounted(LocalMount::Directory { path: String::new(), read_only: false }),
        };
        let (mut slow, mut other) = (mounted("slow"), mounted("other"));
        let held = host.mounting.lock(&slow.directory.to_string_lossy()).await;
        let mut waits = Box::pin(prepare(&host, &dirs, &image, &mut slow));
        assert!((&mut waits).now_or_never().is_none());
        prepare(&host, &dirs, &image, &mut other).await.unwrap();
        drop(held);
        waits.await.unwrap();
    }

    #[test]
    fn taking_down_mounts_leaves_what_was_never_one() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("task/volume/precious")).unwrap();
        assert!(unmount_below(&directory.path().join("task")).is_err());
        assert!(directory.path().join("task/volume/precious").is_dir());
        unmount_below(&directory.path().join("nothing")).unwrap();
    }
}
