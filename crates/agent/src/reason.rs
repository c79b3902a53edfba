//! Why a container or a task stopped: the runtime's errors as the reasons that clients read.

use gantry_domain::reason::{ContainerError as Name, ContainerReason as Words, trimmed};
use gantry_runtime::{container::ContainerError, image::ImageError, network::NetworkError};
use serde::{Deserialize, Serialize};

/// `stopCode` values that an agent can be the cause of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StopCode {
    TaskFailedToStart,
    EssentialContainerExited,
    /// Somebody else decided; the control plane knows the code.
    Requested,
    /// The host went down under the task.
    TerminationNotice,
}

impl StopCode {
    /// The name on the wire; `None` when the control plane knows better.
    pub(crate) fn as_str(self) -> Option<&'static str> {
        match self {
            Self::TaskFailedToStart => Some("TaskFailedToStart"),
            Self::EssentialContainerExited => Some("EssentialContainerExited"),
            Self::TerminationNotice => Some("TerminationNotice"),
            Self::Requested => None,
        }
    }
}

/// Why a container is STOPPED, when more is known than its exit code. The words are `gantry_domain::reason`'s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ContainerReason {
    OutOfMemory,
    CannotPull(String),
    CannotPullEcr(String),
    CannotCreate(String),
    CannotStart(String),
    CannotCreateVolume(String),
    Networking(String),
    HostConfig(String),
    ResourceInitialization(String),
    /// The task's managed volume could not be had.
    VolumeNotAttached(String),
    /// The runtime does not know it any more.
    Vanished,
    /// The host was restarted under it.
    HostRebooted,
    Dependency(String),
    /// With the task's ARN.
    StoppedBeforePull(String),
}

impl ContainerReason {
    /// The text on the wire.
    pub(crate) fn text(&self) -> String {
        trimmed(&self.in_words().to_string()).into_owned()
    }

    fn in_words(&self) -> Words {
        let (name, message) = match self {
            Self::OutOfMemory => return Words::out_of_memory(),
            Self::Vanished | Self::HostRebooted => return Words::vanished(),
            Self::StoppedBeforePull(task_arn) => return Words::stopped_before_pull(task_arn),
            Self::CannotPull(message) => (Name::CannotPullContainer, message.clone()),
            Self::CannotPullEcr(message) => (Name::CannotPullEcrContainer, message.clone()),
            Self::CannotCreate(message) => (Name::CannotCreateContainer, message.clone()),
            Self::CannotStart(message) => (Name::CannotStartContainer, message.clone()),
            Self::CannotCreateVolume(message) => (Name::CannotCreateVolume, message.clone()),
            Self::Networking(message) => (Name::ContainerNetworking, message.clone()),
            Self::HostConfig(message) => (Name::HostConfig, message.clone()),
            Self::ResourceInitialization(message) | Self::VolumeNotAttached(message) => {
                (Name::ResourceInitialization, message.clone())
            }
            Self::Dependency(message) => (Name::CannotStartContainer, format!("dependency graph: {message}")),
        };
        Words::new(name, message)
    }

    /// A failed pull, with the hint that the service puts in front.
    pub(crate) fn from_pull(error: &ImageError) -> Self {
        let hint = match error {
            ImageError::Denied { .. } => {
                "The task can\u{2019}t pull the image. Check that the role has the permissions to pull images from the \
                 registry. "
            }
            ImageError::NotFound { .. } => "The task can\u{2019}t pull the image. Check whether the image exists. ",
            ImageError::Unreachable { .. } => {
                "The task can\u{2019}t pull the image. Check your network configuration. "
            }
            _ => "",
        };
        Self::CannotPull(format!("{hint}{}", chain(error)))
    }

    pub(crate) fn from_create(error: &ImageError) -> Self {
        Self::CannotCreate(chain(error))
    }

    pub(crate) fn from_network(error: &NetworkError) -> Self {
        match error {
            NetworkError::PortTaken { .. } => {
                Self::CannotStart(format!("driver failed programming external connectivity: {}", chain(error)))
            }
            NetworkError::Exhausted { what: "port" } => {
                Self::HostConfig("error retrieving docker port map: a host port is unavailable".to_owned())
            }
            _ => Self::Networking(chain(error)),
        }
    }

    pub(crate) fn from_start(error: &ContainerError) -> Self {
        match error {
            ContainerError::Spec { .. } => Self::CannotCreate(chain(error)),
            _ => Self::CannotStart(chain(error)),
        }
    }
}

/// An error and its sources in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}
