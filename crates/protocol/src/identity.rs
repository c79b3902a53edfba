//! The keys that sign requests and the principals behind them.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_api::{PrincipalKind, Session};

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
    /// Of temporary keys: what the session token carries, and when it ends.
    pub session: Option<Arc<Session>>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("principal_arn", &self.principal_arn).finish_non_exhaustive()
    }
}

/// Finds keys. Asked on every request, so an implementation answers from memory.
pub trait Keys: Send + Sync {
    /// The key called `access_key_id`. `token` is the request's `X-Amz-Security-Token`, which temporary keys come out
    /// of and which is proved here; one that is not the key's finds nothing. That the session has not ended is checked
    /// by the caller.
    fn key(&self, access_key_id: &str, token: Option<&str>) -> Option<Arc<Key>>;

    /// Is told of every request whose signature was right. `now`: seconds since the epoch.
    fn used(&self, _access_key_id: &str, _key: &Key, _now: u64, _region: &str, _service: &str) {}
}

/// Long-term keys.
impl Keys for BTreeMap<String, Arc<Key>> {
    fn key(&self, access_key_id: &str, token: Option<&str>) -> Option<Arc<Key>> {
        self.get(access_key_id).filter(|_| token.is_none()).cloned()
    }
}
