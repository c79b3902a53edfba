//! A container's `reason`.

use std::fmt;
use std::time::Duration;

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
