//! A host that runs nothing: the runtime's three traits over a table, misbehaving on request.
//!
//! The host outlives agents: drop everything that uses it and hand the same [`FakeHost`] to the next agent, as a
//! killed and restarted one finds it. Time is tokio's, so paused clocks work. What a container does is the
//! [`Program`] of its image.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use gantry_runtime::{
    container::{
        ContainerError, ContainerSpec, ContainerStatus, Containers, ExecOutcome, ExecRequest, ExitRecord,
        RunningSession, SessionRequest, Started, TaskLimits, Usage,
    },
    image::{Image, ImageConfig, ImageError, Images, PullProgress, RegistryAccess, Rootfs},
    network::{
        Blackhole, FaultChange, ImpairmentChange, ImpairmentKind, NetworkError, NetworkNamespace, NetworkRequest,
        Networks, Overlay, Publish,
    },
};
use parking_lot::Mutex;
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};

/// What containers of an image do, and how the registry answers for it.
#[derive(Debug, Clone)]
pub struct Program {
    /// How pulling goes.
    pub pull: Pull,
    /// How long the download takes.
    pub pull_takes: Duration,
    /// Why it cannot be executed.
    pub start_error: Option<String>,
    /// How its runs end, in order; the last one repeats. Without any it runs until it is signalled.
    pub ends: Vec<End>,
    /// What SIGTERM (or another catchable signal) does.
    pub on_signal: OnSignal,
    /// Exit codes of `exec`, in order; the last one repeats. `None` is a time-out.
    pub probes: Vec<Option<i32>>,
    /// Lines printed at each start.
    pub prints: Vec<String>,
    /// The image's own configuration.
    pub config: ImageConfig,
    /// Which content the tag has; part of the digest.
    pub content: u32,
}

impl Default for Program {
    fn default() -> Self {
        Self {
            pull: Pull::Works,
            pull_takes: Duration::ZERO,
            start_error: None,
            ends: Vec::new(),
            on_signal: OnSignal::Exit(143),
            probes: Vec::new(),
            prints: Vec::new(),
            config: ImageConfig { cmd: vec!["/program".to_owned()], ..ImageConfig::default() },
            content: 1,
        }
    }
}

/// How a registry answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pull {
    /// It has the image.
    Works,
    /// It does not.
    NotFound,
    /// It wants credentials.
    Denied,
    /// It is not there.
    Unreachable,
}

/// The end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// How long it ran.
    pub after: Duration,
    /// Its exit status.
    pub code: i32,
    /// The kernel killed it for memory.
    pub oom: bool,
}

impl End {
    /// An exit with `code` after a while.
    pub fn after(after: Duration, code: i32) -> Self {
        Self { after, code, oom: false }
    }
}

/// What a container does when it is signalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnSignal {
    /// It exits with this status.
    Exit(i32),
    /// It goes on; only SIGKILL ends it.
    Ignore,
}

/// A point at which the agent is to die: counted over all calls, two points per call (before and after its effect).
struct CrashPoint {
    at: u64,
    crashed: Option<oneshot::Sender<String>>,
}

/// The host.
pub struct FakeHost {
    this: Weak<FakeHost>,
    world: Mutex<World>,
    changed: watch::Sender<u64>,
    born: Instant,
    born_ms: u64,
}

#[derive(Default)]
struct World {
    programs: BTreeMap<String, Program>,
    images: BTreeMap<String, Image>,
    rootfs: BTreeSet<String>,
    containers: BTreeMap<String, Process>,
    cgroups: BTreeSet<String>,
    namespaces: BTreeMap<String, u32>,
    published: BTreeMap<String, Vec<Publish>>,
    blackholes: BTreeSet<(String, Blackhole)>,
    impairments: BTreeMap<String, ImpairmentKind>,
    lacks_netem: bool,
    taken_ports: BTreeSet<u16>,
    journal: Vec<String>,
    starts: BTreeMap<String, u32>,
    probes: BTreeMap<String, usize>,
    points: u64,
    crash: Option<CrashPoint>,
    next_address: u32,
    endpoints: BTreeMap<String, SocketAddr>,
    disk_full: bool,
}

