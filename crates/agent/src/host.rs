//! What every part of the agent shares: configuration, the runtime, the clock, directories, bounds.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use gantry_api::agent::TaskUsage;
use gantry_runtime::locks::KeyedLocks;
use parking_lot::Mutex;
use tokio::sync::{Notify, RwLock, Semaphore, watch};

use crate::{
    aws::AwsClient,
    clock::Clock,
    config::{Config, RuntimeParts},
    credentials::TaskCredentials,
    endpoint::Endpoints,
    etc_files::HostFiles,
    exec,
    file_systems::FileSystems,
    firelens,
    held_values::HeldValues,
    logs::Logs,
    outbox::Outbox,
    overlay, ports,
    record::Records,
    registry_access::RegistryAccesses,
    volumes::{VolumeDirs, volume_dirs},
};

/// Containers being set up at a time: enough to keep every core busy while others wait for the kernel.
const STARTS_AT_A_TIME: usize = 32;
/// Images being pulled at a time.
const PULLS_AT_A_TIME: usize = 8;
/// Stopped tasks being taken apart at a time: it is never urgent, and it competes with starts.
const TEARDOWNS_AT_A_TIME: usize = 4;
/// Stopped tasks whose records and logs are kept, however young they are.
const STOPPED_TASKS_KEPT: usize = 500;

pub(crate) struct Host {
    pub(crate) config: Config,
    pub(crate) runtime: RuntimeParts,
    pub(crate) clock: Clock,
    pub(crate) boot_id: String,
    pub(crate) dirs: Dirs,
    pub(crate) records: Records,
    pub(crate) outbox: Outbox,
    /// What running tasks were last measured to use.
    pub(crate) usage: watch::Sender<Vec<TaskUsage>>,
    /// The networks over hosts, as the control plane wants them.
    pub(crate) overlay: overlay::Wanted,
    /// The sessions of ECS Exec, as the control plane says.
    pub(crate) exec_sessions: exec::Wanted,
    pub(crate) registries: RegistryAccesses,
    pub(crate) values: Arc<HeldValues>,
    pub(crate) logs: Logs,
    /// Of its tasks' roles.
    pub(crate) credentials: Arc<TaskCredentials>,
    /// Where its tasks find what is their own.
    pub(crate) endpoints: Endpoints,
    /// Calls of the control plane; none in tests.
    pub(crate) client: Option<Arc<AwsClient>>,
    /// Its ARN; until the agent has registered, the one that it had before.
    pub(crate) container_instance: Mutex<Option<String>>,
    pub(crate) memory_bytes: u64,
    pub(crate) file_systems: FileSystems,
    /// By the volume's directory: two containers must not both find that nothing is mounted there yet. A mount may take
    /// long, and no other volume waits for it.
    pub(crate) mounting: KeyedLocks,
    /// The most open files that this host can grant a container.
    pub(crate) nofile_max: i64,
    pub(crate) starts: Semaphore,
    pub(crate) pulls: Semaphore,
    pub(crate) teardowns: Teardowns,
    pub(crate) stopped_tasks: StoppedTasks,
    /// Pulls and creations read; image clean-up writes.
    pub(crate) image_use: RwLock<()>,
    next_range_port: AtomicU16,
    /// Digest → last use.
    images_used: Mutex<BTreeMap<String, u64>>,
}

/// Directories below `DATA/agent`.
#[derive(Debug, Clone)]
pub(crate) struct Dirs {
    pub(crate) root: PathBuf,
}

impl Dirs {
    pub(crate) fn new(data_dir: &std::path::Path) -> Self {
        Self { root: data_dir.join("agent") }
    }

    pub(crate) fn tasks(&self) -> PathBuf {
        self.root.join("tasks")
    }

    /// Log files of all containers.
    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Generated files of a container.
    pub(crate) fn etc(&self, container_id: &str) -> PathBuf {
        self.root.join("etc").join(container_id)
    }

    /// Files of a task's log router.
    pub(crate) fn firelens(&self, task_id: &str) -> PathBuf {
        self.root.join(firelens::DIRECTORY).join(task_id)
    }

    pub(crate) fn volumes(&self, task_id: &str) -> VolumeDirs {
        volume_dirs(&self.root, task_id)
    }
}

/// Whatever `Host::new` cannot make itself.
pub(crate) struct HostParts {
    pub(crate) runtime: RuntimeParts,
    pub(crate) clock: Clock,
    pub(crate) boot_id: String,
    pub(crate) registries: RegistryAccesses,
    pub(crate) values: Arc<HeldValues>,
    pub(crate) logs: Logs,
    pub(crate) credentials: Arc<TaskCredentials>,
    pub(crate) client: Option<Arc<AwsClient>>,
}

