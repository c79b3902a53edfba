//! Temporary credentials. The session token is sealed with the server's key and carries everything, the secret too:
//! sessions survive restarts and cost no row. What it says is believed as far as the world still agrees: a role or user
//! that is gone ends its sessions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_api::machine::Machine;
use gantry_api::{Fault, PrincipalKind, Session, TaskSession};
use gantry_protocol::identity::Key;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use super::{Iam, fault, names};

/// Opened tokens kept; more empty the cache.
const OPENED_MAX: usize = 16_384;
/// A longer text is no token of ours.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Whose session begins.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Owner {
    /// The account.
    Root,
    /// A user, by its name in lower case and its id.
    User {
        /// Name in lower case.
        name: String,
        /// `AIDA…`
        id: String,
    },
    /// A role, by its name in lower case and its id.
    Role {
        /// Name in lower case.
        name: String,
        /// `AROA…`
        id: String,
    },
}

/// New temporary credentials.
pub(crate) struct Credentials {
    pub(crate) access_key_id: String,
    pub(crate) secret: String,
    pub(crate) token: String,
}

/// What a token says.
#[derive(Serialize, Deserialize)]
struct Claims {
    secret: String,
    account: String,
    arn: String,
    owner: Owner,
    principal_id: String,
    issued_at: u64,
    expires_at: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    policies: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    policy_arns: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    transitive_tag_keys: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_identity: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    federated_provider: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    machine: Option<Machine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task: Option<TaskSession>,
}

/// A token that was opened.
#[derive(Clone)]
struct Opened {
    token: Arc<str>,
    owner: Arc<Owner>,
    key: Arc<Key>,
}

/// Tokens that were opened before, by access key.
#[derive(Default)]
pub(super) struct Sessions {
    opened: RwLock<HashMap<String, Opened>>,
}

impl Iam {
    /// Begins a session of `owner`, whose requests come from `arn`.
    pub(crate) fn begin_session(
        &self,
        account: &str,
        arn: &str,
        owner: Owner,
        session: Session,
    ) -> Result<Credentials, Fault> {
        let (access_key_id, secret) = (names::temporary_key_id(account)?, names::secret()?);
        let claims = Claims {
            secret: secret.clone(),
            account: account.to_owned(),
            arn: arn.to_owned(),
            owner,
            principal_id: session.principal_id,
            issued_at: session.issued_at,
            expires_at: session.expires_at,
            policies: session.policies,
            policy_arns: session.policy_arns,
            tags: session.tags,
            transitive_tag_keys: session.transitive_tag_keys,
            source_identity: session.source_identity,
            federated_provider: session.federated_provider,
            machine: session.machine,
            task: session.task,
        };
        let plain = serde_json::to_vec(&claims).map_err(fault::unavailable)?;
        let sealed = self.inner.sealer.seal(&context(&access_key_id), &plain).map_err(fault::unavailable)?;
        Ok(Credentials { access_key_id, secret, token: STANDARD.encode(sealed) })
    }

    /// The temporary key that `token` proves, ended or not.
    pub(super) fn session_key(&self, access_key_id: &str, token: &str) -> Option<Arc<Key>> {
        let known =
            self.inner.sessions.opened.read().get(access_key_id).filter(|known| *known.token == *token).cloned();
        let opened = match known {
            Some(opened) => opened,
            None => self.open_token(access_key_id, token)?,
        };
        self.owner_is_there(&opened.key.account, &opened.owner).then_some(opened.key)
    }

    fn open_token(&self, access_key_id: &str, token: &str) -> Option<Opened> {
        let sealed = STANDARD.decode(token.get(..TOKEN_BYTES_MAX.min(token.len()))?).ok()?;
        let plain = self.inner.sealer.open_sealed(&context(access_key_id), &sealed).ok()?;
        let claims: Claims = serde_json::from_slice(&plain).ok()?;
        let kind = match &claims.owner {
            Owner::Root => PrincipalKind::Root,
            Owner::User { .. } => PrincipalKind::User,
            Owner::Role { .. } if claims.machine.is_some() => PrincipalKind::Instance,
            Owner::Role { .. } => PrincipalKind::AssumedRole,
        };
        let session = Session {
            principal_id: claims.principal_id,
            issued_at: claims.issued_at,
            expires_at: claims.expires_at,
            policies: claims.policies,
            policy_arns: claims.policy_arns,
            tags: claims.tags,
            transitive_tag_keys: claims.transitive_tag_keys,
            source_identity: claims.source_identity,
            federated_provider: claims.federated_provider,
            machine: claims.machine,
            task: claims.task,
        };
        let key = Key {
            secret: claims.secret,
            account: claims.account,
            principal_arn: claims.arn,
            kind,
            active: true,
            session: Some(Arc::new(session)),
        };
        let opened = Opened { token: token.into(), owner: Arc::new(claims.owner), key: Arc::new(key) };
        let mut cache = self.inner.sessions.opened.write();
        if cache.len() >= OPENED_MAX {
            cache.clear();
        }
        cache.insert(access_key_id.to_owned(), opened.clone());
        Some(opened)
    }

    fn owner_is_there(&self, account: &str, owner: &Owner) -> bool {
        self.look(account, |picture| match owner {
            Owner::Root => true,
            Owner::User { name, id } => picture.users.get(name).is_some_and(|user| user.id == *id),
            Owner::Role { name, id } => picture.roles.get(name).is_some_and(|role| role.id == *id),
        })
    }
}

/// What a token is sealed for.
fn context(access_key_id: &str) -> String {
    format!("sts session {access_key_id}")
}
