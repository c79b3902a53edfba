//! The life of a task and of its containers: which status follows which, and what each step stamps.
//!
//! `desired_status` is what was asked, `last_status` what is known. `last_status` changes only through [`next_status`];
//! the matrix snapshot beside the tests shows the whole machine on one page. STOPPED is final but for DELETED, a status
//! goes forward only, and a repeated report is not an error: it leaves the status where it is.
//!
//! Where the reports come from (the agent, a reconciler, a lost instance) is not known here.

use std::fmt;

use crate::reason::StoppedReason;
use crate::time::Timestamp;

/// What is known about a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LastStatus {
    /// Attachments (network interface, volume) are being made, or the task waits for an instance.
    Provisioning,
    /// The agent has it, or is about to: images are pulled, containers created.
    Pending,
    /// Containers run; target groups and discovery are being told.
    Activating,
    /// Every container is started and every registration done.
    Running,
    /// A stop was asked; target groups and discovery are being told first.
    Deactivating,
    /// A stop was asked; containers have been signalled.
    Stopping,
    /// Containers are gone; attachments are being taken away.
    Deprovisioning,
    /// Final.
    Stopped,
    /// A short marker after STOPPED, before the record goes.
    Deleted,
}

impl LastStatus {
    /// Every status, in the order of a life.
    pub const ALL: [LastStatus; 9] = [
        LastStatus::Provisioning,
        LastStatus::Pending,
        LastStatus::Activating,
        LastStatus::Running,
        LastStatus::Deactivating,
        LastStatus::Stopping,
        LastStatus::Deprovisioning,
        LastStatus::Stopped,
        LastStatus::Deleted,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            LastStatus::Provisioning => "PROVISIONING",
            LastStatus::Pending => "PENDING",
            LastStatus::Activating => "ACTIVATING",
            LastStatus::Running => "RUNNING",
            LastStatus::Deactivating => "DEACTIVATING",
            LastStatus::Stopping => "STOPPING",
            LastStatus::Deprovisioning => "DEPROVISIONING",
            LastStatus::Stopped => "STOPPED",
            LastStatus::Deleted => "DELETED",
        }
    }

    /// From the name on the wire.
    pub fn parse(name: &str) -> Option<LastStatus> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Whether nothing of the task is left on any host.
    pub const fn is_final(self) -> bool {
        matches!(self, LastStatus::Stopped | LastStatus::Deleted)
    }

    /// Whether the task is on its way up: it has not run and nobody knows yet that it will not.
    pub const fn is_starting(self) -> bool {
        matches!(self, LastStatus::Provisioning | LastStatus::Pending | LastStatus::Activating)
    }
}

impl fmt::Display for LastStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was asked of a task. There is no desired PENDING.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DesiredStatus {
    /// It should run.
    Running,
    /// It should stop, or has.
    Stopped,
}

impl DesiredStatus {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            DesiredStatus::Running => "RUNNING",
            DesiredStatus::Stopped => "STOPPED",
        }
    }

    /// From the name on the wire.
    pub fn parse(name: &str) -> Option<DesiredStatus> {
        match name {
            "RUNNING" => Some(DesiredStatus::Running),
            "STOPPED" => Some(DesiredStatus::Stopped),
            _ => None,
        }
    }
}

/// What is known about one container of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContainerStatus {
    /// Not started yet.
    Pending,
    /// Started.
    Running,
    /// Exited, or will never start.
    Stopped,
}

impl ContainerStatus {
    /// Every status, in the order of a life.
    pub const ALL: [ContainerStatus; 3] =
        [ContainerStatus::Pending, ContainerStatus::Running, ContainerStatus::Stopped];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            ContainerStatus::Pending => "PENDING",
            ContainerStatus::Running => "RUNNING",
            ContainerStatus::Stopped => "STOPPED",
        }
    }

    /// From the name on the wire.
    pub fn parse(name: &str) -> Option<ContainerStatus> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// The status after a report: a container never goes back (a restart by its restart policy stays RUNNING and is
    /// not reported), so an older report that arrives late changes nothing.
    #[must_use]
    pub fn after_report(self, reported: ContainerStatus) -> ContainerStatus {
        self.max(reported)
    }
}

