//! The agent's life: take over what runs, register, stay connected, leave without a trace on the tasks.

use std::{io, sync::Arc, time::Duration};

use gantry_api::{agent::ObservedStatus, machine::JoinResponse};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tracing::{error, info, warn};

use crate::{
    access::Access,
    aws::{AwsClient, Door},
    clock::Clock,
    config::{Config, Join, RuntimeParts},
    credentials::{InRole, TaskCredentials},
    endpoint::introspection,
    engine::supervisor::{RecoverError, Supervisor},
    exec, gpus,
    held_values::HeldValues,
    host::{Dirs, Host, HostParts},
    identity::{Identity, IdentityError},
    images_cleanup,
    logs::{LogSinks, Logs},
    memory, overlay, random_fraction,
    reason::chain,
    register::{self, Machine},
    registry_access::{OwnRegistry, RegistryAccesses},
    session::{self, Order, SessionEnd},
    unfinished_images, usage,
};

/// Why the agent could not do its work at all. Everything later is retried for ever.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The data directory or /proc could not be used.
    #[error("agent's files")]
    Files(#[source] io::Error),
    /// The HTTP client could not be made.
    #[error("HTTP client")]
    Client(#[source] reqwest::Error),
    /// The machine is not let in.
    #[error("joining: {0}")]
    Join(String),
    /// The tasks of an earlier agent could not be taken over.
    #[error("tasks of an earlier agent: {0}")]
    Recover(String),
}

impl From<RecoverError> for AgentError {
    fn from(error: RecoverError) -> Self {
        Self::Recover(chain(&error))
    }
}

/// First delay between attempts to reach the control plane; it doubles.
const RETRY_MIN: Duration = Duration::from_millis(50);
/// A control plane that restarts is back within this …
const RETRY_MAX_AT_FIRST: Duration = Duration::from_secs(1);
/// … and one that is away for longer than this must not be besieged by all its agents when it returns.
const RETRY_PATIENCE: Duration = Duration::from_secs(60);
const RETRY_MAX: Duration = Duration::from_secs(15);
/// How long `stop_tasks_on_shutdown` waits: the longest stop time-out and a little.
const SHUTDOWN_MAX: Duration = Duration::from_secs(150);

/// By then an agent has registered and connected.
const STARTUP_TIME: Duration = Duration::from_secs(2);

/// Runs the agent until `shutdown` completes. Tasks are left running, unless the configuration says otherwise.
///
/// # Errors
/// [`AgentError`] when the agent cannot start; not being able to reach the control plane is no error.
pub async fn run(
    config: Config,
    runtime: RuntimeParts,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), AgentError> {
    let clock = Clock::System;
    let machine = Machine::read().map_err(AgentError::Files)?;
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(AgentError::Files)?;
    let mut shutdown = std::pin::pin!(shutdown);
    let dirs = Dirs::new(&config.data_dir);
    let door = Door::new(&config.endpoint).map_err(AgentError::Client)?;
    let mut identity = Identity::open(&dirs).map_err(|error| AgentError::Join(chain(&error)))?;
    let joined = tokio::select! {
        joined = join(&mut identity, &door, &config.join) => joined?,
        () = &mut shutdown => return Ok(()),
    };
    let config = belonging(config, joined);
    let access = Arc::new(Access::new(door.clone(), dirs, config.join.clone(), clock, identity));
    let client = Arc::new(AwsClient::new(door, &config.region, access, clock));
    let registry = OwnRegistry {
        endpoint: config.endpoint.clone(),
        account: config.account.clone(),
        region: config.region.clone(),
        hosts: config.registry_hosts.clone(),
    };
    let credentials = Arc::<TaskCredentials>::default();
    let sinks = log_sinks(&client, &credentials);
    let values = Arc::new(HeldValues::new(Some(Arc::clone(&client))));
    let parts = HostParts {
        runtime,
        clock,
        boot_id: boot_id.trim().to_owned(),
        registries: RegistryAccesses::new(registry, Some((Arc::clone(&client), Arc::clone(&credentials))), clock),
        values: Arc::clone(&values),
        logs: Logs::open(Dirs::new(&config.data_dir).logs(), &config.region, Some(sinks), values, clock)
            .map_err(AgentError::Files)?,
        credentials,
        client: Some(Arc::clone(&client)),
    };
    let stop_tasks = config.stop_tasks_on_shutdown;
    let host = Host::new(config, parts).map_err(AgentError::Files)?;
    *host.container_instance.lock() = register::registered(&host.dirs, &host.config.cluster);
    let supervisor = Supervisor::recover(Arc::clone(&host)).await?;
    let (orders, inbox) = mpsc::channel(64);
    let engine = drive(supervisor, inbox);
    let connection = stay_connected(&host, &client, &machine, &orders);
    let networks = overlay::run(&host);
    let cleanup = images_cleanup::run(&host);
    let measuring = usage::run(&host);
    let sessions = exec::run(&host, &client);
    let introspection = introspection::run(&host);
    let renewal = unfinished_images::run(&host);
    let release = async {
        sleep(STARTUP_TIME).await;
        memory::release_startup_pages();
        std::future::pending::<()>().await;
    };
    let leave = async {
        shutdown.await;
        if stop_tasks {
            stop_everything(&host, &orders).await;
        }
    };
    tokio::select! {
        () = engine => {}
        () = connection => {}
        () = networks => {}
        () = cleanup => {}
        () = measuring => {}
        () = sessions => {}
        () = introspection => {}
        () = renewal => {}
        () = release => {}
        () = leave => info!("agent leaves; containers go on"),
    }
    Ok(())
}

/// Logs are delivered in the execution role of a task that has one, else in the machine's.
fn log_sinks(client: &Arc<AwsClient>, credentials: &Arc<TaskCredentials>) -> LogSinks {
    let (client, credentials) = (Arc::clone(client), Arc::clone(credentials));
    Arc::new(move |task| match InRole::execution(&credentials, task) {
        Some(signer) => Arc::new(client.signed_by(signer)),
        None => Arc::clone(&client) as _,
    })
}

/// Joins, however long the control plane is away; what it refuses it refuses for good.
async fn join(identity: &mut Identity, door: &Door, proof: &Join) -> Result<JoinResponse, AgentError> {
    let mut retry = Retry::new();
    loop {
        match identity.join(door, proof).await {
            Ok(joined) => return Ok(joined),
            Err(IdentityError::Refused(error)) if error.is_transient() => {
                info!(error = chain(&error), "not joined yet");
                sleep(retry.delay()).await;
            }
            Err(error) => return Err(AgentError::Join(chain(&error))),
        }
    }
}

/// The configuration of a machine that knows where it belongs.
fn belonging(config: Config, joined: JoinResponse) -> Config {
    let cluster = Some(config.cluster.clone()).filter(|cluster| !cluster.is_empty()).or(joined.cluster);
    Config {
        region: joined.region,
        account: joined.account,
        instance_id: joined.machine_id,
        cluster: cluster.unwrap_or_else(|| "default".to_owned()),
        ..config
    }
}

/// Hands orders to the engine.
async fn drive(mut supervisor: Supervisor, mut orders: mpsc::Receiver<Order>) {
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Set(desired)) => supervisor.set_desired(desired),
                Some(Order::Change(changed, removed)) => {
                    changed.into_iter().for_each(|desired| supervisor.desire(desired));
                    removed.iter().for_each(|arn| supervisor.forget(arn));
                }
                Some(Order::StopAll) => supervisor.stop_all(),
                None => return,
            },
            () = supervisor.reap() => {}
        }
    }
}

