//! File systems of a size of their own, each in a file: what is written to one ends at its size, and the disk has kept
//! that much for it.
//!
//! - A file either is whole (reserved, with its file system) or does not bear its name: [`make`] makes it beside it.
//! - It is mounted through a loop device that the kernel takes away with the mount, and that nobody sees before the mount
//!   is complete. Whenever we are killed, nothing is left of either, or the mount as a whole.
//! - Who may have a volume, and when one goes, is not known here.

mod loop_device;

use std::{
    fs::{self, File},
    io,
    os::{
        fd::AsFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use parking_lot::Mutex;
use rustix::{
    fs::{CWD, FallocateFlags, Mode},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag,
        fsconfig_set_string, fsmount, fsopen, move_mount,
    },
};

use crate::mounts::is_mounted;

/// Room that is left on the disk besides volumes: a machine whose disk is full to the brim can do nothing any more.
const KEPT_BYTES: u64 = 1 << 30;
/// Making a file system takes moments; a program that hangs must not keep a task for ever.
const MAKING_MAX: Duration = Duration::from_secs(300);
/// What a program says when it fails is cut to this.
const OUTPUT_CHARS_MAX: usize = 300;

/// A kind of file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filesystem {
    /// Ext3.
    Ext3,
    /// Ext4.
    Ext4,
    /// XFS.
    Xfs,
}

impl Filesystem {
    /// Every kind, those first that are taken when none is named.
    pub const ALL: [Self; 3] = [Self::Xfs, Self::Ext4, Self::Ext3];

    /// As the kernel and the API call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ext3 => "ext3",
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }

    /// By that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The program that makes it.
    pub fn program(self) -> String {
        format!("mkfs.{}", self.as_str())
    }

    /// The program and what it is told. The disk keeps the blocks of the file, so none may be given back, and they read
    /// as zeros, so none need be written.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Ext3 | Self::Ext4 => {
                &["-q", "-F", "-m", "0", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1"]
            }
            // The smallest volume, 1 GiB, is above XFS's least of 300 MB.
            Self::Xfs => &["-q", "-f", "-K"],
        }
    }
}

/// Why there is no volume.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VolumeError {
    /// The disk has too little room.
    #[error("the disk has {free_bytes} bytes left for volumes")]
    NoRoom {
        /// What a volume may have.
        free_bytes: u64,
    },
    /// The program that makes the file system is not there.
    #[error("{program} is not installed")]
    NoProgram {
        /// Its name.
        program: String,
    },
    /// It failed.
    #[error("{program}: {output}")]
    Program {
        /// Its name.
        program: String,
        /// What it said.
        output: String,
    },
    /// The host refused something.
    #[error("{what}")]
    Io {
        /// What was done.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> VolumeError {
    move |source| VolumeError::Io { what, source }
}

/// The kind that is made when none is named: the first one whose program is there and that the kernel mounts.
pub fn filesystem_default() -> Option<Filesystem> {
    Filesystem::ALL.into_iter().find(|kind| find(&kind.program()).is_some() && is_known(*kind))
}

/// Whether the kernel has it, perhaps as a module that it loads now.
fn is_known(kind: Filesystem) -> bool {
    fsopen(kind.as_str(), FsOpenFlags::FSOPEN_CLOEXEC).is_ok()
}

/// A program on root's path, whoever we are.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin:/usr/local/sbin";
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Makes the file of a volume: `bytes` are kept for it on the disk, and it has an empty file system. A file that is there
/// is left as it is.
///
/// # Errors
/// [`VolumeError`]; nothing is left then.
pub async fn make(image: &Path, bytes: u64, kind: Filesystem) -> Result<(), VolumeError> {
    if image.exists() {
        return Ok(());
    }
    let program = find(&kind.program()).ok_or_else(|| VolumeError::NoProgram { program: kind.program() })?;
    let unfinished = unfinished(image);
    let made = async {
        let file = unfinished.clone();
        blocking(move || reserve(&file, bytes)).await?;
        make_filesystem(&program, kind, &unfinished).await?;
        let (file, image) = (unfinished.clone(), image.to_owned());
        blocking(move || keep(&file, &image).map_err(failed("keeping the file"))).await
    };
    let made = made.await;
    if made.is_err() {
        // Its room is wanted back; what cannot be removed now is removed with the volume.
        let _ = fs::remove_file(&unfinished);
    }
    made
}

