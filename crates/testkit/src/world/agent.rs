//! An agent that runs nothing: it speaks the agents' protocol through the door, and says about its tasks what their
//! behaviour prescribes. The host outlives the agent's connection, unless it reboots.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::FutureExt;
use gantry_api::{
    Caller,
    agent::{
        AgentMessage, ControlMessage, DesiredStatus, DesiredTask, ObservedContainer, ObservedStatus, ObservedTask,
        PROTOCOL_VERSION, StopReason,
    },
};
use gantry_control::{
    door::{Door, Ended, Session},
    keys::InstanceKey,
};
use gantry_domain::{
    Timestamp,
    reason::{ContainerError, ContainerReason, StoppedReason},
    task::{ContainerStatus, HealthStatus, StopCode},
};

/// What tasks of an image do. Times in milliseconds.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// From the moment the agent has the task to RUNNING (or to the failure).
    pub start_ms: i64,
    /// It never starts, for this reason.
    pub start_fails: Option<String>,
    /// It ends by itself so long after it started.
    pub exit_ms: Option<i64>,
    /// Its health check says HEALTHY so long after it started.
    pub healthy_ms: Option<i64>,
    /// Its health check says UNHEALTHY so long after it started.
    pub unhealthy_ms: Option<i64>,
    /// From the stop request to STOPPED; none: it never stops.
    pub stop_ms: Option<i64>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            start_ms: 1000,
            start_fails: None,
            exit_ms: None,
            healthy_ms: None,
            unhealthy_ms: None,
            stop_ms: Some(500),
        }
    }
}

/// A host and its agent.
pub(super) struct FakeAgent {
    pub(super) key: InstanceKey,
    /// Whether the host is up and can reach the control plane.
    pub(super) up: bool,
    boots: u32,
    session: Option<Session>,
    sequence: u64,
    /// By task ARN.
    tasks: BTreeMap<String, Task>,
    /// What the parts of the full set named so far.
    named: BTreeSet<String>,
}

/// A task on the host.
struct Task {
    desired: DesiredTask,
    since: Timestamp,
    started: Option<Timestamp>,
    stop_asked: Option<Timestamp>,
    state: State,
    /// The control plane has this state for certain.
    acknowledged: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum State {
    Pending,
    Running(HealthStatus),
    Stopped(Option<StopReason>),
}

impl FakeAgent {
    pub(super) fn new(key: InstanceKey) -> Self {
        Self { key, up: true, boots: 1, session: None, sequence: 0, tasks: BTreeMap::new(), named: BTreeSet::new() }
    }

    /// The connection is gone; everything on the host goes on.
    pub(super) fn disconnect(&mut self) {
        self.session = None;
    }

    /// Everything that ran is gone.
    pub(super) fn reboot(&mut self) {
        self.session = None;
        self.tasks.clear();
        self.boots += 1;
        self.up = true;
    }

    /// When [`Self::work`] has something to do although nothing reaches the agent; none: never.
    pub(super) fn due(&self, now: Timestamp, behaviour: impl Fn(&str) -> Behaviour) -> Option<Timestamp> {
        if !self.up {
            return None;
        }
        if self.session.is_none() {
            return Some(now);
        }
        self.tasks.values().filter_map(|task| task.due(now, &behaviour(&image(&task.desired)))).min()
    }

    /// Connects if need be, listens, lets the tasks go on, and reports what is new.
    pub(super) async fn work(
        &mut self,
        door: &Door,
        caller: &Caller,
        now: Timestamp,
        behaviour: impl Fn(&str) -> Behaviour,
    ) {
        if !self.up {
            return;
        }
        if let Err(ended) = self.exchange(door, caller, now, behaviour).await {
            self.session = None;
            // A deregistered host is of no use any more.
            self.up = ended != Ended::Unregistered;
        }
    }

    async fn exchange(
        &mut self,
        door: &Door,
        caller: &Caller,
        now: Timestamp,
        behaviour: impl Fn(&str) -> Behaviour,
    ) -> Result<(), Ended> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => {
                self.named.clear();
                door.begin(caller, self.hello()).await?
            }
        };
        while let Some(message) = session.next().now_or_never() {
            self.listen(message?, now);
        }
        for task in self.tasks.values_mut() {
            task.advance(now, &behaviour(&image(&task.desired)));
        }
        let news: Vec<ObservedTask> =
            self.tasks.values().filter(|task| !task.acknowledged).map(Task::observed).collect();
        if !news.is_empty() {
            self.sequence += 1;
            let message = AgentMessage::Observed { sequence: self.sequence, tasks: news };
            session.receive(message).await?;
            self.tasks.values_mut().for_each(|task| task.acknowledged = true);
        }
        self.session = Some(session);
        Ok(())
    }

    fn hello(&self) -> AgentMessage {
        AgentMessage::Hello {
            protocol_version: PROTOCOL_VERSION,
            container_instance_arn: self.key.arn(),
            agent_version: "0.0.0".to_owned(),
            boot_id: format!("boot {}", self.boots),
            tasks: self.tasks.values().map(Task::observed).collect(),
            underlay_address: None,
            volume_room_gib: None,
        }
    }

    fn listen(&mut self, message: ControlMessage, now: Timestamp) {
        match message {
            ControlMessage::DesiredSet { tasks, more, .. } => {
                self.named.extend(tasks.iter().map(|task| task.task_arn.clone()));
                tasks.into_iter().for_each(|task| self.take(task, now));
                if !more {
                    let named = std::mem::take(&mut self.named);
                    self.tasks.retain(|arn, _| named.contains(arn));
                }
            }
            ControlMessage::Delta { changed, removed, .. } => {
                changed.into_iter().for_each(|task| self.take(task, now));
                self.tasks.retain(|arn, _| !removed.contains(arn));
            }
            ControlMessage::Overlay { .. }
            | ControlMessage::Roles { .. }
            | ControlMessage::ExecSessions { .. }
            | ControlMessage::Acknowledged { .. }
            | ControlMessage::Goodbye { .. } => {}
        }
    }

    fn take(&mut self, desired: DesiredTask, now: Timestamp) {
        let stop = desired.desired_status == DesiredStatus::Stopped;
        let task = self.tasks.entry(desired.task_arn.clone()).or_insert_with(|| Task {
            desired,
            since: now,
            started: None,
            stop_asked: None,
            state: State::Pending,
            acknowledged: false,
        });
        if stop {
            task.stop_asked.get_or_insert(now);
        }
    }
}

