//! The agent's side: starts the zygote, asks it for shims, and reads from bundles what became of them.

use std::{
    collections::BTreeMap,
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{DirBuilderExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::io::AsyncReadExt;

use super::{
    ContainerError, ContainerSpec, ContainerStatus, Containers, ExecOutcome, ExecRequest, ExitRecord, Started,
    TaskLimits, Usage,
    cgroup::{Cgroup, Hierarchies, settings},
    message::{self, ExecPlan, Failure, Reply, Request, Runtime, ShimConfig, State, file},
    process, sys, zygote,
};

/// How long processes may take to die after SIGKILL before a removal gives up.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// How long a start that an earlier agent asked for may still take before it counts as lost.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// How [`ShimContainers`] starts containers.
#[derive(Debug, Clone)]
pub struct ShimOptions {
    /// The embedded library or an OCI executable.
    pub runtime: Runtime,
    /// The program that dispatches `shim …` to [`super::shim::main`]: the `gantry` executable.
    pub program: PathBuf,
    /// Name of the cgroup above all tasks, one path component, `gantry` unless several instances share the host.
    pub cgroup_parent: String,
}

/// Containers under shims. Cheap to clone.
#[derive(Clone)]
pub struct ShimContainers(Arc<Inner>);

struct Inner {
    root: PathBuf,
    options: ShimOptions,
    hierarchies: Hierarchies,
    zygote: Mutex<Option<Zygote>>,
}

struct Zygote {
    socket: OwnedFd,
    process: Child,
}

impl Drop for Zygote {
    fn drop(&mut self) {
        // It ends by itself when the socket closes, but a field is dropped only after this: be explicit.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
        let _ = self.process.wait();
    }
}

impl ShimContainers {
    /// Opens the containers under `root`, started by whichever earlier process.
    ///
    /// # Errors
    ///
    /// When `root` cannot be created, the host has no usable control groups, or the shim program does not start.
    pub fn open(root: PathBuf, options: ShimOptions) -> Result<Self, ContainerError> {
        let failure = |action: &str, error: &io::Error| ContainerError::from(Failure::io(action, error));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&root)
            .map_err(|error| failure("creating the container directory", &error))?;
        let root = root.canonicalize().map_err(|error| failure("opening the container directory", &error))?;
        let hierarchies = Hierarchies::detect().map_err(|error| failure("looking for control groups", &error))?;
        hierarchies
            .prepare_parent(&options.cgroup_parent)
            .map_err(|error| failure("preparing control groups", &error))?;
        let inner = Inner { root, options, hierarchies, zygote: Mutex::new(None) };
        let zygote = inner.spawn_zygote()?;
        *inner.zygote.lock() = Some(zygote);
        Ok(Self(Arc::new(inner)))
    }

    /// Ends the shim program (not the shims); it is started again when it is needed.
    pub fn close(&self) {
        *self.0.zygote.lock() = None;
    }

    /// Runs what does many small system calls off the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, ContainerError> + Send + 'static,
    ) -> Result<T, ContainerError> {
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&inner))
            .await
            .map_err(|error| ContainerError::Runtime { detail: error.to_string() })?
    }
}

impl Inner {
    fn spawn_zygote(&self) -> Result<Zygote, ContainerError> {
        let failure = |error: io::Error| ContainerError::from(Failure::io("starting the shim program", &error));
        let config = ShimConfig {
            runtime: self.options.runtime.clone(),
            program: self.options.program.clone(),
            shim_cgroup: format!("{}/shims", self.options.cgroup_parent),
        };
        let (socket, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|error| failure(error.into()))?;
        for end in [&socket, &theirs] {
            rustix::net::sockopt::set_socket_send_buffer_size(end, zygote::REQUEST_BYTES_MAX)
                .map_err(|error| failure(error.into()))?;
        }
        let program = protected_program(&self.options.program).map_err(failure)?;
        let process = Command::new(program.path())
            .arg("shim")
            .arg("zygote")
            .arg(serde_json::to_string(&config).map_err(|error| failure(error.into()))?)
            .env_clear()
            .stdin(theirs)
            .stdout(std::process::Stdio::null())
            .spawn()
            .map_err(failure)?;
        Ok(Zygote { socket, process })
    }

