//! The streams in memory: those used lately, the others are looked at again when needed.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::segment::Trust;
use super::stream::{Stream, StreamId, group_directory, sync_directory};

/// Streams kept in memory, some hundred bytes each.
const STREAMS_MAX: usize = 8192;

/// Deleted directories wait here for their files to be removed.
const TRASH: &str = "trash";

/// See the module.
#[derive(Debug)]
pub(super) struct Streams {
    root: PathBuf,
    used: Mutex<HashMap<StreamId, Used>>,
    /// Counts uses, to tell which is longest ago.
    clock: AtomicU64,
    trashed: AtomicU64,
}

#[derive(Debug)]
struct Used {
    stream: Arc<Stream>,
    at: u64,
}

impl Streams {
    pub(super) fn new(root: &Path) -> Self {
        let (clock, trashed) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { root: root.to_owned(), used: Mutex::default(), clock, trashed }
    }

    /// The stream; one that was never written to is empty.
    pub(super) fn get(&self, id: StreamId) -> io::Result<Arc<Stream>> {
        self.get_with(id, |id| Stream::load(id.directory(&self.root), |_| Trust::Headers))
    }

    /// The stream, loaded by `load` when it is not in memory.
    pub(super) fn get_with(
        &self,
        id: StreamId,
        load: impl FnOnce(StreamId) -> io::Result<Stream>,
    ) -> io::Result<Arc<Stream>> {
        let at = self.clock.fetch_add(1, Ordering::Relaxed);
        if let Some(used) = self.used.lock().get_mut(&id) {
            used.at = at;
            return Ok(used.stream.clone());
        }
        let loaded = Arc::new(load(id)?);
        let mut used = self.used.lock();
        if used.len() >= STREAMS_MAX {
            forget_oldest(&mut used);
        }
        // Somebody else may have loaded it meanwhile; there must be only one.
        let entry = used.entry(id).or_insert(Used { stream: loaded, at });
        Ok(entry.stream.clone())
    }

    /// The stream's directory.
    pub(super) fn directory(&self, id: StreamId) -> PathBuf {
        id.directory(&self.root)
    }

    /// Forgets a stream and its files.
    pub(super) fn delete_stream(&self, id: StreamId) -> io::Result<()> {
        if let Some(used) = self.used.lock().remove(&id) {
            used.stream.mark_deleted();
        }
        self.discard(&id.directory(&self.root))
    }

    /// Forgets all streams of a group and their files.
    pub(super) fn delete_group(&self, group: u64) -> io::Result<()> {
        self.used.lock().retain(|id, used| {
            if id.group == group {
                used.stream.mark_deleted();
            }
            id.group != group
        });
        self.discard(&group_directory(&self.root, group))
    }

    /// Renames a directory away, which is quick, and removes its files in the background, which may not be.
    fn discard(&self, directory: &Path) -> io::Result<()> {
        let trash = self.root.join(TRASH);
        fs::create_dir_all(&trash)?;
        let number = self.trashed.fetch_add(1, Ordering::Relaxed);
        let doomed = trash.join(format!("{number}"));
        match fs::rename(directory, &doomed) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
        if let Some(parent) = directory.parent() {
            sync_directory(parent)?;
        }
        std::thread::Builder::new().name("logs-delete".to_owned()).spawn(move || remove(&doomed))?;
        Ok(())
    }
}

/// Removes what an earlier run had no time to remove.
pub(super) fn empty_trash(root: &Path) {
    remove(&root.join(TRASH));
}

/// Forgets the least recently used quarter of the streams that nobody holds.
fn forget_oldest(used: &mut HashMap<StreamId, Used>) {
    let mut times: Vec<u64> = used.values().map(|used| used.at).collect();
    times.sort_unstable();
    let cut = times[times.len() / 4];
    used.retain(|_, used| used.at > cut || Arc::strong_count(&used.stream) > 1);
}

fn remove(directory: &Path) {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, directory = %directory.display(), "cannot remove deleted log events");
        }
        _ => {}
    }
}
