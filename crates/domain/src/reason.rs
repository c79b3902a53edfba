//! Why something happened later: the sentences clients read in `stoppedReason`, in a container's `reason`, in service
//! events and in a deployment's `rolloutStateReason`.
//!
//! The words are those of the real service, because people and programs match on them. Each text stands here once; who
//! decides names a variant and never writes a sentence. Refusals of a request are elsewhere (`control`'s faults and
//! failures).

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// Both task and container reasons are cut to this many characters on the wire.
pub const REASON_CHARS_MAX: usize = 1024;

/// Cuts a reason to what the wire carries, at a character boundary.
pub fn trimmed(reason: &str) -> Cow<'_, str> {
    match reason.char_indices().nth(REASON_CHARS_MAX) {
        Some((end, _)) => Cow::Owned(reason[..end].to_owned()),
        None => Cow::Borrowed(reason),
    }
}

/// A task's `stoppedReason`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoppedReason {
    /// An essential container ended.
    EssentialContainerExited,
    /// The task never ran, and nothing better is known.
    TaskFailedToStart,
    /// The service scheduler found it UNHEALTHY.
    FailedContainerHealthChecks,
    /// A target group found it unhealthy.
    FailedTargetGroupHealthChecks {
        /// The target group's ARN.
        target_group: String,
    },
    /// A service scaled in, or a deployment replaced the task.
    ScalingActivity {
        /// `ecs-svc/N`.
        deployment: String,
    },
    /// StopTask with a reason.
    GivenByUser(String),
    /// StopTask without a reason.
    StoppedByUser,
    /// The machine is gone.
    HostTerminated {
        /// The machine's instance id.
        instance: String,
    },
    /// The machine was stopped.
    HostStopped {
        /// The machine's instance id.
        instance: String,
    },
    /// DeregisterContainerInstance with `force`.
    DeregistrationForced,
    /// Spot capacity was taken back.
    SpotInterrupted,
    /// The host is retired.
    Maintenance,
    /// The network interface was not there in time.
    NetworkInterfaceTimeout,
    /// The task was waiting for an instance, and none will do.
    NotPlaced {
        /// A placement code, such as `RESOURCE:MEMORY`.
        code: String,
    },
    /// A network, volume, log driver or secret could not be had.
    ResourceInitialization {
        /// What failed.
        message: String,
    },
    /// On Fargate a container's error is the task's reason as well.
    Container(ContainerReason),
    /// `dependsOn` forms a circle.
    DependenciesUnresolved {
        /// The task's ARN.
        task: String,
    },
    /// The agent gave up waiting for containers to end.
    NotStopping,
    /// A text that somebody else wrote: an agent's report, or a stored record.
    Verbatim(String),
}

impl fmt::Display for StoppedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoppedReason::EssentialContainerExited => f.write_str("Essential container in task exited"),
            StoppedReason::TaskFailedToStart => f.write_str("Task failed to start"),
            StoppedReason::FailedContainerHealthChecks => f.write_str("Task failed container health checks"),
            StoppedReason::FailedTargetGroupHealthChecks { target_group } => {
                write!(f, "Task failed ELB health checks in (target-group {target_group})")
            }
            StoppedReason::ScalingActivity { deployment } => {
                write!(f, "Scaling activity initiated by (deployment {deployment})")
            }
            StoppedReason::GivenByUser(reason) | StoppedReason::Verbatim(reason) => f.write_str(reason),
            StoppedReason::StoppedByUser => f.write_str("Task stopped by user"),
            StoppedReason::HostTerminated { instance } => write!(f, "Host EC2 (instance {instance}) terminated."),
            StoppedReason::HostStopped { instance } => write!(f, "Host EC2 (instance {instance}) stopped."),
            StoppedReason::DeregistrationForced => f.write_str("Container instance deregistration forced by user"),
            StoppedReason::SpotInterrupted => f.write_str("Your Spot Task was interrupted."),
            StoppedReason::Maintenance => {
                f.write_str("ECS is performing maintenance on the underlying infrastructure hosting the task.")
            }
            StoppedReason::NetworkInterfaceTimeout => {
                f.write_str("Timeout waiting for network interface provisioning to complete.")
            }
            StoppedReason::NotPlaced { code } => write!(f, "TaskFailedToStart: {code}"),
            StoppedReason::ResourceInitialization { message } => write!(f, "ResourceInitializationError: {message}"),
            StoppedReason::Container(reason) => reason.fmt(f),
            StoppedReason::DependenciesUnresolved { task } => {
                write!(f, "Task dependencies cannot be resolved, taskArn: {task}")
            }
            StoppedReason::NotStopping => {
                f.write_str("TaskStateError: Agent could not progress task's state to stopped")
            }
        }
    }
}

