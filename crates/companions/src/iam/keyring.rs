//! Access keys as signatures need them, and when keys and roles were last used.
//!
//! In memory only: a key is put together and its secret decrypted once per change of IAM; use is noted to the second
//! and forgotten by a restart.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_api::PrincipalKind;
use gantry_protocol::identity::{Key, Keys};
use parking_lot::{Mutex, RwLock};

use super::Iam;
use super::access_keys::sealing_context;

/// Entries of each kind; more empty the cache.
const ENTRIES_MAX: usize = 65_536;

/// When and where something was last used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Used {
    /// Seconds since the epoch.
    pub(super) at: u64,
    pub(super) region: String,
    pub(super) service: String,
}

#[derive(Default)]
pub(super) struct Keyring {
    /// Access key id → the picture's generation it was made from, and the key.
    keys: RwLock<HashMap<String, (u64, Arc<Key>)>>,
    /// Access key id or role id → use.
    used: Mutex<HashMap<String, Used>>,
}

impl Keyring {
    pub(super) fn last_used(&self, id: &str) -> Option<Used> {
        self.used.lock().get(id).cloned()
    }

    fn keep(&self, id: &str, generation: u64, key: &Arc<Key>) {
        let mut keys = self.keys.write();
        if keys.len() >= ENTRIES_MAX {
            keys.clear();
        }
        keys.insert(id.to_owned(), (generation, Arc::clone(key)));
    }

    fn note(&self, id: &str, at: u64, region: &str, service: &str) {
        let mut used = self.used.lock();
        match used.get_mut(id) {
            Some(entry) if entry.at == at && entry.region == region && entry.service == service => {}
            Some(entry) => *entry = Used { at, region: region.to_owned(), service: service.to_owned() },
            None => {
                if used.len() >= ENTRIES_MAX {
                    used.clear();
                }
                used.insert(id.to_owned(), Used { at, region: region.to_owned(), service: service.to_owned() });
            }
        }
    }
}

impl Keys for Iam {
    fn key(&self, access_key_id: &str, token: Option<&str>) -> Option<Arc<Key>> {
        match token {
            Some(token) => self.session_key(access_key_id, token),
            None => self.user_key(access_key_id),
        }
    }

    fn used(&self, access_key_id: &str, key: &Key, now: u64, region: &str, service: &str) {
        match &key.session {
            Some(session) if matches!(key.kind, PrincipalKind::AssumedRole | PrincipalKind::Instance) => {
                let role_id = session.principal_id.split(':').next().unwrap_or_default();
                self.inner.keyring.note(role_id, now, region, service);
            }
            _ => self.inner.keyring.note(access_key_id, now, region, service),
        }
    }
}

impl Iam {
    /// The long-term key of a user.
    fn user_key(&self, access_key_id: &str) -> Option<Arc<Key>> {
        let picture = self.inner.view.read();
        let keyring = &self.inner.keyring;
        let known = keyring.keys.read().get(access_key_id).cloned();
        if let Some((generation, key)) = known
            && generation == picture.generation
        {
            return Some(key);
        }
        let (account, user) = picture.key_owner(access_key_id)?;
        let row = user.keys.iter().find(|key| key.id == access_key_id)?;
        let sealed = STANDARD.decode(&row.sealed_secret).ok()?;
        let secret = match self.inner.sealer.open_sealed(&sealing_context(access_key_id), &sealed) {
            Ok(secret) => String::from_utf8(secret).ok()?,
            Err(error) => {
                tracing::error!(access_key_id, %error, "the secret of an access key cannot be read");
                return None;
            }
        };
        let key = Arc::new(Key {
            secret,
            account: account.to_owned(),
            principal_arn: user.arn(account),
            kind: PrincipalKind::User,
            active: row.active,
            session: None,
        });
        keyring.keep(access_key_id, picture.generation, &key);
        Some(key)
    }
}
