//! Where tasks find what is their own: http://169.254.170.2, for credentials of the task role, metadata and the agent's
//! API for tasks.
//!
//! - This file: which tasks there are, and the listeners.
//! - [`serve`]: one connection, within bounds.
//! - [`route`]: from a path to who is asked for what. Pure.
//! - [`credentials`], [`metadata`], [`tags`], [`stats`], [`protection`], [`faults`]: the answers.
//! - [`recent`]: answers that count for a while.
//! - [`introspection`]: what runs on the machine, for whoever works on it.
//! - [`metadata_file`]: the same in a file, where the operator wants that.
//!
//! What must hold: a listener is in the network namespace of one task (bridge: of one container) and answers for that
//! task alone, whatever ids it is asked for; the one on the host answers for tasks in host mode alone; the
//! operator's tells nothing that is secret, no id either. An id that containers are told cannot be guessed and is in no
//! log. Nothing a client does takes more than a bounded amount of memory and time, and nothing here ever stops a
//! container.

mod answer;
mod credentials;
mod faults;
pub(crate) mod introspection;
mod metadata;
pub(crate) mod metadata_file;
mod protection;
mod recent;
mod route;
mod serve;
mod stats;
mod tags;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak},
    time::Duration,
};

use gantry_domain::{
    Timestamp,
    rate::{Bucket, Rate},
};
use gantry_runtime::{container::Namespace, network::NetworkError};
use parking_lot::Mutex;
use tokio::{
    net::TcpListener,
    sync::{Mutex as Turn, mpsc, oneshot},
    task::JoinHandle,
};
use tracing::{debug, warn};

use crate::{
    engine::{
        actor::Command,
        state::{Phase, TaskState},
    },
    host::Host,
    reason::chain,
    task::{TaskNetwork, TaskSpec},
};
use stats::Sample;
use tags::KnownTags;

/// How often a task may ask, as with the container agent.
const RATE: Rate = Rate { per_second: 40, burst: 60 };
/// After a restart a listener may not be opened at once; nobody waits for it.
const REOPEN_AFTER: Duration = Duration::from_secs(5);

/// All tasks of this host that have not ended, by what they are asked for by.
#[derive(Default)]
pub(crate) struct Endpoints {
    known: Mutex<Known>,
    /// The listener on the host is opened once, however many tasks come together.
    opening_on_host: Turn<()>,
    /// Of introspection.
    operators: Allowance,
    /// What it shows.
    shown: introspection::KnownTasks,
}

#[derive(Default)]
struct Known {
    /// By ARN.
    tasks: BTreeMap<String, Arc<TaskEndpoint>>,
    /// Tasks in host mode by each of their ids.
    on_host: HashMap<String, Arc<TaskEndpoint>>,
    host_listener: Option<Listener>,
    /// The one before it, which may not be closed yet.
    host_listener_before: Option<JoinHandle<()>>,
}

/// What a task is asked by.
pub(crate) struct TaskEndpoint {
    pub(crate) task: Arc<TaskSpec>,
    credentials_id: String,
    /// Of the containers, in their order.
    container_ids: Vec<String>,
    inbox: mpsc::UnboundedSender<Command>,
    allowance: Allowance,
    /// The last readings of its containers, by their ids.
    samples: Mutex<BTreeMap<String, Sample>>,
    tags: KnownTags,
    /// By network namespace.
    listeners: Mutex<BTreeMap<String, Listener>>,
    opening: Turn<()>,
}

/// A listener that is closed, if not at once, when this is dropped.
struct Listener(Option<JoinHandle<()>>);