    /// Sends a request with a socket to answer on; returns our end of it. A zygote that died is replaced once.
    fn ask(&self, request: &Request) -> Result<OwnedFd, ContainerError> {
        let failure = |error: io::Error| ContainerError::from(Failure::io("asking for a shim", &error));
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .map_err(|error| failure(error.into()))?;
        let text = serde_json::to_vec(request).map_err(|error| failure(error.into()))?;
        if text.len() >= zygote::REQUEST_BYTES_MAX {
            return Err(Failure::Spec("argument list too long".to_owned()).into());
        }
        let mut zygote = self.zygote.lock();
        if let Some(running) = zygote.as_ref()
            && zygote::send_with_fd(running.socket.as_fd(), &text, Some(theirs.as_fd())).is_ok()
        {
            return Ok(ours);
        }
        if zygote.take().is_some() {
            tracing::warn!("the shim program ended; starting it again");
        }
        let fresh = self.spawn_zygote()?;
        zygote::send_with_fd(fresh.socket.as_fd(), &text, Some(theirs.as_fd())).map_err(failure)?;
        *zygote = Some(fresh);
        Ok(ours)
    }

    fn bundle(&self, id: &str) -> Result<PathBuf, ContainerError> {
        let valid =
            (1..=128).contains(&id.len()) && id.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if valid { Ok(self.root.join(id)) } else { Err(Failure::Spec(format!("invalid container id {id:?}")).into()) }
    }

    fn container_cgroup(&self, bundle: &Path) -> Option<Cgroup> {
        let spec: ContainerSpec = message::read_json(&bundle.join(file::SPEC))?;
        Some(self.hierarchies.cgroup(&format!("{}/{}", spec.task_cgroup, spec.id)))
    }

    /// What the bundle says, with leftovers of a lost container killed.
    fn look(&self, bundle: &Path) -> Found {
        // In this order: a record is complete before the FIFO closes.
        if is_alive(bundle) {
            return match message::read_json::<State>(&bundle.join(file::STATE)) {
                Some(state) => Found::Running(state),
                None => Found::Starting,
            };
        }
        match message::read_json(&bundle.join(file::EXIT)) {
            Some(record) => Found::Exited(record),
            None => {
                if let Some(cgroup) = self.container_cgroup(bundle) {
                    cgroup.kill(KILL_PATIENCE);
                }
                Found::Lost
            }
        }
    }

    fn running(&self, id: &str) -> Result<(PathBuf, State), ContainerError> {
        let bundle = self.bundle(id)?;
        match self.look(&bundle) {
            Found::Running(state) => Ok((bundle, state)),
            _ => Err(ContainerError::NotRunning { id: id.to_owned() }),
        }
    }

    /// Makes the bundle of a start and asks for the shim.
    fn begin(&self, spec: &ContainerSpec) -> Result<Begun, ContainerError> {
        let bundle = self.bundle(&spec.id)?;
        if spec.args.is_empty() {
            return Err(Failure::Command("no command specified".to_owned()).into());
        }
        if bundle.exists() {
            match self.look(&bundle) {
                Found::Running(state) => return Ok(Begun::Already(state)),
                Found::Starting => {
                    return Err(Failure::Runtime(format!("container {} is being started", spec.id)).into());
                }
                Found::Exited(_) | Found::Lost => self.clear(&bundle)?,
            }
        }
        let failure = |error: io::Error| ContainerError::from(Failure::io("writing the bundle", &error));
        fs::DirBuilder::new().mode(0o700).create(&bundle).map_err(failure)?;
        let asked = write_bundle(&bundle, spec)
            .map_err(failure)
            .and_then(|()| self.ask(&Request::Start { bundle: bundle.clone() }));
        match asked {
            Ok(reply) => Ok(Begun::Asked(reply)),
            Err(error) => {
                let _ = self.clear(&bundle);
                Err(error)
            }
        }
    }