struct Process {
    spec: ContainerSpec,
    program: Program,
    started: Started,
    run: u32,
    state: ProcessState,
}

#[derive(Clone)]
enum ProcessState {
    Running,
    Exited(ExitRecord),
    Lost,
}

impl FakeHost {
    /// A host without images, containers or networks.
    pub fn new() -> Arc<Self> {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            world: Mutex::default(),
            changed: watch::Sender::new(0),
            born: Instant::now(),
            born_ms: u64::try_from(since_epoch.as_millis()).unwrap_or_default(),
        })
    }

    /// Says what containers of `image` do. Images without a program run until they are signalled.
    pub fn program(&self, image: &str, program: Program) {
        self.world.lock().programs.insert(image.to_owned(), program);
    }

    /// Puts an image on the host, as an earlier pull would have.
    pub fn preload(&self, image: &str) {
        let mut world = self.world.lock();
        let pulled = world.image(image);
        world.images.insert(image.to_owned(), pulled);
    }

    /// The power fails: every process and namespace is gone.
    pub fn reboot(&self) {
        let mut world = self.world.lock();
        for process in world.containers.values_mut() {
            if matches!(process.state, ProcessState::Running) {
                process.state = ProcessState::Lost;
            }
        }
        world.namespaces.clear();
        world.published.clear();
        world.blackholes.clear();
        world.impairments.clear();
        world.cgroups.clear();
        drop(world);
        self.bump();
    }

    /// Fills the disk, or frees it.
    pub fn set_disk_full(&self, full: bool) {
        self.world.lock().disk_full = full;
    }

    /// Its kernel cannot delay packets.
    pub fn lacks_netem(&self) {
        self.world.lock().lacks_netem = true;
    }

    /// Somebody else takes a port of the host.
    pub fn take_port(&self, port: u16) {
        self.world.lock().taken_ports.insert(port);
    }

    /// Ends a container as if by itself.
    pub fn end(&self, id: &str, code: i32, oom: bool) {
        let run = self.world.lock().containers.get(id).map(|process| process.run);
        if let Some(run) = run {
            self.finish(id, run, code, oom);
        }
    }

    /// How often each container was executed.
    pub fn starts(&self) -> BTreeMap<String, u32> {
        self.world.lock().starts.clone()
    }

    /// Ids of running containers.
    pub fn running(&self) -> Vec<String> {
        let world = self.world.lock();
        let running = world.containers.iter().filter(|(_, process)| matches!(process.state, ProcessState::Running));
        running.map(|(id, _)| id.clone()).collect()
    }

    /// The specification that a container was last started with.
    pub fn spec(&self, id: &str) -> Option<ContainerSpec> {
        self.world.lock().containers.get(id).map(|process| process.spec.clone())
    }

    /// Everything that happened, in order: `start ID`, `signal ID 15`, `exit ID 0`, …
    pub fn journal(&self) -> Vec<String> {
        self.world.lock().journal.clone()
    }

    /// What is left of tasks: containers, writable layers, cgroups and namespaces.
    pub fn leftovers(&self) -> Vec<String> {
        let world = self.world.lock();
        let containers = world.containers.keys().map(|id| format!("container {id}"));
        let layers = world.rootfs.iter().map(|id| format!("rootfs {id}"));
        let cgroups = world.cgroups.iter().map(|id| format!("cgroup {id}"));
        let namespaces = world.namespaces.keys().map(|id| format!("namespace {id}"));
        containers.chain(layers).chain(cgroups).chain(namespaces).collect()
    }

    /// The `point`th point from now on never returns; the receiver hears its name. Then drop the agent.
    pub fn crash_at(&self, point: u64) -> oneshot::Receiver<String> {
        let (crashed, receiver) = oneshot::channel();
        let mut world = self.world.lock();
        world.crash = Some(CrashPoint { at: world.points + point, crashed: Some(crashed) });
        receiver
    }

    /// Where the endpoint of a namespace (the host's own: empty) was last opened.
    pub fn endpoint(&self, key: &str) -> Option<SocketAddr> {
        self.world.lock().endpoints.get(key).copied()
    }

    /// How many points have been passed.
    pub fn points(&self) -> u64 {
        self.world.lock().points
    }

    /// Waits until `condition` holds of the host.
    pub async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let mut changed = self.changed.subscribe();
        while !condition(self) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Milliseconds since the epoch, moving with tokio's time.
    pub fn now_ms(&self) -> u64 {
        self.born_ms + u64::try_from(self.born.elapsed().as_millis()).unwrap_or_default()
    }

    async fn point(&self, name: &str) {
        let crashed = {
            let mut world = self.world.lock();
            world.points += 1;
            let now = world.points;
            match &mut world.crash {
                Some(crash) if crash.at == now => crash.crashed.take(),
                _ => None,
            }
        };
        if let Some(crashed) = crashed {
            drop(crashed.send(name.to_owned()));
            std::future::pending::<()>().await;
        }
    }

    fn note(&self, entry: String) {
        self.world.lock().journal.push(entry);
        self.bump();
    }

    fn bump(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn finish(&self, id: &str, run: u32, code: i32, oom: bool) {
        let now_ms = self.now_ms();
        {
            let mut world = self.world.lock();
            let Some(process) = world.containers.get_mut(id) else { return };
            if process.run != run || !matches!(process.state, ProcessState::Running) {
                return;
            }
            process.state = ProcessState::Exited(ExitRecord {
                exit_code: code,
                oom_killed: oom,
                started_at_ms: process.started.started_at_ms,
                finished_at_ms: now_ms,
            });
        }
        self.note(format!("exit {id} {code}"));
    }

    fn execute(&self, spec: &ContainerSpec) -> Result<Started, ContainerError> {
        let now_ms = self.now_ms();
        let (started, end, run) = {
            let mut world = self.world.lock();
            if world.disk_full {
                return Err(ContainerError::NoSpace);
            }
            let earlier = world.containers.get(&spec.id);
            if let Some(Process { state: ProcessState::Running, started, .. }) = earlier {
                return Ok(started.clone());
            }
            let run = earlier.map_or(0, |process| process.run + 1);
            let program = world.program_of(&spec.id);
            if let Some(detail) = program.start_error.clone() {
                return Err(ContainerError::Command { detail });
            }
            print(spec, &program.prints);
            let end = program.ends.get(run as usize).or(program.ends.last()).copied();
            let started = Started { pid: 1000 + run, started_at_ms: now_ms };
            let process =
                Process { spec: spec.clone(), program, started: started.clone(), run, state: ProcessState::Running };
            world.containers.insert(spec.id.clone(), process);
            *world.starts.entry(spec.id.clone()).or_default() += 1;
            (started, end, run)
        };
        self.note(format!("start {}", spec.id));
        if let (Some(end), Some(this)) = (end, self.this.upgrade()) {
            let id = spec.id.clone();
            tokio::spawn(async move {
                tokio::time::sleep(end.after).await;
                this.finish(&id, run, end.code, end.oom);
            });
        }
        Ok(started)
    }
}

