//! The keys that sign requests and the principals behind them.

use gantry_api::PrincipalKind;

/// An access key with what it stands for.
#[derive(Clone)]
pub struct Key {
    /// The shared secret.
    pub secret: String,
    /// Account of the principal.
    pub account: String,
    /// ARN of the principal.
    pub principal_arn: String,
    /// What kind of principal it is.
    pub kind: PrincipalKind,
    /// A deactivated key is refused like an unknown one.
    pub active: bool,
    /// Temporary keys carry a token and an end, seconds since the epoch.
    pub session: Option<Session>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("principal_arn", &self.principal_arn).finish_non_exhaustive()
    }
}

/// The temporary part of a key.
#[derive(Clone)]
pub struct Session {
    /// `X-Amz-Security-Token`.
    pub token: String,
    /// Seconds since the epoch.
    pub expires_at: u64,
}

/// Finds keys by id. Asked on every request, so an implementation answers from memory.
pub trait Keys: Send + Sync {
    /// The key called `access_key_id`.
    fn key(&self, access_key_id: &str) -> Option<Key>;
}

impl Keys for std::collections::BTreeMap<String, Key> {
    fn key(&self, access_key_id: &str) -> Option<Key> {
        self.get(access_key_id).cloned()
    }
}
