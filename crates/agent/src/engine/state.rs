//! What the agent knows of one task, and how each event changes it. Pure; persisted as part of the task's record.
//!
//! A container's phase only moves forward: pending, running, stopped. Everything before "running" (image, network,
//! root filesystem) is not persisted: its steps are safe to repeat and are repeated after a restart of the agent.

use std::net::IpAddr;

use gantry_domain::{
    reason::StoppedReason,
    task::{EssentialHealth, HealthStatus, task_health},
};
use gantry_runtime::{
    container::{ContainerSpec, ExitRecord, Started},
    image::Image,
    network::NetworkNamespace,
};
use serde::{Deserialize, Serialize};

use crate::{
    health::Health,
    reason::{ContainerReason, StopCode},
    task::{LaunchType, TaskSpec},
};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Phase {
    #[default]
    Pending,
    Running,
    Stopped,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct TaskState {
    /// The boot of the host in which the task was accepted.
    pub(crate) boot_id: String,
    pub(crate) containers: Vec<ContainerState>,
    /// Under which id its containers ask for the credentials of the task role: whoever knows it gets them.
    #[serde(default)]
    pub(crate) credentials_id: String,
    /// Why the task should stop; `None` while it should run.
    pub(crate) stop: Option<TaskStop>,
    pub(crate) accepted_ms: u64,
    pub(crate) pull_started_ms: Option<u64>,
    pub(crate) pull_stopped_ms: Option<u64>,
    pub(crate) started_ms: Option<u64>,
    pub(crate) execution_stopped_ms: Option<u64>,
    pub(crate) stopped_ms: Option<u64>,
    /// Why it did not get its managed volume.
    #[serde(default)]
    pub(crate) volume_failure: Option<String>,
    /// What it held is freed.
    pub(crate) torn_down: bool,
    /// The control plane knows its end.
    pub(crate) told: bool,
    /// Its record is on disk in this process's lifetime.
    #[serde(skip)]
    pub(crate) recorded: bool,
    /// Task cgroup, task namespace and volumes exist.
    #[serde(skip)]
    pub(crate) provision: Option<Provision>,
}

/// What a task has before its containers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Provision {
    /// For [`ContainerSpec::task_cgroup`].
    pub(crate) cgroup: String,
    /// The namespace of an awsvpc task.
    pub(crate) namespace: Option<NetworkNamespace>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TaskStop {
    pub(crate) code: StopCode,
    pub(crate) reason: String,
    pub(crate) at_ms: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ContainerState {
    /// The container's id at the runtime and `runtimeId` on the wire.
    pub(crate) id: String,
    /// Under which id the container asks for its metadata.
    #[serde(default)]
    pub(crate) endpoint_id: String,
    pub(crate) phase: Phase,
    pub(crate) image_digest: Option<String>,
    /// Signal number of the image's STOPSIGNAL; 0 until known.
    pub(crate) stop_signal: i32,
    /// Set once created; restarts use it again.
    pub(crate) spec: Option<ContainerSpec>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) bindings: Vec<Binding>,
    #[serde(default)]
    pub(crate) created_ms: Option<u64>,
    pub(crate) first_started_ms: Option<u64>,
    pub(crate) started_ms: Option<u64>,
    pub(crate) finished_ms: Option<u64>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) reason: Option<ContainerReason>,
    /// It exited and its restart policy has it started again.
    pub(crate) restarting: bool,
    pub(crate) restart_count: u32,
    pub(crate) stopping: Option<Stopping>,
    pub(crate) health: Health,
    /// Everything it printed was delivered, or was given up on.
    pub(crate) logs_flushed: bool,
    #[serde(skip)]
    pub(crate) image: Option<Image>,
    #[serde(skip)]
    pub(crate) network: Option<ContainerNetwork>,
}

/// The network of one container.
#[derive(Debug, Clone)]
pub(crate) struct ContainerNetwork {
    pub(crate) namespace: gantry_runtime::container::Namespace,
    pub(crate) address: Option<IpAddr>,
    pub(crate) bindings: Vec<Binding>,
}

/// A `networkBindings` entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Binding {
    /// First and last.
    pub(crate) container_ports: (u16, u16),
    /// First and last.
    pub(crate) host_ports: (u16, u16),
    pub(crate) udp: bool,
    /// Reported as ranges.
    pub(crate) is_range: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stopping {
    pub(crate) signalled_ms: u64,
    pub(crate) kill_at_ms: u64,
    pub(crate) killed_ms: Option<u64>,
}