impl World {
    fn program(&self, image: &str) -> Program {
        self.programs.get(image).cloned().unwrap_or_default()
    }

    /// The fake keeps the image's name in the rootfs name.
    fn program_of(&self, container: &str) -> Program {
        let key = format!("{container}\n");
        let image = self.rootfs.iter().find_map(|entry| entry.strip_prefix(&key));
        image.map(|image| self.program(image)).unwrap_or_default()
    }

    fn image(&self, reference: &str) -> Image {
        let program = self.program(reference);
        let digest = format!("sha256:{reference}-{}", program.content);
        Image { config_digest: digest.clone(), digest, config: program.config, layers: vec!["layer".to_owned()] }
    }

    fn check_registry(&self, reference: &str) -> Result<(), ImageError> {
        let reference = reference.to_owned();
        match self.program(&reference).pull {
            Pull::Works => Ok(()),
            Pull::NotFound => Err(ImageError::NotFound { reference }),
            Pull::Denied => Err(ImageError::Denied { reference, detail: "unauthorized".to_owned() }),
            Pull::Unreachable => {
                Err(ImageError::Unreachable { registry: reference, detail: "connection refused".to_owned() })
            }
        }
    }
}

/// Writes what a container prints, as the shim does.
fn print(spec: &ContainerSpec, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let file = std::fs::File::options().append(true).create(true).open(&spec.log.path);
    let Ok(mut file) = file else { return };
    for line in lines {
        let entry = serde_json::json!({
            "log": format!("{line}\n"), "stream": "stdout", "time": "2026-01-02T03:04:05.000000006Z",
        });
        drop(writeln!(file, "{entry}"));
    }
}

