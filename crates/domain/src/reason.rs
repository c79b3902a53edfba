//! Why something happened later: the sentences clients read in `stoppedReason`, in a container's `reason`, in service
//! events and in a deployment's `rolloutStateReason`.
//!
//! The words are those of the real service, because people and programs match on them. Each text stands here once; who
//! decides names a variant and never writes a sentence. Refusals of a request are elsewhere (`control`'s faults and
//! failures).

mod container;
mod service;
mod values;
mod volume;

use std::borrow::Cow;
use std::fmt;

use crate::deployment::Cause;

pub use container::{ContainerError, ContainerReason};
pub use service::{Lack, PlacementTrouble, RoleNotAssumed, ServiceEvent, ZoneCount};
pub use values::{ServiceError, ValuesFailure};
pub use volume::VolumeFailure;

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
    /// Nobody has heard of the machine for too long.
    HostLost {
        /// The machine's instance id.
        instance: String,
        /// How long its agent has been away.
        seconds: i64,
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
    /// Its containers and volumes hold more than they may.
    EphemeralStorageExceeded {
        /// The limit.
        gib: u64,
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
            StoppedReason::HostLost { instance, seconds } => {
                write!(f, "Host (instance {instance}) lost: its agent has not been connected for {seconds} seconds.")
            }
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
            StoppedReason::EphemeralStorageExceeded { gib } => {
                write!(f, "no space left on device: the task's ephemeral storage is over its limit of {gib} GiB")
            }
            StoppedReason::DependenciesUnresolved { task } => {
                write!(f, "Task dependencies cannot be resolved, taskArn: {task}")
            }
            StoppedReason::NotStopping => {
                f.write_str("TaskStateError: Agent could not progress task's state to stopped")
            }
        }
    }
}

/// A deployment's `rolloutStateReason`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RolloutReason {
    /// It goes on.
    InProgress,
    /// It is done.
    Completed,
    /// It was given up.
    GivenUp {
        /// Why.
        cause: Cause,
        /// `ecs-svc/N` of the deployment that comes back.
        to: Option<String>,
    },
}

impl RolloutReason {
    /// The sentence for the deployment called `deployment` (`ecs-svc/N`).
    pub fn message(&self, deployment: &str) -> String {
        match self {
            RolloutReason::InProgress => format!("ECS deployment {deployment} in progress."),
            RolloutReason::Completed => format!("ECS deployment {deployment} completed."),
            RolloutReason::GivenUp { cause, to: None } => match cause {
                Cause::CircuitBreaker => "ECS deployment circuit breaker: tasks failed to start.".to_owned(),
                Cause::Alarms(names) => format!("ECS deployment alarm detected: {}.", names.join(", ")),
                Cause::Stopped(_) => "ECS deployment stopped by user.".to_owned(),
                Cause::Stage { stage, trouble } => format!("ECS deployment lifecycle stage {stage}: {trouble}."),
            },
            RolloutReason::GivenUp { cause, to: Some(to) } => {
                let what = match cause {
                    Cause::CircuitBreaker => "circuit breaker",
                    Cause::Alarms(_) => "alarm detected",
                    Cause::Stopped(_) => "stopped by user",
                    Cause::Stage { stage, .. } => &format!("lifecycle stage {stage} failed"),
                };
                format!("ECS deployment {what}: rolling back to deploymentId {to}.")
            }
        }
    }
}

#[cfg(test)]
#[path = "reason_tests.rs"]
mod tests;
