//! `ephemeralStorage`: what a task's containers and volumes have written is measured now and then. Image layers do not
//! count: they are the host's, shared by all who use them.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use tokio::time::{Instant, sleep};
use tracing::debug;

use crate::{host::Host, record::blocking};

/// Between two looks, at least.
const PAUSE_MIN: Duration = Duration::from_secs(5);
/// A look that took long is followed by a pause this much longer: measuring takes a hundredth of a core at most.
const PAUSE_FACTOR: u32 = 100;
/// Directories in directories; a tree that is deeper than that is made to be so.
const DEPTH_MAX: usize = 256;
const BLOCK_BYTES: u64 = 512;

/// Returns when the task holds more than it may.
pub(crate) async fn until_exceeded(host: &Host, task_id: &str, container_ids: Vec<String>, bytes_max: u64) {
    loop {
        let began = Instant::now();
        let mut places = vec![host.dirs.volumes(task_id).task];
        for id in &container_ids {
            places.extend(host.runtime.images.writable_layer(id).await);
        }
        match blocking(move || Ok(exceeds(&places, bytes_max))).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => debug!(task = task_id, %error, "ephemeral storage was not measured"),
        }
        sleep(PAUSE_MIN.max(began.elapsed() * PAUSE_FACTOR)).await;
    }
}

fn exceeds(places: &[PathBuf], bytes_max: u64) -> bool {
    let mut budget = Budget { left: bytes_max };
    // What vanishes while it is looked at is no longer held.
    places.iter().any(|place| matches!(measure(place, &mut budget), Err(Stop::Exceeded)))
}

struct Budget {
    left: u64,
}

enum Stop {
    Exceeded,
    Io,
}

impl From<rustix::io::Errno> for Stop {
    fn from(_: rustix::io::Errno) -> Self {
        Self::Io
    }
}

impl Budget {
    fn take(&mut self, blocks: i64) -> Result<(), Stop> {
        let bytes = u64::try_from(blocks).unwrap_or_default().saturating_mul(BLOCK_BYTES);
        self.left = self.left.checked_sub(bytes).ok_or(Stop::Exceeded)?;
        Ok(())
    }
}

fn measure(place: &Path, budget: &mut Budget) -> Result<(), Stop> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(CWD, place, flags, Mode::empty())?;
    walk(directory, 0, budget)
}

/// By descriptors and without following links: a container cannot lead it to anything of the host.
fn walk(directory: OwnedFd, depth: usize, budget: &mut Budget) -> Result<(), Stop> {
    if depth > DEPTH_MAX {
        return Err(Stop::Exceeded);
    }
    let device = rustix::fs::fstat(&directory)?.st_dev;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Ok(stat) = rustix::fs::statat(directory.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        if stat.st_dev != device {
            continue;
        }
        budget.take(stat.st_blocks)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let Ok(below) = rustix::fs::openat(directory.as_fd(), name, flags, Mode::empty()) else { continue };
            match walk(below, depth + 1, budget) {
                Err(Stop::Exceeded) => return Err(Stop::Exceeded),
                Ok(()) | Err(Stop::Io) => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{fs, io};

    use super::*;

    fn check(directory: &Path, bytes_max: u64) -> bool {
        exceeds(&[directory.to_owned(), directory.join("not-there")], bytes_max)
    }

    #[test]
    fn what_is_written_counts_and_what_links_lead_to_does_not() -> io::Result<()> {
        let (directory, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
        fs::write(other.path().join("big"), vec![1; 4 << 20])?;
        std::os::unix::fs::symlink(other.path(), directory.path().join("link"))?;
        fs::create_dir_all(directory.path().join("a/b"))?;
        fs::write(directory.path().join("a/b/file"), vec![1; 1 << 20])?;
        fs::File::create(directory.path().join("sparse"))?.set_len(1 << 30)?;
        assert!(!check(directory.path(), 2 << 20));
        assert!(check(directory.path(), 1 << 20), "directories take space, too");
        Ok(())
    }

    #[test]
    fn a_tree_that_hides_its_depth_is_over_the_limit() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let deep: PathBuf = std::iter::repeat_n("d", DEPTH_MAX + 2).collect();
        fs::create_dir_all(directory.path().join(deep))?;
        assert!(check(directory.path(), 1 << 40));
        Ok(())
    }
}