/// Registers and connects, again and again.
async fn stay_connected(host: &Arc<Host>, client: &AwsClient, machine: &Machine, orders: &mpsc::Sender<Order>) {
    let mut retry = Retry::new();
    // A host boots once: a control plane that was away is not kept waiting.
    let mut attempts = gpus::ATTEMPTS;
    loop {
        let gpus = gpus::offered(&host.config, std::mem::replace(&mut attempts, 1)).await;
        match register::register(client, &host.config, &host.dirs, machine, &gpus).await {
            Ok(container_instance) => {
                *host.container_instance.lock() = Some(container_instance.clone());
                while serve_once(host, client, &container_instance, orders, &mut retry).await == Next::Reconnect {
                    sleep(retry.delay()).await;
                }
            }
            Err(error) if error.is_transient() => info!(error = chain(&error), "not registered yet"),
            Err(error) => error!(error = chain(&error), "registration was refused"),
        }
        sleep(retry.delay()).await;
    }
}

#[derive(PartialEq, Eq)]
enum Next {
    Reconnect,
    Register,
}

async fn serve_once(
    host: &Arc<Host>,
    client: &AwsClient,
    container_instance: &str,
    orders: &mpsc::Sender<Order>,
    retry: &mut Retry,
) -> Next {
    let began = Instant::now();
    let end = session::serve(host, client, container_instance, orders).await;
    // A connection that held for a while was a good one; one that ends at once is not, whoever ends it.
    if began.elapsed() > RETRY_MAX_AT_FIRST {
        *retry = Retry::new();
    }
    warn!(reason = chain(&end), "connection to the control plane ended");
    match end {
        SessionEnd::Goodbye { register: true, .. } => {
            register::forget(&host.dirs);
            Next::Register
        }
        _ => Next::Reconnect,
    }
}

/// Growing delays with jitter.
struct Retry {
    since: Instant,
    next: Duration,
}

impl Retry {
    fn new() -> Self {
        Self { since: Instant::now(), next: RETRY_MIN }
    }

    fn delay(&mut self) -> Duration {
        let max = if self.since.elapsed() < RETRY_PATIENCE { RETRY_MAX_AT_FIRST } else { RETRY_MAX };
        let delay = self.next.min(max);
        self.next = (self.next * 2).min(RETRY_MAX);
        // Half fixed, half random: agents that lost the same control plane do not return as one.
        delay / 2 + (delay / 2).mul_f64(random_fraction())
    }
}

/// Stops every task and waits until the control plane has been told, for a bounded time.
async fn stop_everything(host: &Host, orders: &mpsc::Sender<Order>) {
    if orders.send(Order::StopAll).await.is_err() {
        return;
    }
    let all_told = async {
        for task in host.outbox.everything() {
            if task.last_status != ObservedStatus::Stopped {
                host.outbox.stopped_acknowledged(&task.task_arn).await;
            }
        }
    };
    if timeout(SHUTDOWN_MAX, all_told).await.is_err() {
        warn!("some tasks did not stop in time");
    }
}
