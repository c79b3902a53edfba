//! What a token says, as it is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_api::{Caller, Origin, PrincipalKind, Session};
use gantry_domain::Timestamp;
use serde::{Deserialize, Serialize};

/// Tokens of another form are as good as none: their holders log in again.
pub(super) const VERSION: u8 = 2;

/// Who the holder is, never what they may do: that is looked up each time.
#[derive(Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) version: u8,
    account: String,
    region: String,
    arn: String,
    kind: Kind,
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<SessionClaims>,
    pub(super) expires_ms: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Root,
    User,
    Role,
    Instance,
}

#[derive(Serialize, Deserialize)]
struct SessionClaims {
    id: String,
    issued: u64,
    expires: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    policies: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    policy_arns: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    transitive: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
}

impl Claims {
    pub(super) fn new(caller: &Caller, expires: Timestamp) -> Self {
        Self {
            version: VERSION,
            account: caller.account.clone(),
            region: caller.region.clone(),
            arn: caller.principal_arn.clone(),
            kind: match caller.kind {
                PrincipalKind::Root => Kind::Root,
                PrincipalKind::User => Kind::User,
                PrincipalKind::AssumedRole => Kind::Role,
                PrincipalKind::Instance => Kind::Instance,
            },
            key: caller.access_key_id.clone(),
            session: caller.session.as_deref().map(SessionClaims::new),
            expires_ms: expires.as_millis(),
        }
    }

    /// The caller, without what belongs to one request.
    pub(super) fn into_caller(self) -> Caller {
        Caller {
            account: self.account,
            region: self.region,
            principal_arn: self.arn,
            kind: match self.kind {
                Kind::Root => PrincipalKind::Root,
                Kind::User => PrincipalKind::User,
                Kind::Role => PrincipalKind::AssumedRole,
                Kind::Instance => PrincipalKind::Instance,
            },
            access_key_id: self.key,
            request_id: String::new(),
            session: self.session.map(|session| Arc::new(session.into_session())),
            origin: Origin::default(),
        }
    }
}

impl SessionClaims {
    fn new(session: &Session) -> Self {
        Self {
            id: session.principal_id.clone(),
            issued: session.issued_at,
            expires: session.expires_at,
            policies: session.policies.clone(),
            policy_arns: session.policy_arns.clone(),
            tags: session.tags.clone(),
            transitive: session.transitive_tag_keys.clone(),
            source: session.source_identity.clone(),
            provider: session.federated_provider.clone(),
        }
    }

    fn into_session(self) -> Session {
        Session {
            principal_id: self.id,
            issued_at: self.issued,
            expires_at: self.expires,
            policies: self.policies,
            policy_arns: self.policy_arns,
            tags: self.tags,
            transitive_tag_keys: self.transitive,
            source_identity: self.source,
            federated_provider: self.provider,
            // What a machine or a task is beyond a session of its role is no matter of the registry.
            machine: None,
            task: None,
        }
    }
}