/// Removes the file of a volume, finished or not. What is still mounted of it keeps its room until it is not.
///
/// # Errors
/// The host refuses.
pub fn remove(image: &Path) -> io::Result<()> {
    for file in [unfinished(image), image.to_owned()] {
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// What volumes may still have of the disk that `path` is on.
///
/// # Errors
/// The host refuses.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(path)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize).saturating_sub(KEPT_BYTES))
}

/// What the file of a volume, finished or not, takes of the disk; nothing when there is none.
pub fn kept_bytes(image: &Path) -> u64 {
    let of = |file: PathBuf| fs::metadata(file).map_or(0, |file| file.blocks().saturating_mul(512));
    of(unfinished(image)).saturating_add(of(image.to_owned()))
}

async fn blocking(work: impl FnOnce() -> Result<(), VolumeError> + Send + 'static) -> Result<(), VolumeError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(failed("waiting for the disk")(io::Error::other(error))))
}

fn unfinished(image: &Path) -> PathBuf {
    image.with_extension("unfinished")
}

/// A program that was left behind by an agent that was killed writes to the file that it has open, not to this one.
fn reserve(file: &Path, bytes: u64) -> Result<(), VolumeError> {
    // Two at a time could both count on the same room.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock();
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("removing what was left")(error)),
        _ => {}
    }
    let made = File::options().read(true).write(true).create_new(true).mode(0o600).open(file);
    let made = made.map_err(failed("making the file"))?;
    let free_bytes = free_bytes(file).map_err(failed("looking at the disk"))?;
    if free_bytes < bytes {
        return Err(VolumeError::NoRoom { free_bytes });
    }
    match rustix::fs::fallocate(&made, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::NOSPC) => Err(VolumeError::NoRoom { free_bytes: 0 }),
        other => other.map_err(|error| failed("reserving room on the disk")(error.into())),
    }
}

async fn make_filesystem(program: &Path, kind: Filesystem, file: &Path) -> Result<(), VolumeError> {
    let mut command = tokio::process::Command::new(program);
    command.args(kind.arguments()).arg(file).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(MAKING_MAX, command.output()).await;
    let trouble = |output: String| VolumeError::Program { program: kind.program(), output };
    let ended = ended.map_err(|_| trouble(format!("did not end within {} seconds", MAKING_MAX.as_secs())))?;
    let ended = ended.map_err(failed("starting mkfs"))?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    let said: String = said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(OUTPUT_CHARS_MAX).collect();
    Err(trouble(format!("{}: {said}", ended.status)))
}

/// Gives the finished file its name, for good.
fn keep(unfinished: &Path, image: &Path) -> io::Result<()> {
    File::open(unfinished)?.sync_all()?;
    fs::rename(unfinished, image)?;
    image.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// Mounts a volume on the directory `at`, unless something is mounted there. Its root belongs to root, and its group may
/// write to it.
///
/// # Errors
/// The host refuses; nothing is mounted then.
pub fn mount(image: &Path, at: &Path, kind: Filesystem) -> Result<(), VolumeError> {
    fs::create_dir_all(at).map_err(failed("making the directory"))?;
    if is_mounted(at).map_err(failed("looking at the directory"))? {
        return Ok(());
    }
    let device = loop_device::attach(image).map_err(failed("attaching a loop device"))?;
    mount_device(&device.path, at, kind).map_err(failed("mounting"))
}

fn mount_device(device: &Path, at: &Path, kind: Filesystem) -> io::Result<()> {
    let filesystem = fsopen(kind.as_str(), FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(filesystem.as_fd(), "source", device)?;
    if kind == Filesystem::Ext4 {
        // All of it reads as zeros already.
        fsconfig_set_flag(filesystem.as_fd(), "noinit_itable")?;
    }
    fsconfig_create(filesystem.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSUID;
    let mounted = fsmount(filesystem.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    // Before anybody can see it: later its owner may have said something else.
    rustix::fs::chmodat(&mounted, ".", Mode::from_raw_mode(0o775), rustix::fs::AtFlags::empty())?;
    Ok(move_mount(mounted.as_fd(), "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// Whether this machine can have volumes at all.
pub fn is_possible() -> bool {
    loop_device::is_possible() && filesystem_default().is_some()
}

#[cfg(test)]
mod tests;
