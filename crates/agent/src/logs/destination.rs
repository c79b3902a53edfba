//! Where a container's log events go.

use async_trait::async_trait;

use super::event::LogEvent;

#[async_trait]
pub(crate) trait Destination: Send + Sync {
    /// Before the container starts: what cannot work is told now. [`DeliveryError::Later`] does not keep it from
    /// starting.
    async fn prepare(&self) -> Result<(), DeliveryError>;

    /// Delivers events in order. What is returned as an error is delivered again, as a whole.
    async fn deliver(&self, events: &[LogEvent]) -> Result<(), DeliveryError>;

    /// For our own log.
    fn describe(&self) -> String;
}

/// Why events were not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeliveryError {
    /// Worth another attempt, as long as it takes.
    #[error("{0}")]
    Later(String),
    /// The same events would be refused for ever.
    #[error("{0}")]
    Never(String),
}

impl DeliveryError {
    pub(crate) fn later(error: impl std::fmt::Display) -> Self {
        Self::Later(error.to_string())
    }
}
