//! Containers on a host: started under a shim that outlives the agent, watched, signalled, removed.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::image::Rootfs;

mod bundle;
mod cgroup;
mod console;
mod driver;
mod embedded;
mod exec;
mod facts;
mod held_env;
mod logs;
mod message;
mod oci_binary;
mod process;
mod program;
mod rootfs;
mod seccomp;
mod session;
pub mod shim;
mod skeleton;
mod spec;
mod supervisor;
mod sys;
mod user;
mod zygote;
mod zygote_client;

pub use driver::{ShimContainers, ShimOptions};
pub use held_env::HeldEnv;
pub use message::Runtime;
pub use session::{RunningSession, SessionRequest, SessionStreams, TerminalSize, set_terminal_size};
#[cfg(test)]
pub(crate) use spec::tests::spec as spec_for_tests;

/// Everything needed to start one container. Serialised to the shim's bundle directory (mode 0600).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Unique on the host, `[a-z0-9-]{1,128}`.
    pub id: String,
    /// Task cgroup that the container's cgroup is created under, as given to [`Containers::create_task_cgroup`].
    pub task_cgroup: String,
    /// Root filesystem, mounted by the shim.
    pub rootfs: Rootfs,
    /// Remount the root read-only.
    pub readonly_rootfs: bool,
    /// Program and arguments. Empty only with `init_process`: then the init alone runs until SIGTERM, and holds the
    /// container's namespaces for others.
    pub args: Vec<String>,
    /// `KEY=value`, final.
    pub env: Vec<String>,
    /// Variables that are written nowhere, so whoever starts the container again gives them again.
    #[serde(skip)]
    pub held_env: HeldEnv,
    /// Absolute; created when missing.
    pub working_dir: String,
    /// `user`, `uid`, `user:group`, `uid:gid` or empty for root; names are looked up in the image's /etc/passwd.
    pub user: String,
    /// Own host name (needs a UTS namespace of its own); `None` keeps the namespace's name.
    pub hostname: Option<String>,
    /// Which network namespace.
    pub network: Namespace,
    /// Which pid namespace.
    pub pid: Namespace,
    /// Which ipc namespace.
    pub ipc: Namespace,
    /// Beyond the standard /proc, /dev, /sys, /dev/shm, /dev/mqueue, /dev/pts.
    pub mounts: Vec<Mount>,
    /// Resource limits of the container itself.
    pub limits: Limits,
    /// All capabilities, all devices, no seccomp, no masked paths.
    pub privileged: bool,
    /// Added to Docker's default set, without `CAP_`; `ALL` means all.
    pub capabilities_add: Vec<String>,
    /// Removed from it; `ALL` means all.
    pub capabilities_drop: Vec<String>,
    /// name (`nofile`, `core` …) → (soft, hard); -1 is unlimited.
    pub ulimits: BTreeMap<String, (i64, i64)>,
    /// sysctl name → value.
    pub sysctls: BTreeMap<String, String>,
    /// Host devices to add.
    pub devices: Vec<Device>,
    /// Run by the host once the container's file system is there, before its program.
    #[serde(default)]
    pub hooks: Vec<Hook>,
    /// Groups that its processes are in besides those of their user.
    #[serde(default)]
    pub additional_groups: Vec<u32>,
    /// Size of /dev/shm in bytes; `None` is 64 MiB.
    pub shm_bytes: Option<u64>,
    /// Run a small init as pid 1 that forwards signals and reaps.
    pub init_process: bool,
    /// Set no_new_privs.
    pub no_new_privileges: bool,
    /// Allocate a terminal.
    pub terminal: bool,
    /// Standard input stays open and empty, instead of being /dev/null.
    #[serde(default)]
    pub stdin_open: bool,
    /// Where the shim writes what the container prints.
    pub log: LogFile,
    /// Labels, kept for inspection.
    pub labels: BTreeMap<String, String>,
}

/// A namespace of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namespace {
    /// The host's.
    Host,
    /// A new one of its own.
    Private,
    /// The one behind this path (bind mount or /proc/PID/ns/…).
    Path(PathBuf),
}