impl Host {
    pub(crate) fn new(config: Config, parts: HostParts) -> io::Result<Arc<Self>> {
        let dirs = Dirs::new(&config.data_dir);
        for dir in [dirs.root.join("etc"), dirs.root.join("volumes"), dirs.root.join("shared-volumes")] {
            std::fs::create_dir_all(dir)?;
        }
        Ok(Arc::new(Self {
            records: Records::open(dirs.tasks())?,
            dirs,
            mounting: KeyedLocks::default(),
            file_systems: FileSystems::new(config.file_systems.clone()),
            config,
            runtime: parts.runtime,
            clock: parts.clock,
            boot_id: parts.boot_id,
            outbox: Outbox::new(),
            usage: watch::Sender::new(Vec::new()),
            overlay: overlay::Wanted::new(None),
            exec_sessions: exec::Wanted::new(None),
            registries: parts.registries,
            values: parts.values,
            logs: parts.logs,
            credentials: parts.credentials,
            endpoints: Endpoints::default(),
            client: parts.client,
            container_instance: Mutex::default(),
            memory_bytes: memory_bytes(),
            nofile_max: nofile_max(),
            starts: Semaphore::new(STARTS_AT_A_TIME),
            pulls: Semaphore::new(PULLS_AT_A_TIME),
            teardowns: Teardowns::new(),
            stopped_tasks: StoppedTasks::default(),
            image_use: RwLock::new(()),
            next_range_port: AtomicU16::new(0),
            images_used: Mutex::default(),
        }))
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// The Availability Zone that the container instance is in: what it was told, or the region's first.
    pub(crate) fn zone(&self) -> String {
        let told = self.config.attributes.get("ecs.availability-zone").filter(|zone| !zone.is_empty());
        told.cloned().unwrap_or_else(|| format!("{}a", self.config.region))
    }

    /// Notes that an image is in use.
    pub(crate) fn image_used(&self, digest: &str) {
        self.images_used.lock().insert(digest.to_owned(), self.now_ms());
    }

    /// Digests of the images used within `age`; older ones are forgotten.
    pub(crate) fn recent_images(&self, age: Duration) -> BTreeSet<String> {
        let since_ms = self.now_ms().saturating_sub(age.as_millis() as u64);
        let mut used = self.images_used.lock();
        used.retain(|_, at_ms| *at_ms >= since_ms);
        used.keys().cloned().collect()
    }

    /// The host's own files of /etc that containers' files are derived from.
    pub(crate) fn files() -> HostFiles {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let mut resolv_conf = read("/etc/resolv.conf");
        if resolv_conf.contains("127.0.0.53") {
            // systemd-resolved's stub is reachable only on the host; this file has the real servers.
            let real = read("/run/systemd/resolve/resolv.conf");
            if !real.is_empty() {
                resolv_conf = real;
            }
        }
        HostFiles { hosts: read("/etc/hosts"), resolv_conf }
    }

    /// Takes the next block of host ports for a container's port ranges.
    pub(crate) fn take_range(&self, size: u16) -> u16 {
        if size == 0 {
            return 0;
        }
        let next = |wanted: u16| Some(ports::range_base(wanted, size).saturating_add(size));
        let before = self.next_range_port.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        ports::range_base(before.unwrap_or(0), size)
    }
}

/// Of the machine.
fn memory_bytes() -> u64 {
    let information = rustix::system::sysinfo();
    let bytes = u128::from(information.totalram) * u128::from(information.mem_unit);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Only a process with the capability may raise its hard limit; containers inherit from the agent.
fn nofile_max() -> i64 {
    use rustix::{
        process::{Resource, getrlimit},
        thread::{CapabilitySet, capabilities},
    };
    let may_raise = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_RESOURCE));
    let own = getrlimit(Resource::Nofile).maximum;
    if may_raise { i64::MAX } else { own.and_then(|limit| i64::try_from(limit).ok()).unwrap_or(i64::MAX) }
}

/// Stopped tasks whose records and logs are kept for whoever asks; the oldest gives way when there are too many.
#[derive(Default)]
pub(crate) struct StoppedTasks {
    places: Mutex<VecDeque<Arc<Notify>>>,
}

/// A stopped task's place among those that are kept.
pub(crate) struct Place(Arc<Notify>);

impl StoppedTasks {
    pub(crate) fn keep(&self) -> Place {
        let place = Arc::new(Notify::new());
        let mut places = self.places.lock();
        // Places of tasks that went by themselves; nobody else holds those.
        places.retain(|place| Arc::strong_count(place) > 1);
        if places.len() >= STOPPED_TASKS_KEPT
            && let Some(oldest) = places.pop_front()
        {
            oldest.notify_one();
        }
        places.push_back(Arc::clone(&place));
        Place(place)
    }
}

impl Place {
    pub(crate) async fn displaced(&self) {
        self.0.notified().await;
    }
}

/// Stopped tasks whose networks are on their way out. A start that finds its port taken waits for them.
pub(crate) struct Teardowns {
    permits: Semaphore,
    in_flight: watch::Sender<usize>,
}

impl Teardowns {
    fn new() -> Self {
        Self { permits: Semaphore::new(TEARDOWNS_AT_A_TIME), in_flight: watch::Sender::new(0) }
    }

    /// Announces a teardown; it counts until the guard is dropped.
    pub(crate) fn begin(&self) -> TeardownGuard<'_> {
        self.in_flight.send_modify(|count| *count += 1);
        TeardownGuard(self)
    }

    /// Waits for the turn to do the work.
    pub(crate) async fn turn(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        self.permits.acquire().await.ok()
    }

    /// Waits until one that is under way now has ended; `false` when there is none.
    pub(crate) async fn one_ended(&self) -> bool {
        let mut in_flight = self.in_flight.subscribe();
        let now = *in_flight.borrow_and_update();
        now > 0 && in_flight.wait_for(|count| *count < now).await.is_ok()
    }
}

pub(crate) struct TeardownGuard<'a>(&'a Teardowns);

impl Drop for TeardownGuard<'_> {
    fn drop(&mut self) {
        self.0.in_flight.send_modify(|count| *count -= 1);
    }
}
