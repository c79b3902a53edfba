//! What the agent's side, the zygote and the shims say to each other, and what a shim leaves on disk.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::{ContainerError, ExitRecord, TerminalSize};

/// Which program starts containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Runtime {
    /// Our own code (`embedded.rs`).
    Embedded,
    /// An OCI runtime executable: runc, crun, runsc, kata-runtime …
    OciBinary(PathBuf),
}

/// What every shim of one agent has in common; given to the zygote when it starts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ShimConfig {
    pub(super) runtime: Runtime,
    /// The shim program, as a file of the host.
    pub(super) program: PathBuf,
    /// Where the layers of `skeleton.rs` are.
    pub(super) skeletons: PathBuf,
    /// Cgroup of the shims themselves, below every hierarchy's mount point.
    pub(super) shim_cgroup: String,
}

/// From the agent to the zygote, one datagram each, with one descriptor to answer on.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Start the container described in this bundle directory. As many bytes of `held_env.rs` follow on the descriptor.
    Start { bundle: PathBuf, held_bytes: usize },
    /// Run a command inside the running container of this bundle.
    Exec(ExecPlan),
}

/// A command to run inside a container.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ExecPlan {
    pub(super) bundle: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) user: String,
    pub(super) purpose: Purpose,
    pub(super) pid: u32,
    pub(super) start_time: u64,
}

/// What a command is for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Purpose {
    /// Its exit code and the end of what it printed; killed after this long.
    Check { timeout_ms: u64 },
    /// A user's session, on a terminal of this size or on pipes.
    Session { terminal: Option<TerminalSize> },
}

/// What comes with each descriptor that a session's command hands to the agent, before its one [`Reply`].
pub(super) mod stream {
    pub(in crate::container) const TERMINAL: u8 = b'T';
    pub(in crate::container) const INPUT: u8 = b'I';
    pub(in crate::container) const OUTPUT: u8 = b'O';
    pub(in crate::container) const ERROR: u8 = b'E';
}

/// The one answer to a [`Request`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    Started(State),
    Exec { exit_code: Option<i32>, output: String },
    Failed(Failure),
}

/// `state.json` of a bundle: the container's first process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) pid: u32,
    /// Field 22 of /proc/PID/stat: with the pid it names a process for good.
    pub(super) start_time: u64,
    pub(super) started_at_ms: u64,
    pub(super) shim_pid: u32,
    pub(super) shim_start_time: u64,
    /// The shim keeps variables for later commands. A state that does not say so may be of one that does.
    #[serde(default = "unless_said")]
    pub(super) holds_env: bool,
}

fn unless_said() -> bool {
    true
}

/// A [`ContainerError`] on its way between processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Failure {
    Command(String),
    Spec(String),
    NotRunning(String),
    NoSpace,
    NoResources(String),
    Runtime(String),
}

impl Failure {
    /// Sorts a system error of `action` into what the agent distinguishes.
    pub(super) fn io(action: impl Into<String>, error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => Self::NoSpace,
            Some(libc::ENOMEM | libc::EAGAIN | libc::EMFILE | libc::ENFILE) => {
                Self::NoResources(format!("{}: {error}", action.into()))
            }
            _ => Self::Runtime(format!("{}: {error}", action.into())),
        }
    }
}

impl From<Failure> for ContainerError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Command(detail) => Self::Command { detail },
            Failure::Spec(detail) => Self::Spec { detail },
            Failure::NotRunning(id) => Self::NotRunning { id },
            Failure::NoSpace => Self::NoSpace,
            Failure::NoResources(detail) => Self::NoResources { detail },
            Failure::Runtime(detail) => Self::Runtime { detail },
        }
    }
}

/// Names inside a bundle directory.
pub(super) mod file {
    /// [`super::super::ContainerSpec`], mode 0600.
    pub(in crate::container) const SPEC: &str = "spec.json";
    /// [`super::State`].
    pub(in crate::container) const STATE: &str = "state.json";
    /// [`super::ExitRecord`].
    pub(in crate::container) const EXIT: &str = "exit.json";
    /// A FIFO whose write end the shim holds for as long as the container is its business.
    pub(in crate::container) const ALIVE: &str = "alive";
    /// Mount point of a tmpfs that only the starting process and the container's first process see.
    pub(in crate::container) const RUN: &str = "run";
    /// State directory of an OCI binary.
    pub(in crate::container) const OCI: &str = "oci";
}

/// Reads a JSON file of a bundle; `None` when it is missing or not whole.
pub(super) fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Space for an exit record: more than any takes.
const EXIT_RECORD_BYTES: usize = 512;

/// Takes the disk space of the exit record, so that a disk that fills up later cannot lose it.
pub(super) fn reserve_exit_record(bundle: &Path) -> io::Result<()> {
    fs::write(temporary(bundle, file::EXIT), [b' '; EXIT_RECORD_BYTES])
}

/// Writes the exit record so that it survives anything once this returns.
pub(super) fn write_exit_record(bundle: &Path, record: &ExitRecord) -> io::Result<()> {
    let mut text = serde_json::to_vec(record)?;
    // Blanks up to the reserved size: the file neither grows nor shrinks.
    text.resize(text.len().max(EXIT_RECORD_BYTES), b' ');
    let path = temporary(bundle, file::EXIT);
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&path, bundle.join(file::EXIT))?;
    fs::File::open(bundle)?.sync_all()
}

/// Replaces `name` in `directory` atomically. Not synced: what it says is void after a reboot anyway.
pub(super) fn write_atomically(directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let path = temporary(directory, name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    file.write_all(content)?;
    fs::rename(&path, directory.join(name))
}

fn temporary(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.new"))
}

/// Milliseconds since the epoch.
pub(super) fn milliseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