/// A mount into the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What to mount there.
    pub source: MountSource,
    /// Absolute path inside the container; created when missing.
    pub target: String,
    /// Read-only.
    pub readonly: bool,
}

/// What a [`Mount`] shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A file or directory of the host (recursive bind, private propagation).
    Bind(PathBuf),
    /// The same with mount options of its own, which say it all.
    BindWith {
        /// Of the host.
        source: PathBuf,
        /// For example `ro`, `nosuid`, `rbind`.
        options: Vec<String>,
    },
    /// A directory in one of the host's. No link and no `..` in the path leads out of it: that is refused.
    Below {
        /// Trusted.
        directory: PathBuf,
        /// Relative to it, not trusted.
        path: String,
    },
    /// A fresh tmpfs.
    Tmpfs {
        /// Size in bytes.
        bytes: u64,
        /// Further mount options, for example `noexec`.
        options: Vec<String>,
    },
}

/// A device node of the host given to a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// On the host.
    pub host_path: PathBuf,
    /// In the container.
    pub container_path: String,
    /// Any of `r`, `w`, `m`; empty is all of them.
    pub permissions: String,
    /// What is not to be taken from the host's file.
    #[serde(default)]
    pub facts: DeviceFacts,
}

/// What a device in a container is, where it is not as the host's file says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceFacts {
    /// A block device, not one of characters.
    pub block: Option<bool>,
    /// Its driver.
    pub major: Option<u32>,
    /// Which of the driver's devices.
    pub minor: Option<u32>,
    /// Permission bits of the node.
    pub mode: Option<u32>,
    /// Its owner.
    pub uid: Option<u32>,
    /// Its group.
    pub gid: Option<u32>,
    /// An owner or group that is not said above is that of the container's program, unless that is root.
    #[serde(default)]
    pub of_program: bool,
}

/// A program of the host that finishes the container's file system: a `createContainer` hook of the OCI runtime
/// specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Absolute path on the host.
    pub path: PathBuf,
    /// Its arguments, the first one its name.
    pub args: Vec<String>,
    /// `KEY=value`; nothing else is set.
    pub env: Vec<String>,
    /// Killed after this long, which fails the start.
    pub timeout: Duration,
}

/// Resource limits; `None` is no limit of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Relative weight, 1024 per vCPU (cgroup v1 `cpu.shares`, converted on v2).
    pub cpu_shares: Option<u64>,
    /// Hard CPU limit in units of 1/1024 vCPU over a 100 ms period.
    pub cpu_quota_units: Option<u64>,
    /// Hard memory limit, bytes.
    pub memory_bytes: Option<u64>,
    /// Soft memory limit, bytes.
    pub memory_reservation_bytes: Option<u64>,
    /// Memory plus swap, bytes; `None` follows Docker: twice the memory where swap accounting exists.
    pub memory_swap_bytes: Option<u64>,
    /// 0 to 100.
    pub swappiness: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// Rotated output of a container: JSON lines `{"log":"text\n","stream":"stdout","time":"RFC3339Nano"}`, the format
/// of Docker's json-file driver. The current file is `path`, older ones `path.1` (newest) … `path.N`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFile {
    /// The current file.
    pub path: PathBuf,
    /// Rotate when the file reaches this many bytes; `None` never rotates.
    pub max_bytes: Option<u64>,
    /// How many files are kept in all, at least 1.
    pub max_files: u32,
}

/// A started container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Host pid of the container's first process.
    pub pid: u32,
    /// Milliseconds since the epoch.
    pub started_at_ms: u64,
}

/// How a container ended; written by the shim before anybody is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// Exit status, or 128 + signal number.
    pub exit_code: i32,
    /// The kernel killed a process of it for memory.
    pub oom_killed: bool,
    /// Milliseconds since the epoch.
    pub started_at_ms: u64,
    /// Milliseconds since the epoch.
    pub finished_at_ms: u64,
}

/// What [`Containers::list`] finds of a container that was started here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerStatus {
    /// An earlier agent asked for it and ended before the answer, and its hooks take their time. Starting it again waits
    /// for what becomes of it.
    Starting,
    /// Its shim and first process live.
    Running(Started),
    /// It ended and the shim recorded how.
    Exited(ExitRecord),
    /// No process and no exit record: the host went down, or somebody killed the shim and the container.
    Lost,
}