/// The name in front of a container's reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContainerError {
    /// The kernel killed it for memory.
    OutOfMemory,
    /// The image could not be pulled.
    CannotPullContainer,
    /// Our own registry gave no token.
    CannotPullEcrContainer,
    /// A private registry's credentials are missing.
    CannotPullContainerAuth,
    /// The tag could not be resolved to a digest.
    CannotPullImageManifest,
    /// Making the container failed.
    CannotCreateContainer,
    /// Starting it failed, or a container it depends on failed.
    CannotStartContainer,
    /// Stopping it failed.
    CannotStopContainer,
    /// Its state could not be read.
    CannotInspectContainer,
    /// A volume could not be made.
    CannotCreateVolume,
    /// A volume's definition is unusable.
    InvalidVolume,
    /// A step took too long.
    DockerTimeout,
    /// The runtime's own error.
    DockerState,
    /// Namespace, address or port trouble.
    ContainerNetworking,
    /// The runtime configuration could not be built.
    HostConfig,
    /// A resource of the task failed.
    ResourceInitialization,
    /// The container is gone without a trace (a rebooted host).
    ContainerVanished,
    /// The task was stopped before its images were pulled.
    TaskStoppedBeforePullBegin,
    /// A dependency can never be met.
    TaskDependency,
    /// No name is known.
    Unknown,
}

impl ContainerError {
    /// Every name.
    pub const ALL: [ContainerError; 20] = [
        ContainerError::OutOfMemory,
        ContainerError::CannotPullContainer,
        ContainerError::CannotPullEcrContainer,
        ContainerError::CannotPullContainerAuth,
        ContainerError::CannotPullImageManifest,
        ContainerError::CannotCreateContainer,
        ContainerError::CannotStartContainer,
        ContainerError::CannotStopContainer,
        ContainerError::CannotInspectContainer,
        ContainerError::CannotCreateVolume,
        ContainerError::InvalidVolume,
        ContainerError::DockerTimeout,
        ContainerError::DockerState,
        ContainerError::ContainerNetworking,
        ContainerError::HostConfig,
        ContainerError::ResourceInitialization,
        ContainerError::ContainerVanished,
        ContainerError::TaskStoppedBeforePullBegin,
        ContainerError::TaskDependency,
        ContainerError::Unknown,
    ];

    /// The name as it stands in the reason.
    pub const fn as_str(self) -> &'static str {
        match self {
            ContainerError::OutOfMemory => "OutOfMemoryError",
            ContainerError::CannotPullContainer => "CannotPullContainerError",
            ContainerError::CannotPullEcrContainer => "CannotPullECRContainerError",
            ContainerError::CannotPullContainerAuth => "CannotPullContainerAuthError",
            ContainerError::CannotPullImageManifest => "CannotPullImageManifestError",
            ContainerError::CannotCreateContainer => "CannotCreateContainerError",
            ContainerError::CannotStartContainer => "CannotStartContainerError",
            ContainerError::CannotStopContainer => "CannotStopContainerError",
            ContainerError::CannotInspectContainer => "CannotInspectContainerError",
            ContainerError::CannotCreateVolume => "CannotCreateVolumeError",
            ContainerError::InvalidVolume => "InvalidVolumeError",
            ContainerError::DockerTimeout => "DockerTimeoutError",
            ContainerError::DockerState => "DockerStateError",
            ContainerError::ContainerNetworking => "ContainerNetworkingError",
            ContainerError::HostConfig => "HostConfigError",
            ContainerError::ResourceInitialization => "ResourceInitializationError",
            ContainerError::ContainerVanished => "ContainerVanishedError",
            ContainerError::TaskStoppedBeforePullBegin => "TaskStoppedBeforePullBeginError",
            ContainerError::TaskDependency => "TaskDependencyError",
            ContainerError::Unknown => "UnknownError",
        }
    }
}