/// Health of a container, or of a task over its essential containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum HealthStatus {
    /// No check is defined, or it has not decided yet.
    #[default]
    Unknown,
    /// The last probe succeeded.
    Healthy,
    /// The probe failed `retries` times in a row.
    Unhealthy,
}

impl HealthStatus {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            HealthStatus::Unknown => "UNKNOWN",
            HealthStatus::Healthy => "HEALTHY",
            HealthStatus::Unhealthy => "UNHEALTHY",
        }
    }

    /// From the name on the wire.
    pub fn parse(name: &str) -> Option<HealthStatus> {
        match name {
            "UNKNOWN" => Some(HealthStatus::Unknown),
            "HEALTHY" => Some(HealthStatus::Healthy),
            "UNHEALTHY" => Some(HealthStatus::Unhealthy),
            _ => None,
        }
    }
}

/// What a task's health is computed from: its essential containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EssentialHealth {
    /// Whether the container definition has a health check (an image's own HEALTHCHECK does not count).
    pub has_check: bool,
    /// The container's health.
    pub health: HealthStatus,
}

/// Health of a task. Essential containers without a check are skipped while another one has a check; otherwise a
/// side-car without a check would keep every task UNKNOWN for ever.
pub fn task_health(essential: impl IntoIterator<Item = EssentialHealth>) -> HealthStatus {
    let mut any_check = false;
    let mut any_unknown = false;
    for container in essential.into_iter().filter(|container| container.has_check) {
        any_check = true;
        match container.health {
            HealthStatus::Unhealthy => return HealthStatus::Unhealthy,
            HealthStatus::Unknown => any_unknown = true,
            HealthStatus::Healthy => {}
        }
    }
    if any_check && !any_unknown { HealthStatus::Healthy } else { HealthStatus::Unknown }
}

/// Why a task stopped, as a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StopCode {
    /// It never reached RUNNING.
    TaskFailedToStart,
    /// An essential container ended by itself.
    EssentialContainerExited,
    /// StopTask.
    UserInitiated,
    /// The service scheduler: scale-in, deployment, failed health checks.
    ServiceSchedulerInitiated,
    /// Spot capacity was taken back.
    SpotInterruption,
    /// The host is gone.
    TerminationNotice,
    /// The host is impaired.
    InfrastructureHealth,
}

impl StopCode {
    /// Every code.
    pub const ALL: [StopCode; 7] = [
        StopCode::TaskFailedToStart,
        StopCode::EssentialContainerExited,
        StopCode::UserInitiated,
        StopCode::ServiceSchedulerInitiated,
        StopCode::SpotInterruption,
        StopCode::TerminationNotice,
        StopCode::InfrastructureHealth,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            StopCode::TaskFailedToStart => "TaskFailedToStart",
            StopCode::EssentialContainerExited => "EssentialContainerExited",
            StopCode::UserInitiated => "UserInitiated",
            StopCode::ServiceSchedulerInitiated => "ServiceSchedulerInitiated",
            StopCode::SpotInterruption => "SpotInterruption",
            StopCode::TerminationNotice => "TerminationNotice",
            StopCode::InfrastructureHealth => "InfrastructureHealth",
        }
    }

    /// From the name on the wire.
    pub fn parse(name: &str) -> Option<StopCode> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }
}

/// Which detours a task's life takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TaskPath {
    /// It owns attachments (awsvpc, EBS, every Fargate task), or waits for an instance: PROVISIONING and DEPROVISIONING.
    pub attachments: bool,
    /// It is registered somewhere (target group, discovery, Service Connect): ACTIVATING and DEACTIVATING.
    pub registrations: bool,
}

impl TaskPath {
    /// The status a new task is born with.
    pub const fn first_status(self) -> LastStatus {
        if self.attachments { LastStatus::Provisioning } else { LastStatus::Pending }
    }

    /// All containers are started.
    pub const fn started(self) -> TaskEvent {
        if self.registrations { TaskEvent::StartedUnregistered } else { TaskEvent::Started }
    }

    /// ECS itself asked for the stop.
    pub const fn stop_requested(self) -> TaskEvent {
        if self.registrations { TaskEvent::StopRequestedRegistered } else { TaskEvent::StopRequested }
    }

