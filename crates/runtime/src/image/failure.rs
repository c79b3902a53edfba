//! What goes wrong inside this module, before anybody knows which reference it was for.

use std::io;

use gantry_layers::LayerError;

use super::{ImageError, manifest};

#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("not found")]
    NotFound,
    #[error("{0}")]
    Denied(String),
    #[error("{0}")]
    Unreachable(String),
    #[error("{0}")]
    Corrupt(String),
    #[error("no manifest for this host")]
    NoPlatform,
    #[error("no space left on device")]
    NoSpace,
    #[error("{action}")]
    Io { action: String, source: io::Error },
}

impl From<LayerError> for Failure {
    fn from(error: LayerError) -> Self {
        match error {
            LayerError::Corrupt(detail) => Self::Corrupt(detail),
            LayerError::Io { action, source } => Self::io(action, source),
        }
    }
}

impl Failure {
    pub(super) fn corrupt(detail: impl Into<String>) -> Self {
        Self::Corrupt(detail.into())
    }

    /// An error of this host's filesystem. A full disk has its own name because its reason is shown to users.
    pub(super) fn io(action: impl Into<String>, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            _ => Self::Io { action: action.into(), source },
        }
    }

    /// Adds what the caller asked for: the reference as given and the registry's host and port.
    pub(super) fn about(self, reference: &str, registry: &str) -> ImageError {
        let reference = reference.to_owned();
        match self {
            Self::NotFound => ImageError::NotFound { reference },
            Self::Denied(detail) => ImageError::Denied { reference, detail },
            Self::Unreachable(detail) => ImageError::Unreachable { registry: registry.to_owned(), detail },
            Self::Corrupt(detail) => ImageError::Corrupt { reference, detail },
            Self::NoPlatform => {
                ImageError::NoPlatform { reference, architecture: manifest::host_architecture().to_owned() }
            }
            Self::NoSpace => ImageError::NoSpace,
            Self::Io { action, source } => ImageError::Io { action, source },
        }
    }
}