/// A container's `reason`: `<ErrorName>: <message>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerReason {
    /// The name.
    pub error: ContainerError,
    /// What stands behind it.
    pub message: String,
}

impl ContainerReason {
    /// A name with the message of whoever failed.
    pub fn new(error: ContainerError, message: impl Into<String>) -> Self {
        ContainerReason { error, message: message.into() }
    }

    /// The kernel killed the container for memory.
    pub fn out_of_memory() -> Self {
        Self::new(ContainerError::OutOfMemory, "Container killed due to memory usage")
    }

    /// The container is gone without a trace.
    pub fn vanished() -> Self {
        Self::new(ContainerError::ContainerVanished, "No container matching saved ID found")
    }

    /// A step took too long; `step` is `pulled`, `created`, `started`, `stopped`.
    pub fn timed_out(step: &str, waited: Duration) -> Self {
        let waited = GoDuration(waited);
        Self::new(
            ContainerError::DockerTimeout,
            format!("Could not transition to {step}; timed out after waiting {waited}"),
        )
    }

    /// The task was stopped before its images were pulled.
    pub fn stopped_before_pull(task_arn: &str) -> Self {
        Self::new(
            ContainerError::TaskStoppedBeforePullBegin,
            format!("Task stopped before image pull could begin for task: {task_arn}"),
        )
    }
}

impl fmt::Display for ContainerReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error.as_str(), self.message)
    }
}

/// A duration as the agent prints it: `3m0s`, `1h0m0s`, `30s`.
struct GoDuration(Duration);

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        match self.0.subsec_millis() {
            0 => write!(f, "{seconds}s"),
            millis => {
                let fraction = format!("{millis:03}");
                write!(f, "{seconds}.{}s", fraction.trim_end_matches('0'))
            }
        }
    }
}

/// What kept a task from being placed, as a service event tells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlacementTrouble {
    /// The cluster has no instance that could be asked.
    NoInstances,
    /// The instance that came closest, and what it lacks.
    Closest {
        /// Its id.
        instance: String,
        /// What it lacks.
        lack: Lack,
    },
    /// Fargate has no room.
    CapacityUnavailable,
}

/// What an instance lacks for a task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lack {
    /// CPU units.
    Cpu,
    /// Memory.
    Memory,
    /// A host port.
    Port,
    /// An attribute.
    Attribute,
    /// A connected agent.
    Agent,
    /// Anything else, by its placement code.
    Other(String),
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lack::Cpu => f.write_str("has insufficient CPU units available"),
            Lack::Memory => f.write_str("has insufficient memory available"),
            Lack::Port => f.write_str("is already using a port required by your task"),
            Lack::Attribute => f.write_str("is missing an attribute required by your task"),
            Lack::Agent => f.write_str("doesn't have the agent connected"),
            Lack::Other(code) => write!(f, "encountered error \"{code}\""),
        }
    }
}

/// A message of a service's `events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceEvent {
    /// Tasks were started.
    Started {
        /// Task ids, in the order they were placed.
        tasks: Vec<String>,
    },
    /// Tasks were stopped.
    Stopped {
        /// Task ids.
        tasks: Vec<String>,
    },
    /// A deployment is done.
    DeploymentCompleted {
        /// `ecs-svc/N`.
        deployment: String,
    },
    /// A deployment was given up.
    DeploymentFailed {
        /// `ecs-svc/N`.
        deployment: String,
    },
    /// A failed deployment goes back to an older one.
    RollingBack {
        /// `ecs-svc/N`: the new deployment that carries the old definition.
        deployment: String,
    },
    /// Everything is as asked.
    SteadyState,
    /// A task could not be placed.
    NotPlaced(PlacementTrouble),
    /// Tasks end before they run, again and again.
    StartImpaired,
    /// A task was UNHEALTHY.
    FailedContainerHealthChecks {
        /// The task's id.
        task: String,
    },
    /// minimumHealthyPercent and maximumPercent leave no room for a step.
    ConfigurationStuck,
    /// More tasks are protected than wanted.
    ProtectedTasks {
        /// `ecs-svc/N`.
        deployment: String,
    },
}