    /// No container of the task runs any more, and none will.
    pub const fn containers_stopped(self) -> TaskEvent {
        if self.attachments { TaskEvent::ContainersStoppedAttached } else { TaskEvent::ContainersStopped }
    }
}

/// What can happen to a task. [`TaskPath`] chooses between the variants that differ only in the detour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskEvent {
    /// Attachments exist and an instance is chosen.
    Provisioned,
    /// The agent reports RUNNING.
    Started,
    /// The agent reports RUNNING, registrations are still to be made.
    StartedUnregistered,
    /// Registrations are made.
    Registered,
    /// A stop was asked by a user or by a scheduler.
    StopRequested,
    /// The same for a task that is registered somewhere.
    StopRequestedRegistered,
    /// Registrations are gone.
    Deregistered,
    /// The agent reports STOPPED.
    ContainersStopped,
    /// The agent reports STOPPED, attachments are still there.
    ContainersStoppedAttached,
    /// Attachments are gone.
    Deprovisioned,
    /// The instance that had it is gone (deregistered, rebooted): nothing will be reported any more.
    HostLost,
    /// The record is past its retention.
    Expired,
}

impl TaskEvent {
    /// Every event.
    pub const ALL: [TaskEvent; 12] = [
        TaskEvent::Provisioned,
        TaskEvent::Started,
        TaskEvent::StartedUnregistered,
        TaskEvent::Registered,
        TaskEvent::StopRequested,
        TaskEvent::StopRequestedRegistered,
        TaskEvent::Deregistered,
        TaskEvent::ContainersStopped,
        TaskEvent::ContainersStoppedAttached,
        TaskEvent::Deprovisioned,
        TaskEvent::HostLost,
        TaskEvent::Expired,
    ];
}

/// An event that makes no sense in a status: a bug or a broken agent, never an ordinary repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a task in {from} cannot take {event:?}")]
pub struct IllegalTransition {
    /// The status the task was in.
    pub from: LastStatus,
    /// What was reported.
    pub event: TaskEvent,
}

/// The status after `event`. The same status means: already known, nothing changes.
///
/// # Errors
/// [`IllegalTransition`] when the event cannot happen in this status.
pub fn next_status(from: LastStatus, event: TaskEvent) -> Result<LastStatus, IllegalTransition> {
    use LastStatus as S;
    use TaskEvent as E;
    let next = match (from, event) {
        (S::Provisioning, E::Provisioned) => S::Pending,
        // An agent may reattach with a task that started while we were away: its word is the truth.
        (S::Provisioning | S::Pending, E::Started) => S::Running,
        (S::Provisioning | S::Pending, E::StartedUnregistered) => S::Activating,
        (S::Activating, E::Registered) => S::Running,

        (S::Provisioning | S::Pending | S::Activating | S::Running, E::StopRequested) => S::Stopping,
        (S::Provisioning | S::Pending, E::StopRequestedRegistered) => S::Stopping,
        (S::Activating | S::Running, E::StopRequestedRegistered) => S::Deactivating,
        (S::Deactivating, E::Deregistered) => S::Stopping,

        (
            S::Provisioning | S::Pending | S::Activating | S::Running | S::Deactivating | S::Stopping,
            E::ContainersStoppedAttached,
        ) => S::Deprovisioning,
        (
            S::Provisioning | S::Pending | S::Activating | S::Running | S::Deactivating | S::Stopping,
            E::ContainersStopped,
        ) => S::Stopped,
        (S::Deprovisioning, E::Deprovisioned) => S::Stopped,

        (S::Stopped | S::Deleted, E::HostLost) => from,
        (_, E::HostLost) => S::Stopped,
        (S::Stopped, E::Expired) => S::Deleted,

        // Repeated or late messages: everything an agent or a reconciler says may be said twice.
        (_, E::Provisioned) if from > S::Provisioning => from,
        (S::Activating | S::Running, E::Started | E::StartedUnregistered) => from,
        (
            S::Deactivating | S::Stopping | S::Deprovisioning | S::Stopped | S::Deleted,
            E::Started
            | E::StartedUnregistered
            | E::Registered
            | E::StopRequested
            | E::StopRequestedRegistered
            | E::ContainersStopped
            | E::ContainersStoppedAttached,
        ) => from,
        (S::Running, E::Registered) => from,
        (S::Stopping | S::Deprovisioning | S::Stopped | S::Deleted, E::Deregistered) => from,
        (S::Stopped | S::Deleted, E::Deprovisioned) => from,
        (S::Deleted, E::Expired) => from,

        _ => return Err(IllegalTransition { from, event }),
    };
    Ok(next)
}