#[async_trait]
impl Images for FakeHost {
    async fn resolve(&self, reference: &str, _: &RegistryAccess) -> Result<String, ImageError> {
        self.point("resolve").await;
        let world = self.world.lock();
        world.check_registry(reference)?;
        Ok(world.image(reference).digest)
    }

    async fn pull(&self, reference: &str, _: &RegistryAccess, _: Arc<dyn PullProgress>) -> Result<Image, ImageError> {
        self.point("pull").await;
        let takes = self.world.lock().program(reference).pull_takes;
        tokio::time::sleep(takes).await;
        let image = {
            let mut world = self.world.lock();
            world.check_registry(reference)?;
            if world.disk_full {
                return Err(ImageError::NoSpace);
            }
            let image = world.image(reference);
            world.images.insert(reference.to_owned(), image.clone());
            image
        };
        self.note(format!("pull {reference}"));
        self.point("pulled").await;
        Ok(image)
    }

    async fn cached(&self, reference: &str) -> Option<Image> {
        self.world.lock().images.get(reference).cloned()
    }

    async fn prepare_rootfs(&self, container_id: &str, image: &Image) -> Result<Rootfs, ImageError> {
        self.point("prepare rootfs").await;
        {
            let mut world = self.world.lock();
            if world.disk_full {
                return Err(ImageError::NoSpace);
            }
            let reference = image.digest.strip_prefix("sha256:").unwrap_or_default();
            let reference = reference.rsplit_once('-').map_or(reference, |(name, _)| name).to_owned();
            world.rootfs.insert(format!("{container_id}\n{reference}"));
        }
        self.point("prepared rootfs").await;
        let dir = PathBuf::from("/fake").join(container_id);
        Ok(Rootfs {
            lower_dirs: vec![PathBuf::from("/fake/layer")],
            upper_dir: dir.join("upper"),
            work_dir: dir.join("work"),
            mount_point: dir.join("root"),
        })
    }

    async fn copy_out(&self, _: &Image, path: &str, target: &Path) -> Result<(), ImageError> {
        self.point("copy out").await;
        std::fs::write(target.join("from-image"), path)
            .map_err(|source| ImageError::Io { action: "copy".to_owned(), source })
    }

    async fn remove_rootfs(&self, container_id: &str) -> Result<(), ImageError> {
        self.point("remove rootfs").await;
        let prefix = format!("{container_id}\n");
        self.world.lock().rootfs.retain(|entry| !entry.starts_with(&prefix));
        self.bump();
        Ok(())
    }

    async fn collect_garbage(&self, keep: &[String]) -> Result<u64, ImageError> {
        self.world.lock().images.retain(|_, image| keep.contains(&image.digest));
        Ok(0)
    }
}

#[async_trait]
impl Containers for FakeHost {
    async fn create_task_cgroup(&self, task_id: &str, _: &TaskLimits) -> Result<String, ContainerError> {
        self.point("create cgroup").await;
        self.world.lock().cgroups.insert(task_id.to_owned());
        self.point("created cgroup").await;
        Ok(format!("/ecs/{task_id}"))
    }

    async fn remove_task_cgroup(&self, task_id: &str) -> Result<(), ContainerError> {
        self.point("remove cgroup").await;
        self.world.lock().cgroups.remove(task_id);
        self.bump();
        Ok(())
    }