impl Listener {
    /// Closes it; what is returned ends when it is closed.
    fn close(mut self) -> Option<JoinHandle<()>> {
        self.0.take().inspect(JoinHandle::abort)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Whom a listener serves.
#[derive(Clone)]
enum Clients {
    Task(Weak<TaskEndpoint>),
    TasksOfHost,
    /// Who works on the machine: asks for everything, but for nobody's credentials.
    Operator,
}

impl Endpoints {
    /// Makes a task known. Records of an earlier version name no ids; their containers know of no endpoint.
    pub(crate) fn register(&self, task: &Arc<TaskSpec>, state: &TaskState, inbox: mpsc::UnboundedSender<Command>) {
        let endpoint = Arc::new(TaskEndpoint {
            task: Arc::clone(task),
            credentials_id: state.credentials_id.clone(),
            container_ids: state.containers.iter().map(|container| container.endpoint_id.clone()).collect(),
            inbox,
            allowance: Allowance::default(),
            samples: Mutex::default(),
            tags: KnownTags::default(),
            listeners: Mutex::default(),
            opening: Turn::default(),
        });
        let mut known = self.known.lock();
        if task.network == TaskNetwork::Host {
            for id in endpoint.ids() {
                known.on_host.insert(id.to_owned(), Arc::clone(&endpoint));
            }
        }
        known.tasks.insert(task.arn.clone(), endpoint);
    }

    /// The task has ended.
    pub(crate) fn close(&self, task_arn: &str) {
        let mut known = self.known.lock();
        known.tasks.remove(task_arn);
        known.on_host.retain(|_, endpoint| endpoint.task.arn != task_arn);
        if known.on_host.is_empty()
            && let Some(listener) = known.host_listener.take()
        {
            known.host_listener_before = listener.close();
        }
    }

    fn task(&self, task_arn: &str) -> Option<Arc<TaskEndpoint>> {
        self.known.lock().tasks.get(task_arn).cloned()
    }

    fn all(&self) -> Vec<Arc<TaskEndpoint>> {
        self.known.lock().tasks.values().cloned().collect()
    }

    /// The task that `id` belongs to, as far as those clients may ask for it.
    fn find(&self, clients: &Clients, id: &str) -> Option<Arc<TaskEndpoint>> {
        match clients {
            Clients::Task(endpoint) => endpoint.upgrade().filter(|endpoint| endpoint.ids().any(|own| own == id)),
            Clients::TasksOfHost => self.known.lock().on_host.get(id).cloned(),
            Clients::Operator => None,
        }
    }
}

impl TaskEndpoint {
    fn ids(&self) -> impl Iterator<Item = &str> {
        let all = self.container_ids.iter().chain([&self.credentials_id]);
        all.map(String::as_str).filter(|id| !id.is_empty())
    }

    /// The container that is asked for by `id`.
    fn container(&self, id: &str) -> Option<usize> {
        self.container_ids.iter().position(|own| !own.is_empty() && own == id)
    }

    /// How the task is now; none when it has ended meanwhile.
    async fn look(&self) -> Option<TaskState> {
        let (answer, state) = oneshot::channel();
        self.inbox.send(Command::Look(answer)).ok()?;
        state.await.ok()
    }
}

/// What somebody may ask for.
struct Allowance(Mutex<Bucket>);

impl Default for Allowance {
    fn default() -> Self {
        Self(Mutex::new(Bucket::full(RATE, Timestamp::from_millis(0))))
    }
}

impl Allowance {
    /// Whether one more request is allowed.
    fn pays(&self, now_ms: u64) -> bool {
        self.0.lock().take(RATE, Timestamp::from_millis(i64::try_from(now_ms).unwrap_or(i64::MAX)))
    }
}

/// Opens the endpoint of a task in the namespace `key` (none: on the host), unless it is open.
pub(crate) async fn open(host: &Arc<Host>, task_arn: &str, key: Option<&str>) -> Result<(), NetworkError> {
    // Gone meanwhile: nobody will ask.
    let Some(endpoint) = host.endpoints.task(task_arn) else { return Ok(()) };
    // Whoever comes meanwhile waits, and then finds it open.
    let _turn = match key {
        Some(_) => endpoint.opening.lock().await,
        None => host.endpoints.opening_on_host.lock().await,
    };
    let is_open = match key {
        Some(key) => endpoint.listeners.lock().contains_key(key),
        None => host.endpoints.known.lock().host_listener.is_some(),
    };
    if is_open || endpoint.ids().next().is_none() {
        return Ok(());
    }
    if key.is_none() {
        let before = host.endpoints.known.lock().host_listener_before.take();
        if let Some(before) = before {
            // How it ended is no matter: it is closed.
            drop(before.await);
        }
    }
    let listener = host.runtime.networks.endpoint(key).await?;
    let listener = TcpListener::from_std(listener).map_err(|error| NetworkError::Kernel {
        action: "open the endpoint of the task".to_owned(),
        detail: error.to_string(),
    })?;
    match key {
        Some(key) => {
            let listener = listen(host, listener, Clients::Task(Arc::downgrade(&endpoint)));
            endpoint.listeners.lock().insert(key.to_owned(), listener);
        }
        None => {
            let mut known = host.endpoints.known.lock();
            if !known.on_host.is_empty() {
                known.host_listener = Some(listen(host, listener, Clients::TasksOfHost));
            }
        }
    }
    Ok(())
}

fn listen(host: &Arc<Host>, listener: TcpListener, clients: Clients) -> Listener {
    Listener(Some(tokio::spawn(serve::listen(Arc::downgrade(host), listener, clients))))
}

/// Opens again what containers that run already know of, after a restart of the agent. Nothing waits for it.
pub(crate) fn reopen(host: &Arc<Host>, task: &TaskSpec, state: &TaskState) {
    let runs = |index: &usize| state.containers[*index].phase == Phase::Running;
    let running: Vec<usize> = (0..state.containers.len()).filter(runs).collect();
    let keys: Vec<Option<String>> = match task.network {
        _ if running.is_empty() => Vec::new(),
        TaskNetwork::None => Vec::new(),
        TaskNetwork::Host => vec![None],
        TaskNetwork::Awsvpc(_) => vec![Some(task.id().to_owned())],
        TaskNetwork::Bridge => running
            .into_iter()
            .filter(|index| !task.containers[*index].disable_networking)
            .filter(|index| {
                let spec = state.containers[*index].spec.as_ref();
                spec.is_some_and(|spec| matches!(spec.network, Namespace::Path(_)))
            })
            .map(|index| Some(state.containers[index].id.clone()))
            .collect(),
    };
    for key in keys {
        tokio::spawn(keep_trying(Arc::downgrade(host), task.arn.clone(), key));
    }
}

async fn keep_trying(host: Weak<Host>, task_arn: String, key: Option<String>) {
    loop {
        {
            let Some(host) = host.upgrade().filter(|host| host.endpoints.task(&task_arn).is_some()) else { return };
            match open(&host, &task_arn, key.as_deref()).await {
                Ok(()) => return debug!(task_arn, "endpoint is open again"),
                Err(error) => warn!(task_arn, error = chain(&error), "endpoint of a running task is not open"),
            }
        }
        tokio::time::sleep(REOPEN_AFTER).await;
    }
}