/// When things happened to a task. Each is set once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TaskTimes {
    /// The record was created.
    pub created_at: Timestamp,
    /// The agent's connection last became CONNECTED.
    pub connectivity_at: Option<Timestamp>,
    /// The first image pull began.
    pub pull_started_at: Option<Timestamp>,
    /// The last image pull ended.
    pub pull_stopped_at: Option<Timestamp>,
    /// RUNNING was reached.
    pub started_at: Option<Timestamp>,
    /// The first stop intent.
    pub stopping_at: Option<Timestamp>,
    /// An essential container ended, as the agent saw it.
    pub execution_stopped_at: Option<Timestamp>,
    /// STOPPED was reached.
    pub stopped_at: Option<Timestamp>,
}

/// Why a task stops: the code and the sentence. The first one given stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The code.
    pub code: StopCode,
    /// The sentence; at most 1024 characters reach the wire.
    pub reason: StoppedReason,
}

/// The part of a task that changes while it lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskLife {
    /// Which detours it takes.
    pub path: TaskPath,
    /// What is known.
    pub last_status: LastStatus,
    /// What was asked.
    pub desired_status: DesiredStatus,
    /// When things happened.
    pub times: TaskTimes,
    /// Why it stops, once it does.
    pub stop: Option<Stop>,
    /// Starts at 1; one more for each change that a client could be told of.
    pub version: i64,
}

impl TaskLife {
    /// A task just created.
    pub fn new(path: TaskPath, now: Timestamp) -> Self {
        TaskLife {
            path,
            last_status: path.first_status(),
            desired_status: DesiredStatus::Running,
            times: TaskTimes { created_at: now, ..TaskTimes::default() },
            stop: None,
            version: 1,
        }
    }

    /// Asks the task to stop. The first reason stays; asking twice changes nothing. Returns whether anything changed.
    ///
    /// A task that no agent has been given yet ends at once when `placed` is false: nobody would report its end.
    pub fn request_stop(&mut self, stop: Stop, placed: bool, now: Timestamp) -> bool {
        if self.desired_status == DesiredStatus::Stopped {
            return false;
        }
        self.desired_status = DesiredStatus::Stopped;
        self.stop.get_or_insert(stop);
        self.times.stopping_at.get_or_insert(now);
        let event = if placed { self.path.stop_requested() } else { TaskEvent::HostLost };
        // A stop request is legal in every status, so the error arm cannot be taken.
        let next = next_status(self.last_status, event).unwrap_or(self.last_status);
        self.enter(next, now);
        true
    }

    /// Applies an event. `stop` says why, for the events that end a task by itself (an exit, a failed start, a lost
    /// host); an earlier reason wins. Returns whether anything changed.
    ///
    /// # Errors
    /// [`IllegalTransition`]; the task is unchanged then.
    pub fn apply(&mut self, event: TaskEvent, stop: Option<Stop>, now: Timestamp) -> Result<bool, IllegalTransition> {
        let next = next_status(self.last_status, event)?;
        if next == self.last_status {
            return Ok(false);
        }
        if next > LastStatus::Running {
            self.desired_status = DesiredStatus::Stopped;
            if self.stop.is_none() {
                self.stop = stop;
            }
        }
        self.enter(next, now);
        Ok(true)
    }

    fn enter(&mut self, next: LastStatus, now: Timestamp) {
        match next {
            LastStatus::Running => {
                self.times.started_at.get_or_insert(now);
            }
            LastStatus::Deactivating | LastStatus::Stopping => {
                self.times.stopping_at.get_or_insert(now);
            }
            LastStatus::Stopped => {
                self.times.stopped_at.get_or_insert(now);
            }
            _ => {}
        }
        self.last_status = next;
        self.version += 1;
    }
}

#[cfg(test)]
#[path = "task_tests.rs"]
mod tests;