impl ServiceEvent {
    /// The message of the service called `service`.
    pub fn message(&self, service: &str) -> String {
        match self {
            ServiceEvent::Started { tasks } => {
                format!("(service {service}) has started {} tasks: {}.", tasks.len(), TaskList(tasks))
            }
            ServiceEvent::Stopped { tasks } => {
                format!("(service {service}) has stopped {} running tasks: {}.", tasks.len(), TaskList(tasks))
            }
            ServiceEvent::DeploymentCompleted { deployment } => {
                format!("(service {service}) (deployment {deployment}) deployment completed.")
            }
            ServiceEvent::DeploymentFailed { deployment } => {
                format!("(service {service}) (deployment {deployment}) deployment failed: tasks failed to start.")
            }
            ServiceEvent::RollingBack { deployment } => {
                format!("(service {service}) rolling back to deployment {deployment}.")
            }
            ServiceEvent::SteadyState => format!("(service {service}) has reached a steady state."),
            ServiceEvent::NotPlaced(trouble) => not_placed(service, trouble),
            ServiceEvent::StartImpaired => {
                format!("(service {service}) is unable to consistently start tasks successfully.")
            }
            ServiceEvent::FailedContainerHealthChecks { task } => {
                format!("(service {service}) (task {task}) failed container health checks.")
            }
            ServiceEvent::ConfigurationStuck => format!(
                "service ({service}) was unable to stop or start tasks during a deployment because of the service \
                 deployment configuration. Update the minimumHealthyPercent or maximumPercent value and try again."
            ),
            ServiceEvent::ProtectedTasks { deployment } => format!(
                "service ({service}) was unable to reach steady state because task set ({deployment}) was unable to \
                 scale in. Reason: The number of protected tasks are more than the desired count of tasks."
            ),
        }
    }
}

fn not_placed(service: &str, trouble: &PlacementTrouble) -> String {
    const GUIDE: &str = "For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.";
    let unmet = format!(
        "service {service} was unable to place a task because no container instance met all of its requirements."
    );
    match trouble {
        PlacementTrouble::NoInstances => {
            format!("{unmet} Reason: No Container Instances were found in your cluster. {GUIDE}")
        }
        PlacementTrouble::Closest { instance, lack } => {
            format!("{unmet} The closest matching container-instance {instance} {lack}. {GUIDE}")
        }
        PlacementTrouble::CapacityUnavailable => format!(
            "service {service} was unable to place a task. Reason: Capacity is unavailable at this time. Please try \
             again later or in a different availability zone. {GUIDE}"
        ),
    }
}

/// `(task ID) (task ID)`.
struct TaskList<'a>(&'a [String]);

impl fmt::Display for TaskList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, task) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}(task {task})")?;
        }
        Ok(())
    }
}

/// A deployment's `rolloutStateReason`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RolloutReason {
    /// It goes on.
    InProgress,
    /// It is done.
    Completed,
    /// The circuit breaker stopped it.
    CircuitBreaker,
    /// The circuit breaker stopped it, and an older one comes back.
    CircuitBreakerRollback {
        /// `ecs-svc/N` of the deployment that replaces it.
        to: String,
    },
    /// StopServiceDeployment stopped it, and an older one comes back.
    StoppedByUser {
        /// `ecs-svc/N` of the deployment that replaces it.
        to: String,
    },
}

impl RolloutReason {
    /// The sentence for the deployment called `deployment` (`ecs-svc/N`).
    pub fn message(&self, deployment: &str) -> String {
        match self {
            RolloutReason::InProgress => format!("ECS deployment {deployment} in progress."),
            RolloutReason::Completed => format!("ECS deployment {deployment} completed."),
            RolloutReason::CircuitBreaker => "ECS deployment circuit breaker: tasks failed to start.".to_owned(),
            RolloutReason::CircuitBreakerRollback { to } => {
                format!("ECS deployment circuit breaker: rolling back to deploymentId {to}.")
            }
            RolloutReason::StoppedByUser { to } => {
                format!("ECS deployment stopped by user: rolling back to deploymentId {to}.")
            }
        }
    }
}

#[cfg(test)]
#[path = "reason_tests.rs"]
mod tests;
