//! Images that are mounted before they are here.
//!
//! A prepared layer whose chunks have digests is mounted at once: EROFS on a file of a FUSE file system that one small
//! process of ours answers, from the chunks that are here or after fetching them. See
//! `docs/decisions/0007-images-read-on-demand.md`.
//!
//! What must hold:
//! * nothing is shown that was not checked: row of our registry → table → chunk;
//! * the process is no part of the agent: it goes on when the agent is killed, and a part of it that is killed is
//!   replaced without whoever reads noticing more than a wait;
//! * a read waits for a bounded time and then fails; the log says why;
//! * once all chunks are here the layer is like any other one.

mod control;
mod fuse;
mod keeper;
mod local;
mod mounts;
mod waiting;
mod worker;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    sync::mpsc,
    time::Duration,
};

use gantry_layers::prepared::{PreparedLayer, chunks::Chunks};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use self::{control::Word, local::LocalImage};
use super::{Password, RegistryAccess, failure::Failure};

/// In a layer's directory while it is not whole: what is being fetched …
pub(super) const PLAN: &str = "lazy.json";
/// … the digests of its chunks …
const TABLE: &str = "chunks";
/// … and which of them are here, a byte each.
const MARKS: &str = "present";

/// Layers that may be unfinished at a time on a host; more are fetched whole.
const UNFINISHED_MAX: usize = 32;
/// How often, and how far apart, it is tried to reach who fetches a layer that nobody will want.
const END_ATTEMPTS: u32 = 20;
const END_PAUSE: Duration = Duration::from_millis(100);
/// Until the image is mounted: two chunks have to be fetched for that.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// How images are started before they are here.
#[derive(Debug, Clone)]
pub struct LazyOptions {
    /// The program that dispatches `shim …` to [`crate::container::shim::main`]: the `gantry` executable.
    pub program: PathBuf,
    /// Cgroup of the processes that answer, below every hierarchy's mount point: the shims'.
    pub cgroup: String,
    /// Smaller blobs are fetched whole, which takes no longer.
    pub blob_bytes_min: u64,
    /// How long a read may wait for what it wants.
    pub wait: Duration,
}

impl LazyOptions {
    /// The usual bounds.
    pub fn new(program: PathBuf, cgroup: String) -> Self {
        Self { program, cgroup, blob_bytes_min: 4 << 20, wait: Duration::from_secs(120) }
    }
}

/// `lazy.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    /// Of the image, for the registry and the repository.
    pub(super) reference: String,
    pub(super) prepared: PreparedLayer,
}

impl Plan {
    fn read_table(&self, table: &[u8]) -> Result<Chunks, Failure> {
        let place = self.prepared.chunks.as_ref();
        let place = place.ok_or_else(|| Failure::corrupt("a prepared layer without digests of its chunks"))?;
        Ok(Chunks::read(table, place, self.prepared.image_size)?)
    }
}

/// A [`RegistryAccess`] on its way to another process, never to a file.
#[derive(Clone, Serialize, Deserialize)]
struct Access {
    base_url: Option<String>,
    basic: Option<(String, String)>,
}

impl Access {
    fn new(access: &RegistryAccess) -> Self {
        let basic = access.basic.as_ref().map(|(user, password)| (user.clone(), password.0.clone()));
        Self { base_url: access.base_url.clone(), basic }
    }

    fn registry(&self) -> RegistryAccess {
        let basic = self.basic.clone().map(|(user, password)| (user, Password(password)));
        RegistryAccess { base_url: self.base_url.clone(), basic, prepared: true }
    }
}

/// What a keeper is told.
#[derive(Clone, Serialize, Deserialize)]
struct Orders {
    cgroup: String,
    access: Access,
    wait: Duration,
}

/// The agent's side.
#[derive(Debug)]
pub(super) struct Starter {
    options: LazyOptions,
    /// How the registries of unfinished images were last reached, by reference.
    accesses: Mutex<BTreeMap<String, RegistryAccess>>,
    /// Held while looking whether a layer is served and serving it.
    reviving: Mutex<()>,
}

impl Starter {
    pub(super) fn new(options: LazyOptions) -> Self {
        Self { options, accesses: Mutex::default(), reviving: Mutex::default() }
    }

    /// Whether the layer is worth it and can be had in chunks.
    pub(super) fn suits(&self, prepared: &PreparedLayer) -> bool {
        prepared.chunks.is_some() && prepared.size >= self.options.blob_bytes_min
    }

    /// Whether another one may be begun. `layers` is the directory of all layers.
    pub(super) fn has_room(&self, layers: &Path) -> bool {
        unfinished(layers).len() < UNFINISHED_MAX
    }

    /// Makes the files of the layer in the empty directory `directory` and mounts it there. Blocks.
    pub(super) fn begin(
        &self,
        directory: &Path,
        plan: &Plan,
        table: &[u8],
        access: &RegistryAccess,
    ) -> Result<(), Failure> {
        LocalImage::create(directory, plan, table)?;
        self.accesses.lock().insert(plan.reference.clone(), access.clone());
        self.start(directory, access)
    }