/// Something that happened to a container.
#[derive(Debug)]
pub(crate) enum Event {
    Pulled(Result<Box<Image>, ContainerReason>),
    Networked(Result<ContainerNetwork, ContainerReason>),
    Created(Result<Box<ContainerSpec>, ContainerReason>),
    Started(Result<Started, ContainerReason>),
    Exited(Exit),
    Signalled { kill_after_ms: u64 },
    Killed,
    Probed { exit_code: Option<i32>, output: String },
    LogsFlushed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exit {
    Recorded(ExitRecord),
    /// Nobody knows how it ended.
    Lost(ContainerReason),
}

impl TaskState {
    pub(crate) fn new(task: &TaskSpec, boot_id: &str, now_ms: u64) -> Self {
        let containers = task
            .containers
            .iter()
            .map(|definition| ContainerState { id: runtime_id(task.id(), &definition.name), ..Default::default() })
            .collect();
        Self { boot_id: boot_id.to_owned(), containers, accepted_ms: now_ms, ..Default::default() }
    }

    /// Gives the task and its containers ids that nobody can guess.
    pub(crate) fn name_endpoints(&mut self, mut new_id: impl FnMut() -> String) {
        self.credentials_id = new_id();
        self.containers.iter_mut().for_each(|container| container.endpoint_id = new_id());
    }

    /// Asks the task to stop; the first reason stays.
    pub(crate) fn request_stop(&mut self, code: StopCode, reason: String, now_ms: u64) {
        self.stop.get_or_insert(TaskStop { code, reason, at_ms: now_ms });
    }

    /// Applies what happened to container `index`.
    pub(crate) fn apply(&mut self, now_ms: u64, task: &TaskSpec, index: usize, event: Event) {
        let may_restart = self.stop.is_none();
        let container = &mut self.containers[index];
        match event {
            Event::Pulled(outcome) => {
                self.pull_stopped_ms = Some(now_ms);
                match outcome {
                    Ok(image) => {
                        container.image_digest = Some(image.digest.clone());
                        container.stop_signal = signal_number(&image.config.stop_signal);
                        container.image = Some(*image);
                    }
                    Err(reason) => container.fail(now_ms, reason),
                }
            }
            Event::Networked(Ok(network)) => {
                container.address = network.address;
                container.bindings.clone_from(&network.bindings);
                container.network = Some(network);
            }
            Event::Created(Ok(spec)) => {
                container.created_ms = Some(now_ms);
                container.spec = Some(*spec);
            }
            Event::Started(Ok(started)) => container.started(started.started_at_ms),
            Event::Networked(Err(reason)) | Event::Created(Err(reason)) | Event::Started(Err(reason)) => {
                container.fail(now_ms, reason);
            }
            Event::Exited(exit) => container.exited(now_ms, task, index, exit, may_restart),
            Event::Signalled { kill_after_ms } => {
                container.stopping =
                    Some(Stopping { signalled_ms: now_ms, kill_at_ms: now_ms + kill_after_ms, killed_ms: None });
            }
            Event::Killed => {
                if let Some(stopping) = &mut container.stopping {
                    stopping.killed_ms = Some(now_ms);
                }
            }
            Event::Probed { exit_code, output } => {
                if let (Some(check), Some(started)) = (&task.containers[index].health_check, container.started_ms) {
                    container.health = container.health.probed(check, started, now_ms, exit_code, &output);
                }
            }
            Event::LogsFlushed => container.logs_flushed = true,
        }
    }

    /// Whether every container is stopped and nothing of it is left to deliver.
    pub(crate) fn is_finished(&self) -> bool {
        self.containers.iter().all(|container| container.phase == Phase::Stopped && !container.owes_logs())
    }

    pub(crate) fn all_stopped(&self) -> bool {
        self.containers.iter().all(|container| container.phase == Phase::Stopped)
    }

    /// What the control plane is told: the least advanced container decides.
    pub(crate) fn reported_phase(&self) -> Phase {
        if self.is_finished() {
            return Phase::Stopped;
        }
        let least = self.containers.iter().map(|container| container.phase).min().unwrap_or_default();
        // A task that once ran is not pending again, and one whose logs are still on their way is not yet stopped.
        if self.started_ms.is_some() { Phase::Running } else { least.min(Phase::Running) }
    }

    pub(crate) fn health(&self, task: &TaskSpec) -> HealthStatus {
        let essential = task.containers.iter().zip(&self.containers).filter(|(definition, _)| definition.essential);
        task_health(essential.map(|(definition, known)| EssentialHealth {
            has_check: definition.health_check.is_some(),
            health: known.health.status,
        }))
    }

