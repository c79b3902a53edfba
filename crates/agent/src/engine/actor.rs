//! One actor per task: carries out what `plan` says, feeds outcomes back, keeps the record and the report current.
//!
//! It lives from the task's acceptance until its record is removed. Everything it runs ends with it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use gantry_domain::reason::StoppedReason;
use tokio::{
    sync::{mpsc, oneshot},
    task::{AbortHandle, Id, JoinError, JoinSet},
};
use tracing::{debug, error, info, warn};

use super::{
    plan::{Action, Plan, advance, plan_task},
    pull,
    state::{Event, Phase, Provision, TaskState},
    steps::{self, CreateInput},
    teardown,
};
use crate::{
    container_spec::EndpointIds,
    endpoint::{self, metadata_file},
    ephemeral_storage, firelens,
    host::Host,
    random_fraction,
    reason::{ContainerReason, StopCode, chain},
    record::{Durability, Record},
    task::{TaskNetwork, TaskSpec},
    wire,
};

/// Between attempts to write on a disk that refuses.
const WRITE_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// What the control plane says to a running actor.
#[derive(Debug)]
pub(crate) enum Command {
    /// Stop the task; the control plane knows the reason.
    Stop,
    /// STOPPED is durable there: the task may be forgotten.
    Forget,
    /// How is the task now?
    Look(oneshot::Sender<TaskState>),
}

/// Outcome of an action.
enum Outcome {
    Container(usize, Event),
    Recorded(io::Result<()>),
    Provisioned(Result<Provision, ContainerReason>),
    StorageExceeded,
    /// The metadata file of a container could not be written, some time ago.
    MetadataFileFailed(usize),
    /// Done, and nothing follows.
    Done,
}

pub(crate) struct Actor {
    host: Arc<Host>,
    task: Arc<TaskSpec>,
    state: TaskState,
    commands: mpsc::UnboundedReceiver<Command>,
    busy: BTreeSet<Action>,
    running: JoinSet<Outcome>,
    actions: HashMap<Id, Action>,
    pulls: BTreeMap<usize, AbortHandle>,
    /// The state on disk is older than `state`.
    dirty: bool,
    /// The last write of the record failed.
    record_failing: bool,
    forgotten: bool,
}

impl Actor {
    pub(crate) fn new(
        host: Arc<Host>,
        task: Arc<TaskSpec>,
        state: TaskState,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        Self {
            host,
            task,
            state,
            commands,
            busy: BTreeSet::new(),
            running: JoinSet::new(),
            actions: HashMap::new(),
            pulls: BTreeMap::new(),
            dirty: false,
            record_failing: false,
            forgotten: false,
        }
    }

    /// Drives the task to its end and cleans up after it.
    pub(crate) async fn run(mut self) {
        endpoint::reopen(&self.host, &self.task, &self.state);
        for index in 0..self.task.containers.len() {
            // Also of a container that ended without waiting for its logs: what is left is delivered now.
            if self.state.containers[index].first_started_ms.is_some() {
                self.follow_logs(index);
            }
            if self.state.containers[index].phase == Phase::Running {
                self.complete_metadata_file(index);
            }
        }
        if let Some(gib) = self.task.ephemeral_storage_gib {
            let (host, task) = (Arc::clone(&self.host), Arc::clone(&self.task));
            let ids: Vec<String> = self.state.containers.iter().map(|container| container.id.clone()).collect();
            self.running.spawn(async move {
                ephemeral_storage::until_exceeded(&host, task.id(), ids, gib << 30).await;
                Outcome::StorageExceeded
            });
        }
        self.drive().await;
        self.finish().await;
    }