/// A command run inside a running container (health checks).
#[derive(Debug, Clone)]
pub struct ExecRequest {
    /// Program and arguments.
    pub args: Vec<String>,
    /// The container's own user when empty.
    pub user: String,
    /// Killed after this long.
    pub timeout: Duration,
}

/// How an [`ExecRequest`] went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutcome {
    /// `None` when it was killed by the time-out.
    pub exit_code: Option<i32>,
    /// The last 4 KiB of its standard output and error together.
    pub output: String,
}

/// Limits of a whole task, on the cgroup above its containers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskLimits {
    /// Hard CPU limit, 1/1024 vCPU.
    pub cpu_units: Option<u64>,
    /// Hard memory limit, bytes.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// One reading of a container's or task's use of resources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time since start, nanoseconds.
    pub cpu_ns: u64,
    /// Memory now, bytes, without the page cache that can be dropped.
    pub memory_bytes: u64,
    /// Processes and threads now.
    pub pids: u64,
}

/// Why a container did not start or could not be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// The program is not in the image or cannot be executed: Docker's `CannotStartContainerError` (exit 126/127).
    #[error("{detail}")]
    Command {
        /// runc-like sentence: `exec: "x": executable file not found in $PATH`.
        detail: String,
    },
    /// The specification cannot be carried out: unknown user, missing mount source, bad sysctl …
    #[error("{detail}")]
    Spec {
        /// What and why.
        detail: String,
    },
    /// There is no such container, or it is not running.
    #[error("container {id} is not running")]
    NotRunning {
        /// Its id.
        id: String,
    },
    /// The disk is full.
    #[error("no space left on device")]
    NoSpace,
    /// A limit of the host (memory, processes) prevented the start.
    #[error("not enough resources on the host: {detail}")]
    NoResources {
        /// The system's words.
        detail: String,
    },
    /// The shim or the OCI runtime failed.
    #[error("container runtime: {detail}")]
    Runtime {
        /// What it said.
        detail: String,
    },
}

/// Containers of one host. Ids are the caller's; every method is safe to repeat.
#[async_trait]
pub trait Containers: Send + Sync {
    /// Creates the cgroup of a task and returns the value for [`ContainerSpec::task_cgroup`].
    async fn create_task_cgroup(&self, task_id: &str, limits: &TaskLimits) -> Result<String, ContainerError>;

    /// Removes it; no error when it is gone.
    async fn remove_task_cgroup(&self, task_id: &str) -> Result<(), ContainerError>;

    /// Starts a container and returns when its program has been executed. An id whose earlier container exited may
    /// be started again (restart policies); the log continues. A start that an earlier agent asked for is waited for.
    async fn start(&self, spec: &ContainerSpec) -> Result<Started, ContainerError>;

    /// Sends a signal to the first process.
    async fn signal(&self, id: &str, signal: i32) -> Result<(), ContainerError>;

    /// Waits for the end, for containers started by an earlier agent process too. `Lost` is reported as
    /// [`ContainerError::NotRunning`].
    async fn wait(&self, id: &str) -> Result<ExitRecord, ContainerError>;

    /// Runs a command inside.
    async fn exec(&self, id: &str, request: &ExecRequest) -> Result<ExecOutcome, ContainerError>;

    /// Runs a command inside for a user and hands over its streams as soon as it runs.
    async fn open_session(&self, id: &str, request: &SessionRequest) -> Result<RunningSession, ContainerError>;

    /// Reads the use of resources of a container.
    async fn usage(&self, id: &str) -> Result<Usage, ContainerError>;

    /// Everything known on this host, by id.
    async fn list(&self) -> Result<BTreeMap<String, ContainerStatus>, ContainerError>;

    /// Kills what is left of a container and forgets it (not its log, not its root filesystem).
    async fn remove(&self, id: &str) -> Result<(), ContainerError>;

    /// The /proc path of a namespace of a running container (`net`, `pid`, `ipc`), for [`Namespace::Path`].
    async fn namespace_path(&self, id: &str, kind: &str) -> Result<PathBuf, ContainerError>;
}