    /// Sees to it that an unfinished layer is served: by the process that does it already, or by a new one that goes
    /// on with what is here. Blocks.
    pub(super) fn revive(&self, directory: &Path) -> Result<(), Failure> {
        let _guard = self.reviving.lock();
        let Some(plan) = read_plan(directory) else { return Ok(()) };
        // They may have come to their end just now.
        if local::is_served(directory) || !is_unfinished(directory) {
            return Ok(());
        }
        tracing::warn!(layer = %directory.display(), "nobody serves an unfinished image; going on with it");
        super::erofs::unmount(&directory.join("fs")).map_err(|error| Failure::io("unmount a layer", error))?;
        let access = self.accesses.lock().get(&plan.reference).cloned().unwrap_or_default();
        self.start(directory, &access)
    }

    /// Gives those who fetch layers of the image `reference` below `layers` credentials that are still good. Blocks.
    pub(super) fn renew(&self, layers: &Path, reference: &str, access: &RegistryAccess) {
        self.accesses.lock().insert(reference.to_owned(), access.clone());
        for (directory, plan) in unfinished(layers) {
            if plan.reference == reference
                && let Err(error) = control::tell(&directory, &Word::Access(Access::new(access)))
            {
                tracing::debug!(%error, layer = %directory.display(), "nobody fetches an unfinished image");
                // A keeper that was dying when somebody was about to use the image looked alive.
                if let Err(error) = self.revive(&directory) {
                    tracing::warn!(%error, layer = %directory.display(), "an unfinished image is served by nobody");
                }
            }
        }
    }

    /// References of the images below `layers` that are being fetched. Others' credentials are forgotten.
    pub(super) fn references(&self, layers: &Path) -> Vec<String> {
        let mut references: Vec<String> = unfinished(layers).into_iter().map(|(_, plan)| plan.reference).collect();
        references.sort_unstable();
        references.dedup();
        self.accesses.lock().retain(|reference, _| references.binary_search(reference).is_ok());
        references
    }

    fn start(&self, directory: &Path, access: &RegistryAccess) -> Result<(), Failure> {
        let failed = |error| Failure::io("start the process that serves an image", error);
        let orders =
            Orders { cgroup: self.options.cgroup.clone(), access: Access::new(access), wait: self.options.wait };
        let mut child = keeper::spawn(&self.options.program, directory, &orders).map_err(failed)?;
        let Some(stdout) = child.stdout.take() else { return Err(failed(io::ErrorKind::BrokenPipe.into())) };
        let (told, said) = mpsc::channel();
        let kill = child.id();
        std::thread::Builder::new()
            .name("image-keeper".to_owned())
            .stack_size(64 << 10)
            .spawn(move || {
                let mut line = String::new();
                let read = BufReader::new(stdout).read_line(&mut line);
                let _ = told.send(read.map(|_| line));
                // Else it would stay as a zombie when it ends before we do.
                let _ = child.wait();
            })
            .map_err(failed)?;
        match said.recv_timeout(START_PATIENCE) {
            Ok(Ok(line)) if line.trim() == keeper::READY => Ok(()),
            Ok(Ok(line)) => Err(failed(io::Error::other(line.trim().to_owned()))),
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => {
                if let Some(pid) = rustix::process::Pid::from_raw(kill as i32) {
                    // Its worker ends when the kernel does not ask it any more.
                    let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
                }
                Err(failed(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

/// Ends whoever fetches the layer in `directory`, if somebody does: the kernel unmounts nothing that is being read, and
/// what is read may be a while in coming.
pub(super) fn end(directory: &Path) {
    for _ in 0..END_ATTEMPTS {
        if !is_unfinished(directory) || !local::is_served(directory) {
            return;
        }
        match control::tell(directory, &Word::End) {
            Ok(()) => return,
            // Perhaps one that died is being replaced.
            Err(error) => tracing::debug!(%error, layer = %directory.display(), "nobody fetches an unfinished image"),
        }
        std::thread::sleep(END_PAUSE);
    }
}

/// Whether not all of the layer in `directory` is here.
pub(super) fn is_unfinished(directory: &Path) -> bool {
    directory.join(PLAN).exists()
}

fn read_plan(directory: &Path) -> Option<Plan> {
    serde_json::from_slice(&fs::read(directory.join(PLAN)).ok()?).ok()
}

/// The unfinished layers below `layers`.
fn unfinished(layers: &Path) -> Vec<(PathBuf, Plan)> {
    let Ok(entries) = fs::read_dir(layers) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter_map(|path| read_plan(&path).map(|plan| (path, plan))).collect()
}

/// What a keeper or a worker does first; `enter` moves the calling process into a cgroup.
pub(crate) fn run_shim(role: &str, directory: &Path, enter: impl FnOnce(&str) -> io::Result<()>) -> io::Result<i32> {
    let orders = keeper::take_orders()?;
    match role {
        "layer" => {
            let _ = rustix::process::setsid();
            std::env::set_current_dir("/")?;
            enter(&orders.cgroup)?;
            // Containers depend on it: let the kernel take anybody else first when the host is out of memory.
            let _ = fs::write("/proc/self/oom_score_adj", "-999");
            let ran = keeper::run(directory, &orders);
            if let Err(error) = &ran {
                // The first line is what the agent reads.
                keeper::tell(&error.to_string());
            }
            ran.map(|()| 0)
        }
        _ => worker::run(directory, orders),
    }
}