    /// Follows the consequences of what containers did: an essential container that stopped stops the task, and the
    /// task's own timestamps.
    pub(crate) fn conclude(&mut self, now_ms: u64, task: &TaskSpec) {
        let failed = task.containers.iter().zip(&self.containers).find(|(definition, known)| {
            let pull_failed =
                matches!(known.reason, Some(ContainerReason::CannotPull(_) | ContainerReason::CannotPullEcr(_)));
            known.phase == Phase::Stopped
                && (definition.essential || (pull_failed && task.launch_type == LaunchType::Fargate))
        });
        if let Some((_, known)) = failed {
            self.execution_stopped_ms.get_or_insert(known.finished_ms.unwrap_or(now_ms));
            if self.stop.is_none() {
                let (code, reason) = stop_for(task, known);
                self.request_stop(code, reason, now_ms);
            }
        }
        let least = self.containers.iter().map(|container| container.phase).min().unwrap_or_default();
        let ran = self.containers.iter().any(|container| container.first_started_ms.is_some());
        if least >= Phase::Running && !self.all_stopped() && ran {
            self.started_ms.get_or_insert(now_ms);
        }
        if self.is_finished() {
            // A short task may have started and stopped between two looks.
            if ran && self.started_ms.is_none() && self.containers.iter().all(|c| c.first_started_ms.is_some()) {
                self.started_ms = self.containers.iter().filter_map(|container| container.first_started_ms).max();
            }
            self.stopped_ms.get_or_insert(now_ms);
        }
    }
}

/// Code and sentence of a task whose container `known` stopped it.
fn stop_for(task: &TaskSpec, known: &ContainerState) -> (StopCode, String) {
    if known.first_started_ms.is_some() {
        return (StopCode::EssentialContainerExited, StoppedReason::EssentialContainerExited.to_string());
    }
    let text = match (&known.reason, task.launch_type) {
        (Some(reason @ ContainerReason::ResourceInitialization(_)), _) | (Some(reason), LaunchType::Fargate) => {
            reason.text()
        }
        _ => StoppedReason::TaskFailedToStart.to_string(),
    };
    (StopCode::TaskFailedToStart, text)
}

impl ContainerState {
    /// It printed something that the control plane has not got yet.
    pub(crate) fn owes_logs(&self) -> bool {
        self.first_started_ms.is_some() && !self.logs_flushed
    }

    /// Ends it without it having run, or after a start that failed.
    pub(crate) fn fail(&mut self, now_ms: u64, reason: ContainerReason) {
        self.phase = Phase::Stopped;
        self.restarting = false;
        self.finished_ms.get_or_insert(now_ms);
        self.reason.get_or_insert(reason);
    }

    fn started(&mut self, at_ms: u64) {
        self.phase = Phase::Running;
        self.restarting = false;
        self.first_started_ms.get_or_insert(at_ms);
        self.started_ms = Some(at_ms);
        self.finished_ms = None;
        self.exit_code = None;
        self.health = Health::default();
    }

    fn exited(&mut self, now_ms: u64, task: &TaskSpec, index: usize, exit: Exit, may_restart: bool) {
        match exit {
            Exit::Recorded(record) => {
                self.first_started_ms.get_or_insert(record.started_at_ms);
                self.started_ms = Some(record.started_at_ms);
                self.finished_ms = Some(record.finished_at_ms);
                self.exit_code = Some(record.exit_code);
                if may_restart && self.restarts(now_ms, task, index, record.exit_code) {
                    self.restarting = true;
                    self.restart_count = self.restart_count.saturating_add(1);
                    self.health = Health::default();
                    return;
                }
                if record.oom_killed {
                    self.reason.get_or_insert(ContainerReason::OutOfMemory);
                }
            }
            Exit::Lost(reason) => {
                self.finished_ms = Some(now_ms);
                self.reason.get_or_insert(reason);
            }
        }
        self.restarting = false;
        self.phase = Phase::Stopped;
    }

    fn restarts(&self, now_ms: u64, task: &TaskSpec, index: usize, exit_code: i32) -> bool {
        let Some(policy) = &task.containers[index].restart_policy else { return false };
        let ran_ms = now_ms.saturating_sub(self.started_ms.unwrap_or(now_ms));
        !policy.ignored_exit_codes.contains(&exit_code) && ran_ms >= policy.attempt_period_seconds * 1000
    }
}

/// The id of a container at the runtime: `<task id>-<ten digits>`, as the service shows it for its own tasks. It
/// follows from the names alone, so that a start repeated after a crash meets the same container.
pub(crate) fn runtime_id(task_id: &str, container: &str) -> String {
    // FNV-1a: stable across releases, unlike the standard library's hasher.
    let hash = container
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{task_id}-{:010}", hash % 10_000_000_000)
}

/// Number of a STOPSIGNAL such as `SIGINT`, `INT` or `2`; SIGTERM for anything else.
pub(crate) fn signal_number(name: &str) -> i32 {
    const NAMES: [(&str, i32); 18] = [
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ILL", 4),
        ("TRAP", 5),
        ("ABRT", 6),
        ("BUS", 7),
        ("FPE", 8),
        ("KILL", 9),
        ("USR1", 10),
        ("SEGV", 11),
        ("USR2", 12),
        ("PIPE", 13),
        ("ALRM", 14),
        ("TERM", 15),
        ("CHLD", 17),
        ("CONT", 18),
        ("WINCH", 28),
    ];
    if let Ok(number @ 1..=64) = name.parse() {
        return number;
    }
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(offset) = bare.strip_prefix("RTMIN+").and_then(|offset| offset.parse::<i32>().ok()) {
        return (34 + offset).clamp(34, 64);
    }
    NAMES.iter().find(|(known, _)| *known == bare).map_or(15, |(_, number)| *number)
}