    /// Removes cgroup and bundle of a container that has no process any more (or loses them now).
    fn clear(&self, bundle: &Path) -> Result<(), ContainerError> {
        let failure = |error: io::Error| ContainerError::from(Failure::io("removing a container", &error));
        // After its report a shim still lets go of the container's mounts; until then its writable layer is in use.
        if let Some(state) = message::read_json::<State>(&bundle.join(file::STATE))
            && let Ok(shim) = process::open(state.shim_pid, state.shim_start_time)
            && !process::wait_for_end(&shim, KILL_PATIENCE)
        {
            return Err(Failure::Runtime("the container's shim does not end".to_owned()).into());
        }
        if let Some(cgroup) = self.container_cgroup(bundle) {
            if !cgroup.kill(KILL_PATIENCE) {
                return Err(Failure::Runtime("processes of the container do not die".to_owned()).into());
            }
            cgroup.remove(KILL_PATIENCE).map_err(failure)?;
        }
        match fs::remove_dir_all(bundle) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failure(error)),
            _ => Ok(()),
        }
    }

    /// Kills shim-less leftovers and, if it must be, a shim that does not notice the end of its container.
    fn kill(&self, bundle: &Path) {
        if let Some(cgroup) = self.container_cgroup(bundle) {
            cgroup.kill(KILL_PATIENCE);
        }
    }
}

enum Begun {
    Already(State),
    Asked(OwnedFd),
}

enum Found {
    Starting,
    Running(State),
    Exited(ExitRecord),
    Lost,
}

fn write_bundle(bundle: &Path, spec: &ContainerSpec) -> io::Result<()> {
    // Not atomically: nobody looks at it before the request names it.
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(bundle.join(file::SPEC))?;
    io::Write::write_all(&mut file, &serde_json::to_vec(spec)?)?;
    nix::unistd::mkfifo(&bundle.join(file::ALIVE), nix::sys::stat::Mode::from_bits_truncate(0o600))?;
    Ok(())
}

/// The read end of a bundle's FIFO, when a shim holds the other.
fn open_alive(bundle: &Path) -> Option<fs::File> {
    let fifo = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(bundle.join(file::ALIVE)).ok()?;
    match rustix::io::read(&fifo, &mut [0_u8; 1]) {
        // Nothing to read, but somebody who could write.
        Err(rustix::io::Errno::AGAIN) => Some(fifo),
        _ => None,
    }
}

fn is_alive(bundle: &Path) -> bool {
    open_alive(bundle).is_some()
}

/// Waits until no shim holds the FIFO any more.
async fn wait_for_shim(bundle: &Path) -> Result<(), ContainerError> {
    let Some(fifo) = open_alive(bundle) else { return Ok(()) };
    let failure = |error: io::Error| ContainerError::from(Failure::io("waiting for a container", &error));
    let fifo = tokio::net::unix::pipe::Receiver::from_file(fifo).map_err(failure)?;
    loop {
        fifo.readable().await.map_err(failure)?;
        match fifo.try_read(&mut [0_u8; 1]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => return Ok(()),
        }
    }
}

/// The shim program as seen through a read-only mount of its own. What runs inside a container before its program
/// does is this very file (`/proc/PID/exe`); the container must not be able to write to it.
struct ProtectedProgram(Option<OwnedFd>, PathBuf);

impl ProtectedProgram {
    fn path(&self) -> PathBuf {
        match &self.0 {
            Some(fd) => format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(fd)).into(),
            None => self.1.clone(),
        }
    }
}

fn protected_program(program: &Path) -> io::Result<ProtectedProgram> {
    use rustix::{
        fs::{CWD, Mode, OFlags},
        mount::OpenTreeFlags,
    };
    let tree =
        rustix::mount::open_tree(CWD, program, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC);
    if let Ok(tree) = tree
        && sys::make_read_only(tree.as_fd()).is_ok()
    {
        // Through the descriptor of the mount itself, so that what is executed is on that mount.
        return Ok(ProtectedProgram(Some(tree), program.to_owned()));
    }
    // Kernels before 5.12: a sealed copy in memory.
    let copy = rustix::fs::memfd_create(
        "gantry-shim",
        rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING,
    )?;
    io::copy(&mut fs::File::open(program)?, &mut fs::File::from(copy.try_clone()?))?;
    rustix::fs::fcntl_add_seals(
        &copy,
        rustix::fs::SealFlags::WRITE
            | rustix::fs::SealFlags::SHRINK
            | rustix::fs::SealFlags::GROW
            | rustix::fs::SealFlags::SEAL,
    )?;
    // A file that is open for writing cannot be executed: take a descriptor that only reads.
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&copy));
    let reader = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(ProtectedProgram(Some(reader), program.to_owned()))
}

