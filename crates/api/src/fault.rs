//! Refusal of a whole request: what the client reads and, apart from it, what only the log may say.

use std::{error::Error, fmt};

/// An error answer. `message` goes to the client; `cause` goes to the log beside the request id and nowhere else.
pub struct Fault {
    /// The wire's error code, for example `ClusterNotFoundException`.
    pub code: &'static str,
    /// HTTP status.
    pub status: u16,
    /// The sentence that the client shows.
    pub message: String,
    /// Further members of the error body, for example `resourceIds` of `ConflictException`.
    pub fields: Vec<(&'static str, serde_json::Value)>,
    /// The inner error.
    pub cause: Option<Box<dyn Error + Send + Sync>>,
    /// Set on the generated default answer of operations that Gantry does not have yet.
    pub unimplemented: bool,
}

impl Fault {
    /// A fault without further members or cause.
    pub fn new(code: &'static str, status: u16, message: impl Into<String>) -> Self {
        Self { code, status, message: message.into(), fields: Vec::new(), cause: None, unimplemented: false }
    }

    /// Adds a member to the error body.
    #[must_use]
    pub fn with_field(mut self, name: &'static str, value: impl Into<serde_json::Value>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Adds the inner error, for the log.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The answer of an operation that is in the model and not in Gantry. Status 400, so that SDKs do not retry.
    pub fn not_implemented(operation: &str) -> Self {
        let message = format!("Gantry does not implement {operation} yet.");
        Self { unimplemented: true, ..Self::new("UnsupportedOperationException", 400, message) }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault")
            .field("code", &self.code)
            .field("status", &self.status)
            .field("message", &self.message)
            .field("fields", &self.fields)
            .field("cause", &self.cause)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}