    /// Until everything is stopped, delivered and recorded.
    async fn drive(&mut self) {
        loop {
            let now_ms = self.host.now_ms();
            let stopped_before = self.state.stop.is_some();
            advance(now_ms, &self.task, &mut self.state, &self.busy);
            self.dirty |= stopped_before != self.state.stop.is_some();
            if self.state.stop.is_some() {
                self.abandon_pulls();
            }
            if !self.state.told {
                self.host.outbox.publish(wire::observed(&self.task, &self.state));
            }
            let Plan { mut actions, wake_at_ms } = plan_task(now_ms, &self.task, &self.state, &self.busy);
            if self.dirty && !self.busy.contains(&Action::Record) && !actions.contains(&Action::Record) {
                actions.push(Action::Record);
            }
            // A full disk must not keep the task's own files on it: its end needs no record then.
            let recorded = actions.is_empty() && !self.busy.contains(&Action::Record);
            if self.state.is_finished() && (recorded || self.record_failing) {
                return;
            }
            for action in actions {
                self.begin(action);
            }
            self.next(wake_at_ms).await;
        }
    }

    /// Waits for the next thing to happen and takes it in.
    async fn next(&mut self, wake_at_ms: Option<u64>) {
        let host = Arc::clone(&self.host);
        let wake = async {
            match wake_at_ms {
                Some(at_ms) => host.clock.sleep_until(at_ms).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(wake);
        loop {
            tokio::select! {
                Some(finished) = self.running.join_next_with_id() => return self.take_in(finished),
                Some(command) = self.commands.recv() => match command {
                    // Nothing is to be planned for somebody who only looks.
                    Command::Look(_) => self.obey(command),
                    _ => return self.obey(command),
                },
                () = &mut wake => return,
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Stop => {
                if self.state.stop.is_none() {
                    info!(task = self.task.id(), "task is asked to stop");
                    self.state.request_stop(StopCode::Requested, String::new(), self.host.now_ms());
                    self.dirty = true;
                }
            }
            Command::Forget => self.forgotten = true,
            // Whoever asked may have given up.
            Command::Look(answer) => drop(answer.send(self.state.clone())),
        }
    }

    fn take_in(&mut self, finished: Result<(Id, Outcome), JoinError>) {
        let (id, outcome) = match finished {
            Ok((id, outcome)) => (id, Some(outcome)),
            Err(error) => {
                if error.is_panic() {
                    error!(task = self.task.id(), %error, "a step panicked; it will be planned again");
                }
                (error.id(), None)
            }
        };
        if let Some(action) = self.actions.remove(&id) {
            self.busy.remove(&action);
            if let Action::Pull(index) = action {
                self.pulls.remove(&index);
            }
        }
        match outcome {
            Some(Outcome::Container(index, event)) => self.apply(index, event),
            Some(Outcome::Recorded(Ok(()))) => {
                self.state.recorded = true;
                self.record_failing = false;
            }
            Some(Outcome::Recorded(Err(error))) => self.record_failed(&error),
            Some(Outcome::Provisioned(Ok(provision))) => self.state.provision = Some(provision),
            Some(Outcome::Provisioned(Err(reason))) => self.provision_failed(&reason),
            Some(Outcome::StorageExceeded) => self.storage_exceeded(),
            Some(Outcome::MetadataFileFailed(index)) => {
                // It goes with its container.
                if self.state.containers[index].phase == Phase::Running {
                    self.complete_metadata_file(index);
                }
            }
            Some(Outcome::Done) | None => {}
        }
    }

    fn apply(&mut self, index: usize, event: Event) {
        let now_ms = self.host.now_ms();
        let started = matches!(event, Event::Started(Ok(_)));
        let name = &self.task.containers[index].name;
        match &event {
            Event::Started(Ok(_)) => {
                metrics::counter!("gantry_agent_containers_started_total").increment(1);
                info!(task = self.task.id(), container = name, "container started");
            }
            Event::Exited(exit) => {
                metrics::counter!("gantry_agent_containers_ended_total").increment(1);
                info!(task = self.task.id(), container = name, ?exit, "container ended");
            }
            Event::Pulled(Err(reason))
            | Event::Networked(Err(reason))
            | Event::Created(Err(reason))
            | Event::Started(Err(reason)) => {
                warn!(task = self.task.id(), container = name, reason = reason.text(), "container did not start");
            }
            _ => debug!(task = self.task.id(), container = name, ?event, "step done"),
        }
        // What comes before "created" is not persisted, and a probe that changed nothing is not worth a write.
        let health = self.state.containers[index].health.status;
        let matters = !matches!(event, Event::Pulled(Ok(_)) | Event::Networked(Ok(_)) | Event::Probed { .. });
        self.state.apply(now_ms, &self.task, index, event);
        self.dirty |= matters || health != self.state.containers[index].health.status;
        if started {
            if self.state.containers[index].restart_count == 0 {
                self.follow_logs(index);
            }
            self.complete_metadata_file(index);
        }
    }

    /// Tells a container that runs the rest of what it is, again and again where the disk refuses. An agent that was
    /// killed before does so when it comes again.
    fn complete_metadata_file(&mut self, index: usize) {
        if !metadata_file::is_there(&self.state, index) {
            return;
        }
        let (host, task, state) = (Arc::clone(&self.host), Arc::clone(&self.task), self.state.clone());
        self.running.spawn(async move {
            let Err(error) = metadata_file::complete(&host, &task, &state, index).await else { return Outcome::Done };
            warn!(task = task.id(), error = chain(&error), "metadata file of a container was not written");
            tokio::time::sleep(WRITE_AGAIN_AFTER).await;
            Outcome::MetadataFileFailed(index)
        });
    }

    fn follow_logs(&self, index: usize) {
        let container = &self.state.containers[index];
        let (spec, created_ms) = (container.spec.as_ref(), container.created_ms);
        self.host.logs.follow(&self.task, index, &container.id, spec, created_ms);
    }

    /// Without a record nothing may start. The first one that fails ends the task; later ones are tried again.
    fn record_failed(&mut self, error: &io::Error) {
        warn!(task = self.task.id(), %error, "task record was not written");
        self.dirty = true;
        self.record_failing = true;
        if !self.state.recorded {
            let reason = ContainerReason::ResourceInitialization(format!("task state could not be saved: {error}"));
            self.provision_failed(&reason);
            // Nothing of the task will run, so nothing needs the record.
            self.state.recorded = true;
        }
        let again = async { tokio::time::sleep(WRITE_AGAIN_AFTER).await };
        self.busy.insert(Action::Record);
        let handle = self.running.spawn(async move {
            again.await;
            Outcome::Recorded(Ok(()))
        });
        self.actions.insert(handle.id(), Action::Record);
    }

    fn provision_failed(&mut self, reason: &ContainerReason) {
        warn!(task = self.task.id(), reason = reason.text(), "task could not be set up");
        let now_ms = self.host.now_ms();
        if let ContainerReason::VolumeNotAttached(why) = reason {
            self.state.volume_failure = Some(why.clone());
        }
        self.state.request_stop(StopCode::TaskFailedToStart, reason.text(), now_ms);
        self.dirty = true;
    }

    /// As a container that is over its memory ends the task, so do containers that are over their storage.
    fn storage_exceeded(&mut self) {
        let gib = self.task.ephemeral_storage_gib.unwrap_or_default();
        let reason = StoppedReason::EphemeralStorageExceeded { gib }.to_string();
        warn!(task = self.task.id(), reason, "task is stopped");
        self.state.request_stop(StopCode::EssentialContainerExited, reason, self.host.now_ms());
        self.dirty = true;
    }

    /// Downloads of a task that is to stop are in nobody's interest.
    fn abandon_pulls(&mut self) {
        for pull in self.pulls.values() {
            pull.abort();
        }
    }

    fn begin(&mut self, action: Action) {
        self.busy.insert(action);
        let host = Arc::clone(&self.host);
        let task = Arc::clone(&self.task);
        let handle = match action {
            Action::Record => self.begin_record(host),
            Action::Provision => {
                let is_new = self.state.containers.iter().all(|container| container.spec.is_none());
                self.running.spawn(async move { Outcome::Provisioned(steps::provision(&host, &task, is_new).await) })
            }
            Action::Pull(index) => self.begin_pull(index, host, task),
            Action::Network(index) => {
                let id = self.id(index);
                let provision = self.state.provision.clone();
                self.container(index, async move {
                    Event::Networked(steps::network(&host, &task, index, &id, provision.as_ref()).await)
                })
            }
            Action::Create(index) => self.begin_create(index, host, task),
            Action::Start(index) => self.begin_start(index, host, task),
            Action::Wait(index) => {
                let id = self.id(index);
                self.container(index, async move { steps::wait(&host, &id).await })
            }
            Action::Probe(index) => {
                let id = self.id(index);
                self.container(index, async move { steps::probe(&host, &task, index, &id).await })
            }
            Action::Signal(index) => self.begin_signal(index, host),
            Action::Kill(index) => {
                let id = self.id(index);
                self.container(index, async move {
                    steps::signal(&host, &id, SIGKILL).await;
                    Event::Killed
                })
            }
            Action::FlushLogs(index) => {
                let id = self.id(index);
                self.container(index, async move {
                    host.logs.flush(&id).await;
                    Event::LogsFlushed
                })
            }
        };
        self.actions.insert(handle.id(), action);
    }

    fn container(&mut self, index: usize, work: impl Future<Output = Event> + Send + 'static) -> AbortHandle {
        self.running.spawn(async move { Outcome::Container(index, work.await) })
    }

    fn id(&self, index: usize) -> String {
        self.state.containers[index].id.clone()
    }

    fn begin_record(&mut self, host: Arc<Host>) -> AbortHandle {
        // The first record must outlast a power loss before anything starts; so must the end, as the runtime's own
        // traces are removed next.
        let durability =
            if !self.state.recorded || self.state.is_finished() { Durability::Power } else { Durability::Process };
        self.dirty = false;
        let record = Record::new(TaskSpec::clone(&self.task), self.state.clone());
        self.running.spawn(async move { Outcome::Recorded(host.records.save(record, durability).await) })
    }

    fn begin_pull(&mut self, index: usize, host: Arc<Host>, task: Arc<TaskSpec>) -> AbortHandle {
        self.state.pull_started_ms.get_or_insert(self.host.now_ms());
        let handle =
            self.container(index, async move { Event::Pulled(pull::pull(&host, &task, index).await.map(Box::new)) });
        self.pulls.insert(index, handle.clone());
        handle
    }

    fn begin_create(&mut self, index: usize, host: Arc<Host>, task: Arc<TaskSpec>) -> AbortHandle {
        let container = &self.state.containers[index];
        let (Some(image), Some(network), Some(provision)) =
            (container.image.clone(), container.network.clone(), &self.state.provision)
        else {
            // The plan creates only what is ready; were it wrong, the container would say so instead of hanging.
            let missing = ContainerReason::CannotCreate("created before it was ready".to_owned());
            return self.container(index, async move { Event::Created(Err(missing)) });
        };
        let endpoint = EndpointIds {
            container: container.endpoint_id.clone(),
            credentials: self.task.roles.task.as_ref().map(|_| self.state.credentials_id.clone()),
        };
        let input = CreateInput {
            id: container.id.clone(),
            image,
            network,
            cgroup: provision.cgroup.clone(),
            links: self.links(index),
            endpoint,
            fluent_host: self.fluent_host(index),
        };
        self.container(index, async move { Event::Created(steps::create(&host, &task, index, input).await) })
    }

    /// Addresses of linked containers with the names they go by.
    fn links(&self, index: usize) -> Vec<(IpAddr, Vec<String>)> {
        if self.task.network != TaskNetwork::Bridge {
            return Vec::new();
        }
        let links = self.task.containers[index].links.iter();
        let resolved = links.filter_map(|link| {
            let address = self.state.containers[self.task.index_of(&link.container)?].address?;
            let mut names = vec![link.alias.clone()];
            if link.alias != link.container {
                names.push(link.container.clone());
            }
            Some((address, names))
        });
        resolved.collect()
    }

    /// Where container `index` finds the task's log router, if it sends to it.
    fn fluent_host(&self, index: usize) -> Option<String> {
        if self.task.containers[index].log.driver != firelens::DRIVER {
            return None;
        }
        let router = self.task.containers.iter().position(|container| container.firelens.is_some())?;
        firelens::host(&self.task, self.state.containers[router].address)
    }

    fn begin_start(&mut self, index: usize, host: Arc<Host>, task: Arc<TaskSpec>) -> AbortHandle {
        let Some(spec) = self.state.containers[index].spec.clone() else {
            let missing = ContainerReason::CannotStart("started before it was created".to_owned());
            return self.container(index, async move { Event::Started(Err(missing)) });
        };
        self.container(index, async move { Event::Started(steps::start(&host, &task, index, spec).await) })
    }

    fn begin_signal(&mut self, index: usize, host: Arc<Host>) -> AbortHandle {
        let own = self.task.containers[index].stop_timeout_seconds.filter(|seconds| *seconds > 0);
        let kill_after_ms = own.map_or(host.config.container_stop_timeout, Duration::from_secs).as_millis() as u64;
        let (id, signal) = (self.id(index), self.state.containers[index].stop_signal);
        let signal = if signal == 0 { SIGTERM } else { signal };
        self.container(index, async move {
            steps::signal(&host, &id, signal).await;
            Event::Signalled { kill_after_ms }
        })
    }

    /// After STOPPED was reported: frees what the task held, keeps record and logs for a while, then forgets it.
    async fn finish(&mut self) {
        let host = Arc::clone(&self.host);
        self.running.shutdown().await;
        host.endpoints.close(&self.task.arn);
        host.credentials.ended(&self.task.arn);
        let mut ids: Vec<String> = self.state.containers.iter().map(|container| container.id.clone()).collect();
        if self.task.has_pause() {
            // Last, as the others live in its namespaces.
            ids.push(self.task.pause_id());
        }
        if !self.state.torn_down {
            self.tear_down(&ids).await;
            self.state.torn_down = true;
            self.save().await;
        }
        // After a restart of the agent a shipper may not know yet that its container has ended.
        for id in &ids {
            host.logs.flush(id).await;
        }
        if !self.state.told {
            self.until_told().await;
            self.state.told = true;
            host.outbox.remove(&self.task.arn);
            self.save().await;
        }
        let jitter = host.config.task_cleanup_jitter.mul_f64(random_fraction());
        let wait_ms = (host.config.task_cleanup_wait + jitter).as_millis() as u64;
        let until_ms = self.state.stopped_ms.unwrap_or_default() + wait_ms;
        let place = host.stopped_tasks.keep();
        tokio::select! {
            () = host.clock.sleep_until(until_ms) => {}
            () = place.displaced() => {}
        }
        host.logs.forget(&ids).await;
        host.credentials.forget(&self.task.arn);
        host.records.remove(self.task.id()).await;
    }

    async fn tear_down(&self, ids: &[String]) {
        self.host.values.forget(&self.task.arn);
        let _counted = self.host.teardowns.begin();
        let _turn = self.host.teardowns.turn().await;
        teardown::tear_down(&self.host, &self.task, ids).await;
        debug!(task = self.task.id(), "task is taken apart");
    }

    async fn save(&self) {
        let record = Record::new(TaskSpec::clone(&self.task), self.state.clone());
        if let Err(error) = self.host.records.save(record, Durability::Process).await {
            // What it says is done again after a restart, which is harmless.
            warn!(task = self.task.id(), %error, "task record was not written");
        }
    }

    /// Waits until the control plane has heard of the end.
    async fn until_told(&mut self) {
        let host = Arc::clone(&self.host);
        let arn = self.task.arn.clone();
        let told = host.outbox.stopped_acknowledged(&arn);
        tokio::pin!(told);
        while !self.forgotten {
            tokio::select! {
                () = &mut told => break,
                Some(command) = self.commands.recv() => self.obey(command),
            }
        }
    }
}

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