/// Reads the one answer.
async fn read_reply(socket: OwnedFd) -> Result<Reply, ContainerError> {
    let failure = |error: io::Error| ContainerError::from(Failure::io("waiting for a shim", &error));
    let socket = std::os::unix::net::UnixStream::from(socket);
    socket.set_nonblocking(true).map_err(failure)?;
    let mut socket = tokio::net::UnixStream::from_std(socket).map_err(failure)?;
    let mut text = Vec::new();
    socket.read_to_end(&mut text).await.map_err(failure)?;
    if text.is_empty() {
        return Err(Failure::Runtime("the shim ended without an answer".to_owned()).into());
    }
    match serde_json::from_slice(&text) {
        Ok(Reply::Failed(reason)) => Err(reason.into()),
        Ok(reply) => Ok(reply),
        Err(error) => Err(failure(error.into())),
    }
}

fn unexpected() -> ContainerError {
    ContainerError::Runtime { detail: "the shim gave an unexpected answer".to_owned() }
}

impl From<State> for Started {
    fn from(state: State) -> Self {
        Self { pid: state.pid, started_at_ms: state.started_at_ms }
    }
}

#[async_trait]
impl Containers for ShimContainers {
    async fn create_task_cgroup(&self, task_id: &str, limits: &TaskLimits) -> Result<String, ContainerError> {
        let (task_id, limits) = (task_id.to_owned(), limits.clone());
        self.blocking(move |inner| {
            inner.bundle(&task_id)?;
            let path = format!("{}/{task_id}", inner.options.cgroup_parent);
            let cgroup = inner.hierarchies.cgroup(&path);
            let settings = settings::task_settings(inner.hierarchies.version(), &limits);
            cgroup.create(&settings).and_then(|()| cgroup.pass_down()).map_err(|error| {
                ContainerError::from(match error.raw_os_error() {
                    Some(libc::ENOSPC | libc::ENOMEM) => Failure::NoResources(format!("creating a cgroup: {error}")),
                    _ => Failure::Runtime(format!("creating a cgroup: {error}")),
                })
            })?;
            Ok(path)
        })
        .await
    }

    async fn remove_task_cgroup(&self, task_id: &str) -> Result<(), ContainerError> {
        let task_id = task_id.to_owned();
        self.blocking(move |inner| {
            inner.bundle(&task_id)?;
            let cgroup = inner.hierarchies.cgroup(&format!("{}/{task_id}", inner.options.cgroup_parent));
            cgroup.remove(KILL_PATIENCE).map_err(|error| Failure::io("removing a cgroup", &error).into())
        })
        .await
    }

    async fn start(&self, spec: &ContainerSpec) -> Result<Started, ContainerError> {
        let given = spec.clone();
        let reply = match self.blocking(move |inner| inner.begin(&given)).await? {
            Begun::Already(state) => return Ok(state.into()),
            Begun::Asked(reply) => reply,
        };
        let failure = match read_reply(reply).await {
            Ok(Reply::Started(state)) => return Ok(state.into()),
            Ok(_) => unexpected(),
            Err(error) => error,
        };
        // It never ran: nothing of it stays.
        let id = spec.id.clone();
        self.blocking(move |inner| inner.bundle(&id).and_then(|bundle| inner.clear(&bundle))).await?;
        Err(failure)
    }

    async fn signal(&self, id: &str, signal: i32) -> Result<(), ContainerError> {
        let id = id.to_owned();
        self.blocking(move |inner| {
            let (_, state) = inner.running(&id)?;
            let sent =
                process::open(state.pid, state.start_time).and_then(|handle| process::send_signal(&handle, signal));
            sent.map_err(|error| match error.raw_os_error() {
                Some(libc::ESRCH) => ContainerError::NotRunning { id },
                _ => Failure::io(format!("sending signal {signal}"), &error).into(),
            })
        })
        .await
    }

