//! The set of tasks on this instance: what the control plane wants is handed to actors, and after a restart of the
//! agent or of the host the records and the runtime's list are brought together.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use gantry_domain::reason::StoppedReason;
use gantry_runtime::container::{ContainerError, ContainerStatus};
use tokio::{sync::mpsc, task::JoinSet};
use tracing::{error, info, warn};

use super::{
    actor::{Actor, Command},
    state::{ContainerState, Event, Exit, Phase, TaskState},
};
use crate::{
    host::Host,
    managed_volumes,
    reason::{ContainerReason, StopCode},
    record::{Record, blocking},
    task::TaskSpec,
};

/// What the control plane wants of one task.
#[derive(Debug, Clone)]
pub(crate) struct Desired {
    pub(crate) task: TaskSpec,
    pub(crate) stop: bool,
}

/// All actors. Dropping it ends them where they are, as a killed agent would.
pub(crate) struct Supervisor {
    host: Arc<Host>,
    /// ARN → its actor's inbox.
    inboxes: BTreeMap<String, mpsc::UnboundedSender<Command>>,
    actors: JoinSet<String>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoverError {
    #[error("task records could not be read")]
    Records(#[source] io::Error),
    #[error("containers of the host could not be listed")]
    Containers(#[source] ContainerError),
}

impl Supervisor {
    /// Takes over every task that has a record.
    pub(crate) async fn recover(host: Arc<Host>) -> Result<Self, RecoverError> {
        let records = host.records.load().map_err(RecoverError::Records)?;
        let listed = host.runtime.containers.list().await.map_err(RecoverError::Containers)?;
        let mut supervisor = Self { host, inboxes: BTreeMap::new(), actors: JoinSet::new() };
        let (mut owned, mut holding) = (BTreeSet::new(), BTreeSet::new());
        for Record { task, mut state, .. } in records {
            if !state.torn_down {
                holding.insert(task.id().to_owned());
            }
            owned.extend(state.containers.iter().map(|container| container.id.clone()));
            owned.insert(task.pause_id());
            let now_ms = supervisor.host.now_ms();
            adopt(now_ms, &supervisor.host, &task, &mut state, &listed);
            supervisor.spawn(task, state);
        }
        supervisor.remove_strays(&listed, &owned).await;
        supervisor.remove_volumes(&listed, &owned, holding).await;
        Ok(supervisor)
    }

    /// Managed volumes that were left behind. One could be in use by a container without a record: then all stay.
    async fn remove_volumes(
        &self,
        listed: &BTreeMap<String, ContainerStatus>,
        owned: &BTreeSet<String>,
        holding: BTreeSet<String>,
    ) {
        let is_stray = |(id, status): (&String, &ContainerStatus)| {
            !owned.contains(id) && matches!(status, ContainerStatus::Running(_))
        };
        if listed.iter().any(is_stray) {
            return;
        }
        let agent_dir = self.host.dirs.root.clone();
        let swept = blocking(move || {
            managed_volumes::sweep(&agent_dir, &holding);
            Ok(())
        });
        if let Err(error) = swept.await {
            warn!(%error, "left-over volumes were not looked for");
        }
    }

    /// Containers without a record. A record is removed only after its containers, so a running one means that the
    /// records were lost; it is left alone, as nobody can say that it is not wanted.
    async fn remove_strays(&self, listed: &BTreeMap<String, ContainerStatus>, owned: &BTreeSet<String>) {
        for (id, status) in listed.iter().filter(|(id, _)| !owned.contains(*id)) {
            if matches!(status, ContainerStatus::Running(_) | ContainerStatus::Starting) {
                error!(container = id, "a running container belongs to no known task; it is left alone");
                continue;
            }
            let removed = self.host.runtime.containers.remove(id).await;
            if let Err(error) = removed {
                warn!(container = id, %error, "stray container was not removed");
            }
        }
    }

    /// Takes in the full set: other tasks are stopped.
    pub(crate) fn set_desired(&mut self, desired: Vec<Desired>) {
        let wanted: BTreeSet<String> = desired.iter().map(|desired| desired.task.arn.clone()).collect();
        for (_, inbox) in self.inboxes.iter().filter(|(arn, _)| !wanted.contains(*arn)) {
            drop(inbox.send(Command::Stop));
        }
        for desired in desired {
            self.desire(desired);
        }
    }

    /// Takes in one task.
    pub(crate) fn desire(&mut self, desired: Desired) {
        let arn = &desired.task.arn;
        if !self.inboxes.contains_key(arn) {
            let mut state = TaskState::new(&desired.task, &self.host.boot_id, self.host.now_ms());
            state.name_endpoints(|| uuid::Uuid::new_v4().to_string());
            if desired.stop {
                state.request_stop(StopCode::Requested, String::new(), self.host.now_ms());
            }
            info!(task = desired.task.id(), stop = desired.stop, "task accepted");
            self.spawn(desired.task, state);
        } else if desired.stop {
            self.send(arn, Command::Stop);
        }
    }

    /// The control plane knows that the task is STOPPED.
    pub(crate) fn forget(&mut self, arn: &str) {
        // A task that the control plane gave up on, but that still runs here, must end first.
        self.send(arn, Command::Stop);
        self.send(arn, Command::Forget);
    }

    /// Asks every task to stop.
    pub(crate) fn stop_all(&mut self) {
        for inbox in self.inboxes.values() {
            drop(inbox.send(Command::Stop));
        }
    }

    /// Lets actors that ended go. Call it in a loop; it never returns while none has ended.
    pub(crate) async fn reap(&mut self) {
        match self.actors.join_next().await {
            Some(Ok(arn)) => drop(self.inboxes.remove(&arn)),
            Some(Err(error)) if error.is_panic() => error!(%error, "a task's actor panicked"),
            Some(Err(_)) => {}
            None => std::future::pending().await,
        }
    }

    fn send(&self, arn: &str, command: Command) {
        if let Some(inbox) = self.inboxes.get(arn) {
            // An actor that just ended has nothing to obey.
            drop(inbox.send(command));
        }
    }

    fn spawn(&mut self, task: TaskSpec, state: TaskState) {
        let (inbox, commands) = mpsc::unbounded_channel();
        let arn = task.arn.clone();
        let task = Arc::new(task);
        self.host.credentials.expect(&arn);
        self.host.endpoints.register(&task, &state, inbox.clone());
        self.inboxes.insert(arn.clone(), inbox);
        metrics::gauge!("gantry_agent_tasks").set(self.inboxes.len() as f64);
        let actor = Actor::new(Arc::clone(&self.host), task, state, commands);
        self.actors.spawn(async move {
            actor.run().await;
            arn
        });
    }
}

/// Brings a record up to date with what the runtime still has.
fn adopt(now_ms: u64, host: &Host, task: &TaskSpec, state: &mut TaskState, listed: &BTreeMap<String, ContainerStatus>) {
    state.recorded = true;
    let rebooted = state.boot_id != host.boot_id;
    if rebooted && !state.all_stopped() {
        let reason = StoppedReason::HostStopped { instance: host.config.instance_id.clone() };
        state.request_stop(StopCode::TerminationNotice, reason.to_string(), now_ms);
    }
    for index in 0..task.containers.len() {
        let container = &state.containers[index];
        if container.phase == Phase::Stopped {
            continue;
        }
        let event = match listed.get(&container.id) {
            Some(ContainerStatus::Running(started)) => Some(Event::Started(Ok(started.clone()))),
            Some(ContainerStatus::Exited(record)) => {
                let known = container.restarting && container.started_ms == Some(record.started_at_ms);
                // The exit that the pending restart answers is not a new one.
                (!known || rebooted).then(|| Event::Exited(Exit::Recorded(record.clone())))
            }
            Some(ContainerStatus::Lost) if rebooted => Some(Event::Exited(Exit::Lost(ContainerReason::HostRebooted))),
            Some(ContainerStatus::Lost) => Some(Event::Exited(Exit::Lost(ContainerReason::Vanished))),
            // It is started again, which waits for it.
            Some(ContainerStatus::Starting) => None,
            None => missing(container, rebooted),
        };
        if let Some(event) = event {
            apply_kept(state, now_ms, task, index, event);
        }
    }
}

/// A container that the runtime has not heard of: not started yet, or gone.
fn missing(container: &ContainerState, rebooted: bool) -> Option<Event> {
    let reason = if rebooted { ContainerReason::HostRebooted } else { ContainerReason::Vanished };
    let was_running = container.phase == Phase::Running && !container.restarting;
    (rebooted || was_running).then_some(Event::Exited(Exit::Lost(reason)))
}

/// Applies an event without losing what a repeated `Started` would reset.
fn apply_kept(state: &mut TaskState, now_ms: u64, task: &TaskSpec, index: usize, event: Event) {
    let container = &state.containers[index];
    let same_start =
        matches!(&event, Event::Started(Ok(started)) if container.started_ms == Some(started.started_at_ms));
    let health = container.health.clone();
    state.apply(now_ms, task, index, event);
    if same_start {
        state.containers[index].health = health;
    }
}