impl Task {
    /// The next moment after `now` at which [`Self::next`] says something else.
    fn due(&self, now: Timestamp, behaviour: &Behaviour) -> Option<Timestamp> {
        let moments = match (&self.state, self.stop_asked, self.started) {
            _ if !self.acknowledged => return Some(now),
            (State::Stopped(_), ..) => return None,
            (_, Some(asked), Some(_)) => [behaviour.stop_ms.map(|ms| asked.plus_millis(ms)), None, None],
            (_, Some(_), None) => return Some(now),
            (_, None, None) => [Some(self.since.plus_millis(behaviour.start_ms)), None, None],
            (_, None, Some(started)) => [behaviour.exit_ms, behaviour.healthy_ms, behaviour.unhealthy_ms]
                .map(|after| after.map(|ms| started.plus_millis(ms))),
        };
        moments.into_iter().flatten().filter(|at| *at > now).min()
    }

    fn advance(&mut self, now: Timestamp, behaviour: &Behaviour) {
        let next = self.next(now, behaviour);
        if next != self.state {
            self.state = next;
            self.acknowledged = false;
        }
    }

    fn next(&mut self, now: Timestamp, behaviour: &Behaviour) -> State {
        if matches!(self.state, State::Stopped(_)) {
            return self.state.clone();
        }
        if let Some(asked) = self.stop_asked {
            let stopped = behaviour.stop_ms.is_some_and(|stop_ms| now.millis_since(asked) >= stop_ms);
            // A task that never started stops at once.
            return if stopped || self.started.is_none() { State::Stopped(None) } else { self.state.clone() };
        }
        if self.started.is_none() {
            if now.millis_since(self.since) < behaviour.start_ms {
                return State::Pending;
            }
            if let Some(why) = &behaviour.start_fails {
                let reason = ContainerReason::new(ContainerError::CannotPullContainer, why).to_string();
                return stopped(StopCode::TaskFailedToStart, reason);
            }
            self.started = Some(now);
        }
        let ran_ms = self.started.map_or(0, |started| now.millis_since(started));
        if behaviour.exit_ms.is_some_and(|exit_ms| ran_ms >= exit_ms) {
            let reason = StoppedReason::EssentialContainerExited.to_string();
            return stopped(StopCode::EssentialContainerExited, reason);
        }
        let since = |at: Option<i64>| at.is_some_and(|at| ran_ms >= at);
        State::Running(match (since(behaviour.unhealthy_ms), since(behaviour.healthy_ms)) {
            (true, _) => HealthStatus::Unhealthy,
            (_, true) => HealthStatus::Healthy,
            _ => HealthStatus::Unknown,
        })
    }

    fn observed(&self) -> ObservedTask {
        let ms = |at: Timestamp| at.as_millis().unsigned_abs();
        let (status, container, health, stopped) = match &self.state {
            State::Pending => (ObservedStatus::Pending, ContainerStatus::Pending, HealthStatus::Unknown, None),
            State::Running(health) => (ObservedStatus::Running, ContainerStatus::Running, *health, None),
            State::Stopped(why) => {
                (ObservedStatus::Stopped, ContainerStatus::Stopped, HealthStatus::Unknown, why.clone())
            }
        };
        let containers = self.desired.task_definition.container_definitions.iter().flatten();
        let containers = containers.map(|definition| ObservedContainer {
            name: definition.name.clone().unwrap_or_default(),
            last_status: container.as_str().to_owned(),
            health: health.as_str().to_owned(),
            ..ObservedContainer::default()
        });
        ObservedTask {
            task_arn: self.desired.task_arn.clone(),
            last_status: status,
            stopped,
            pull_started_at_ms: None,
            pull_stopped_at_ms: None,
            started_at_ms: self.started.map(ms),
            stopping_at_ms: self.stop_asked.map(ms),
            execution_stopped_at_ms: None,
            stopped_at_ms: None,
            health: health.as_str().to_owned(),
            containers: containers.collect(),
            volume: None,
        }
    }
}

fn stopped(code: StopCode, reason: String) -> State {
    State::Stopped(Some(StopReason { code: code.as_str().to_owned(), reason }))
}

/// The image of a task's first container: what its behaviour goes by.
fn image(task: &DesiredTask) -> String {
    let first = task.task_definition.container_definitions.as_ref().and_then(|containers| containers.first());
    first.and_then(|container| container.image.clone()).unwrap_or_default()
}