    async fn wait(&self, id: &str) -> Result<ExitRecord, ContainerError> {
        let bundle = self.0.bundle(id)?;
        wait_for_shim(&bundle).await?;
        let id = id.to_owned();
        self.blocking(move |inner| match inner.look(&bundle) {
            Found::Exited(record) => Ok(record),
            _ => Err(ContainerError::NotRunning { id }),
        })
        .await
    }

    async fn exec(&self, id: &str, request: &ExecRequest) -> Result<ExecOutcome, ContainerError> {
        let (id, request) = (id.to_owned(), request.clone());
        let asked = self.blocking(move |inner| {
            let (bundle, state) = inner.running(&id)?;
            inner.ask(&Request::Exec(ExecPlan {
                bundle,
                args: request.args,
                user: request.user,
                timeout_ms: u64::try_from(request.timeout.as_millis()).unwrap_or(u64::MAX),
                pid: state.pid,
                start_time: state.start_time,
            }))
        });
        match read_reply(asked.await?).await? {
            Reply::Exec { exit_code, output } => Ok(ExecOutcome { exit_code, output }),
            _ => Err(unexpected()),
        }
    }

    async fn usage(&self, id: &str) -> Result<Usage, ContainerError> {
        let id = id.to_owned();
        self.blocking(move |inner| {
            let (bundle, _) = inner.running(&id)?;
            inner.container_cgroup(&bundle).map(|cgroup| cgroup.usage()).ok_or(ContainerError::NotRunning { id })
        })
        .await
    }

    async fn list(&self) -> Result<BTreeMap<String, ContainerStatus>, ContainerError> {
        let bundles = self
            .blocking(|inner| {
                let entries = fs::read_dir(&inner.root)
                    .map_err(|error| ContainerError::from(Failure::io("listing containers", &error)))?;
                Ok(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect::<Vec<_>>())
            })
            .await?;
        let mut statuses = BTreeMap::new();
        for bundle in bundles {
            let Some(id) = bundle.file_name().map(|name| name.to_string_lossy().into_owned()) else { continue };
            let deadline = tokio::time::Instant::now() + START_PATIENCE;
            let status = loop {
                let looked_at = bundle.clone();
                match self.blocking(move |inner| Ok(inner.look(&looked_at))).await? {
                    Found::Running(state) => break ContainerStatus::Running(state.into()),
                    Found::Exited(record) => break ContainerStatus::Exited(record),
                    Found::Lost => break ContainerStatus::Lost,
                    // An earlier agent asked for it and died before the answer: soon it is one or the other.
                    Found::Starting if tokio::time::Instant::now() < deadline => {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    Found::Starting => {
                        let stuck = bundle.clone();
                        self.blocking(move |inner| {
                            inner.kill(&stuck);
                            Ok(())
                        })
                        .await?;
                        break ContainerStatus::Lost;
                    }
                }
            };
            statuses.insert(id, status);
        }
        Ok(statuses)
    }

    async fn remove(&self, id: &str) -> Result<(), ContainerError> {
        let bundle = self.0.bundle(id)?;
        if !bundle.exists() {
            return Ok(());
        }
        let killed = bundle.clone();
        self.blocking(move |inner| {
            inner.kill(&killed);
            Ok(())
        })
        .await?;
        let reported = tokio::time::timeout(KILL_PATIENCE, wait_for_shim(&bundle)).await;
        self.blocking(move |inner| {
            if reported.is_err()
                && let Some(state) = message::read_json::<State>(&bundle.join(file::STATE))
                && let Ok(shim) = process::open(state.shim_pid, state.shim_start_time)
            {
                // It cannot write its record (a full or failing disk), and nobody wants it any more.
                let _ = process::send_signal(&shim, libc::SIGKILL);
            }
            inner.clear(&bundle)
        })
        .await
    }

    async fn namespace_path(&self, id: &str, kind: &str) -> Result<PathBuf, ContainerError> {
        let id = id.to_owned();
        let (_, state) = self.blocking(move |inner| inner.running(&id)).await?;
        Ok(format!("/proc/{}/ns/{kind}", state.pid).into())
    }
}
