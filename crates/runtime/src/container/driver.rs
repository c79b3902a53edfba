//! The agent's side: starts the zygote, asks it for shims, and reads from bundles what became of them.

use std::{
    collections::BTreeMap,
    fs, io,
    os::{fd::OwnedFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;

use super::{
    ContainerError, ContainerSpec, ContainerStatus, Containers, ExecOutcome, ExecRequest, ExitRecord, RunningSession,
    SessionRequest, Started, TaskLimits, Usage,
    bundle::{START_PATIENCE, is_alive, start_patience, wait_for_shim, write_bundle},
    cgroup::{Cgroup, Hierarchies, settings},
    held_env,
    message::{self, ExecPlan, Failure, Purpose, Reply, Request, Runtime, ShimConfig, State, file},
    process, skeleton,
    zygote_client::{ZygoteClient, read_reply},
};

/// How long processes may take to die after SIGKILL before a removal gives up.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// How [`ShimContainers`] starts containers.
#[derive(Debug, Clone)]
pub struct ShimOptions {
    /// Our own starter or an OCI executable.
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
    zygote: ZygoteClient,
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
        // Beside the bundles, among which it would be taken for one.
        let skeletons = root.with_file_name("skeletons");
        skeleton::make(&skeletons).map_err(|error| failure("making the skeleton of a root filesystem", &error))?;
        let zygote = ZygoteClient::open(ShimConfig {
            skeletons,
            runtime: options.runtime.clone(),
            program: options.program.clone(),
            shim_cgroup: format!("{}/shims", options.cgroup_parent),
        })?;
        let inner = Inner { root, options, hierarchies, zygote };
        Ok(Self(Arc::new(inner)))
    }

    /// Ends the shim program (not the shims); it is started again when it is needed.
    pub fn close(&self) {
        self.0.zygote.close();
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

    /// Waits for a start that an earlier agent asked for; none when the container never ran.
    async fn await_another(&self, bundle: PathBuf) -> Result<Option<State>, ContainerError> {
        let begun = tokio::time::Instant::now();
        loop {
            let looked_at = bundle.clone();
            let look = move |inner: &Inner| {
                let found = inner.look(&looked_at);
                Ok((found, message::read_json::<State>(&looked_at.join(file::STATE)), start_patience(&looked_at)))
            };
            match self.blocking(look).await? {
                (Found::Running(state), ..) | (Found::Exited(_), Some(state), _) => return Ok(Some(state)),
                (Found::Exited(_) | Found::Lost, None, _) => return Ok(None),
                (Found::Lost, Some(_), _) => {
                    return Err(Failure::Runtime("the container vanished while it was started".to_owned()).into());
                }
                (Found::Starting, _, patience) if begun.elapsed() < patience => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                (Found::Starting, ..) => {
                    let stuck = bundle.clone();
                    let kill = move |inner: &Inner| {
                        inner.kill(&stuck);
                        Ok(())
                    };
                    self.blocking(kill).await?;
                    return Err(Failure::Runtime("the container did not start in time".to_owned()).into());
                }
            }
        }
    }
}

impl Inner {
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
        if spec.args.is_empty() && !spec.init_process {
            return Err(Failure::Command("no command specified".to_owned()).into());
        }
        if bundle.exists() {
            match self.look(&bundle) {
                Found::Running(state) => return Ok(Begun::Already(state)),
                Found::Starting => return Ok(Begun::ByAnother(bundle)),
                Found::Exited(_) | Found::Lost => self.clear(&bundle)?,
            }
        }
        let failure = |error: io::Error| ContainerError::from(Failure::io("writing the bundle", &error));
        let held = spec.held_env.encode().map_err(failure)?;
        fs::DirBuilder::new().mode(0o700).create(&bundle).map_err(failure)?;
        let asked = write_bundle(&bundle, spec)
            .map_err(failure)
            .and_then(|()| self.zygote.ask(&Request::Start { bundle: bundle.clone(), held_bytes: held.len() }))
            .and_then(|reply| {
                held_env::send(&reply, &held).map_err(failure)?;
                Ok(reply)
            });
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
    /// An earlier agent asked for it.
    ByAnother(PathBuf),
    Asked(OwnedFd),
}

enum Found {
    Starting,
    Running(State),
    Exited(ExitRecord),
    Lost,
}

fn plan(bundle: PathBuf, state: &State, args: Vec<String>, user: String, purpose: Purpose) -> ExecPlan {
    ExecPlan { bundle, args, user, purpose, pid: state.pid, start_time: state.start_time }
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
        let reply = loop {
            let given = spec.clone();
            match self.blocking(move |inner| inner.begin(&given)).await? {
                Begun::Already(state) => return Ok(state.into()),
                Begun::Asked(reply) => break reply,
                Begun::ByAnother(bundle) => {
                    if let Some(state) = self.await_another(bundle).await? {
                        return Ok(state.into());
                    }
                }
            }
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
            let timeout_ms = u64::try_from(request.timeout.as_millis()).unwrap_or(u64::MAX);
            let purpose = Purpose::Check { timeout_ms };
            inner.zygote.ask(&Request::Exec(plan(bundle, &state, request.args, request.user, purpose)))
        });
        match read_reply(asked.await?).await? {
            Reply::Exec { exit_code, output } => Ok(ExecOutcome { exit_code, output }),
            _ => Err(unexpected()),
        }
    }

    async fn open_session(&self, id: &str, request: &SessionRequest) -> Result<RunningSession, ContainerError> {
        let (id, request) = (id.to_owned(), request.clone());
        let asked = self.blocking(move |inner| {
            let (bundle, state) = inner.running(&id)?;
            let purpose = Purpose::Session { terminal: request.terminal };
            inner.zygote.ask(&Request::Exec(plan(bundle, &state, request.args, request.user, purpose)))
        });
        RunningSession::receive(asked.await?).await
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
            let look = |bundle: PathBuf| self.blocking(move |inner| Ok(inner.look(&bundle)));
            let mut found = look(bundle.clone()).await?;
            // Without hooks it is soon one or the other; what became of it is looked at, not how the wait went.
            if matches!(found, Found::Starting) && start_patience(&bundle) == START_PATIENCE {
                let _ = self.await_another(bundle.clone()).await;
                found = look(bundle).await?;
            }
            let status = match found {
                Found::Running(state) => ContainerStatus::Running(state.into()),
                Found::Exited(record) => ContainerStatus::Exited(record),
                Found::Lost => ContainerStatus::Lost,
                Found::Starting => ContainerStatus::Starting,
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
