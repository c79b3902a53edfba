//! The durable record of each task: `DATA/agent/tasks/<task id>.json`, replaced atomically.
//!
//! A record exists, flushed to the disk, before anything of its task is started; later versions are flushed only when
//! asked. The page cache outlives a killed agent, and when it does not (power loss), no container does either: the
//! boot id in the record then says that the task ended with the host.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use crate::{engine::state::TaskState, task::TaskSpec};

/// Raised when a record changes in a way that an older agent would misread.
const FORMAT: u32 = 1;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    format: u32,
    pub(crate) task: TaskSpec,
    pub(crate) state: TaskState,
}

impl Record {
    pub(crate) fn new(task: TaskSpec, state: TaskState) -> Self {
        Self { format: FORMAT, task, state }
    }
}

/// How far a write must have got when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Survives the agent.
    Process,
    /// Survives the loss of power.
    Power,
}

#[derive(Debug, Clone)]
pub(crate) struct Records {
    dir: PathBuf,
}

impl Records {
    /// Opens (and makes) the directory.
    pub(crate) fn open(dir: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    /// Reads every record. One that cannot be read is set aside and told about: a task is better reported lost by the
    /// control plane than the agent kept from starting.
    pub(crate) fn load(&self) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("json") => records.extend(self.read(&path)),
                // Left behind by a write that did not finish.
                Some("tmp") => drop(fs::remove_file(&path)),
                _ => {}
            }
        }
        Ok(records)
    }

    fn read(&self, path: &Path) -> Option<Record> {
        let parsed = fs::read(path).map_err(|error| error.to_string()).and_then(|bytes| {
            let record: Record = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
            if record.format > FORMAT {
                return Err(format!("format {} is newer than this agent", record.format));
            }
            Ok(record)
        });
        match parsed {
            Ok(record) => Some(record),
            Err(reason) => {
                error!(path = %path.display(), reason, "task record is unreadable; set aside");
                drop(fs::rename(path, path.with_extension("unreadable")));
                None
            }
        }
    }

    /// Replaces the record of a task. Never called twice at a time for one task.
    pub(crate) async fn save(&self, record: Record, durability: Durability) -> io::Result<()> {
        let dir = self.dir.clone();
        blocking(move || {
            let bytes = serde_json::to_vec(&record)?;
            let path = dir.join(format!("{}.json", record.task.id()));
            replace(&path, &bytes, durability)
        })
        .await
    }

    pub(crate) async fn remove(&self, task_id: &str) {
        let path = self.dir.join(format!("{task_id}.json"));
        if let Err(error) = blocking(move || fs::remove_file(path)).await
            && error.kind() != io::ErrorKind::NotFound
        {
            warn!(task = task_id, %error, "task record was not removed");
        }
    }
}

/// Replaces a file so that a reader, also after a crash, sees the old or the new content whole.
pub(crate) fn replace(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    // One name per write: a writer that was given up on must not meet its successor.
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let temporary = path.with_extension(format!("{}.tmp", WRITES.fetch_add(1, Ordering::Relaxed)));
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    if durability == Durability::Power {
        file.sync_data()?;
    }
    drop(file);
    fs::rename(&temporary, path)?;
    if durability == Durability::Power
        && let Some(dir) = path.parent()
    {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

/// Runs blocking file work off the event loop.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