    async fn start(&self, spec: &ContainerSpec) -> Result<Started, ContainerError> {
        self.point("start").await;
        let started = self.execute(spec)?;
        self.point("started").await;
        Ok(started)
    }

    async fn signal(&self, id: &str, signal: i32) -> Result<(), ContainerError> {
        self.point("signal").await;
        let (run, code) = {
            let world = self.world.lock();
            let not_running = || ContainerError::NotRunning { id: id.to_owned() };
            let process = world.containers.get(id).ok_or_else(not_running)?;
            if !matches!(process.state, ProcessState::Running) {
                return Err(not_running());
            }
            let code = match process.program.on_signal {
                _ if signal == 9 => Some(137),
                OnSignal::Exit(code) => Some(code),
                OnSignal::Ignore => None,
            };
            (process.run, code)
        };
        self.note(format!("signal {id} {signal}"));
        if let Some(code) = code {
            self.finish(id, run, code, false);
        }
        self.point("signalled").await;
        Ok(())
    }

    async fn wait(&self, id: &str) -> Result<ExitRecord, ContainerError> {
        let mut changed = self.changed.subscribe();
        loop {
            let state = self.world.lock().containers.get(id).map(|process| process.state.clone());
            match state {
                Some(ProcessState::Exited(record)) => return Ok(record),
                Some(ProcessState::Running) => {}
                Some(ProcessState::Lost) | None => return Err(ContainerError::NotRunning { id: id.to_owned() }),
            }
            if changed.changed().await.is_err() {
                return Err(ContainerError::NotRunning { id: id.to_owned() });
            }
        }
    }

    async fn exec(&self, id: &str, request: &ExecRequest) -> Result<ExecOutcome, ContainerError> {
        self.point("exec").await;
        let exit_code = {
            let mut world = self.world.lock();
            let nth = world.probes.entry(id.to_owned()).or_default();
            *nth += 1;
            let nth = *nth - 1;
            let not_running = || ContainerError::NotRunning { id: id.to_owned() };
            let process = world.containers.get(id).ok_or_else(not_running)?;
            if !matches!(process.state, ProcessState::Running) {
                return Err(not_running());
            }
            let probes = &process.program.probes;
            probes.get(nth).or(probes.last()).copied().unwrap_or(Some(0))
        };
        if exit_code.is_none() {
            tokio::time::sleep(request.timeout).await;
        }
        self.note(format!("exec {id}"));
        Ok(ExecOutcome { exit_code, output: "output".to_owned() })
    }

    async fn open_session(&self, _: &str, _: &SessionRequest) -> Result<RunningSession, ContainerError> {
        self.point("open session").await;
        Err(ContainerError::Runtime { detail: "the fake runtime has no processes to talk to".to_owned() })
    }

    async fn usage(&self, _: &str) -> Result<Usage, ContainerError> {
        Ok(Usage::default())
    }

    async fn list(&self) -> Result<BTreeMap<String, ContainerStatus>, ContainerError> {
        let world = self.world.lock();
        let status = |process: &Process| match &process.state {
            ProcessState::Running => ContainerStatus::Running(process.started.clone()),
            ProcessState::Exited(record) => ContainerStatus::Exited(record.clone()),
            ProcessState::Lost => ContainerStatus::Lost,
        };
        Ok(world.containers.iter().map(|(id, process)| (id.clone(), status(process))).collect())
    }

    async fn remove(&self, id: &str) -> Result<(), ContainerError> {
        self.point("remove container").await;
        self.world.lock().containers.remove(id);
        self.bump();
        Ok(())
    }

    async fn namespace_path(&self, id: &str, kind: &str) -> Result<PathBuf, ContainerError> {
        Ok(PathBuf::from(format!("/proc/{id}/ns/{kind}")))
    }
}

