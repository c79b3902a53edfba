//! Makes names durable: `fsync` of directories, shared by everybody who waits for the same one.
//!
//! A rename is on disk only when its directory is. While one thread syncs a directory, the others that renamed into
//! it meanwhile wait for *one* further sync together, so a burst of small blobs costs few disk flushes.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

#[derive(Default)]
pub(super) struct DirectorySync {
    directories: Mutex<HashMap<PathBuf, Arc<Directory>>>,
}

#[derive(Default)]
struct Directory {
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Default)]
struct Progress {
    /// Syncs begun and syncs finished. A caller is served by any sync that began after its call.
    begun: u64,
    finished: u64,
    /// The newest sync that failed.
    failed: u64,
}

impl DirectorySync {
    /// Blocks until everything renamed into `path` before the call is durable.
    pub(super) fn sync(&self, path: &Path) -> io::Result<()> {
        let directory = Arc::clone(self.directories.lock().entry(path.to_owned()).or_default());
        let mut progress = directory.progress.lock();
        let wanted = progress.begun + 1;
        loop {
            if progress.finished >= wanted {
                // Whether this very sync failed is only known for the newest one; an older success followed by a
                // failure is reported as a failure, which is safe.
                let failed = progress.failed >= wanted;
                return if failed { Err(io::Error::other("directory sync failed")) } else { Ok(()) };
            }
            if progress.begun > progress.finished {
                directory.changed.wait(&mut progress);
                continue;
            }
            progress.begun += 1;
            let this = progress.begun;
            drop(progress);
            let outcome = File::open(path).and_then(|file| file.sync_all());
            progress = directory.progress.lock();
            progress.finished = this;
            if outcome.is_err() {
                progress.failed = this;
            }
            directory.changed.notify_all();
            if this >= wanted {
                return outcome;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_who_waits_is_served_and_errors_are_seen() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let sync = DirectorySync::default();
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        sync.sync(directory.path()).expect("sync");
                    }
                });
            }
        });
        assert!(sync.sync(&directory.path().join("absent")).is_err());
    }
}