#[async_trait]
impl Networks for FakeHost {
    async fn create(&self, key: &str, request: &NetworkRequest) -> Result<NetworkNamespace, NetworkError> {
        self.point("create network").await;
        let number = {
            let mut world = self.world.lock();
            let next = world.next_address + 1;
            let number = *world.namespaces.entry(key.to_owned()).or_insert(next);
            world.next_address = world.next_address.max(number);
            number
        };
        self.point("created network").await;
        let address = match request {
            NetworkRequest::None => None,
            NetworkRequest::Bridge => Some(IpAddr::V4(Ipv4Addr::from(0xAC1E_0001 + number))),
            NetworkRequest::Awsvpc(interface) => Some(IpAddr::V4(interface.address)),
        };
        Ok(NetworkNamespace {
            path: PathBuf::from(format!("/fake/netns/{key}")),
            address,
            gateway: address.map(|_| IpAddr::V4(Ipv4Addr::new(172, 30, 0, 1))),
        })
    }

    async fn overlay(&self, _: &Overlay) -> Result<(), NetworkError> {
        self.point("overlay").await;
        Ok(())
    }

    async fn publish(&self, key: &str, ports: &[Publish]) -> Result<Vec<Publish>, NetworkError> {
        self.point("publish").await;
        let mut world = self.world.lock();
        let before = world.published.remove(key).unwrap_or_default();
        for port in &before {
            world.taken_ports.remove(&port.host_port);
        }
        let mut published = Vec::new();
        for (nth, port) in ports.iter().enumerate() {
            let host_port = if port.host_port > 0 {
                port.host_port
            } else if let Some(kept) = before.get(nth) {
                kept.host_port
            } else {
                let free = (32_768..=60_999).find(|candidate| !world.taken_ports.contains(candidate));
                free.ok_or(NetworkError::Exhausted { what: "port" })?
            };
            if !world.taken_ports.insert(host_port) {
                return Err(NetworkError::PortTaken { port: host_port });
            }
            published.push(Publish { host_port, ..port.clone() });
        }
        world.published.insert(key.to_owned(), published.clone());
        Ok(published)
    }

    async fn endpoint(&self, key: Option<&str>) -> Result<TcpListener, NetworkError> {
        self.point("open endpoint").await;
        let failed = |error: std::io::Error| NetworkError::Kernel {
            action: "open the endpoint of the task".to_owned(),
            detail: error.to_string(),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let at = listener.local_addr().map_err(failed)?;
        self.world.lock().endpoints.insert(key.unwrap_or_default().to_owned(), at);
        Ok(listener)
    }

    async fn blackhole(&self, key: &str, hole: Blackhole, change: &FaultChange) -> Result<bool, NetworkError> {
        self.point("change fault").await;
        let mut world = self.world.lock();
        let fault = (key.to_owned(), hole);
        match change {
            FaultChange::Start(_) => drop(world.blackholes.insert(fault.clone())),
            FaultChange::Stop => drop(world.blackholes.remove(&fault)),
            FaultChange::Look => {}
        }
        Ok(world.blackholes.contains(&fault))
    }

    async fn impairment(&self, key: &str, change: &ImpairmentChange) -> Result<Option<ImpairmentKind>, NetworkError> {
        self.point("change fault").await;
        let mut world = self.world.lock();
        let before = world.impairments.get(key).copied();
        match change {
            ImpairmentChange::Start(impairment) if before.is_none() => {
                let kind = impairment.effect.kind();
                if kind == ImpairmentKind::Latency && world.lacks_netem {
                    return Err(NetworkError::Unsupported { what: "netem" });
                }
                world.impairments.insert(key.to_owned(), kind);
            }
            ImpairmentChange::Stop(kind) if before == Some(*kind) => drop(world.impairments.remove(key)),
            _ => {}
        }
        Ok(before)
    }

    async fn remove(&self, key: &str) -> Result<(), NetworkError> {
        self.point("remove network").await;
        {
            let mut world = self.world.lock();
            world.blackholes.retain(|(of, _)| of != key);
            world.impairments.remove(key);
            world.namespaces.remove(key);
            for port in world.published.remove(key).unwrap_or_default() {
                world.taken_ports.remove(&port.host_port);
            }
        }
        self.bump();
        Ok(())
    }

    async fn list(&self) -> Result<Vec<String>, NetworkError> {
        Ok(self.world.lock().namespaces.keys().cloned().collect())
    }
}
