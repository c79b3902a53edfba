//! Who sent a request, as the signature proved it.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{agent::RoleKind, machine::Machine};

/// The authenticated sender of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Twelve digits.
    pub account: String,
    /// From the signature's scope.
    pub region: String,
    /// For example `arn:aws:iam::000000000000:root`; of a role's session its `assumed-role` ARN.
    pub principal_arn: String,
    /// What kind of principal that is.
    pub kind: PrincipalKind,
    /// The key that signed.
    pub access_key_id: String,
    /// Answered as `x-amzn-RequestId` and written beside every log line of the request.
    pub request_id: String,
    /// What the temporary credentials carry; absent for long-term keys.
    pub session: Option<Arc<Session>>,
    /// How the request came in.
    pub origin: Origin,
}

/// The kinds of principals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrincipalKind {
    /// The account itself.
    Root,
    /// A user.
    User,
    /// A role, by way of a session.
    AssumedRole,
    /// The agent of a container instance: a session of its role that a machine began with its own key.
    Instance,
}

/// What temporary credentials carry, all of it proved by the session token. Shared by the requests of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// `aws:userid`: `AROA…:SESSION-NAME` of a role's session, the user's or account's id otherwise.
    pub principal_id: String,
    /// Seconds since the epoch.
    pub issued_at: u64,
    /// Seconds since the epoch.
    pub expires_at: u64,
    /// Session policies given as documents, JSON.
    pub policies: Vec<String>,
    /// Session policies given as ARNs of managed policies.
    pub policy_arns: Vec<String>,
    /// Session tags.
    pub tags: BTreeMap<String, String>,
    /// The session tags that go on to the sessions this one begins.
    pub transitive_tag_keys: Vec<String>,
    /// `aws:SourceIdentity`.
    pub source_identity: Option<String>,
    /// The identity provider of a web identity.
    pub federated_provider: Option<String>,
    /// The machine whose agent this is; it may speak for its own container instance only.
    pub machine: Option<Machine>,
    /// The task that the credentials were given to: they end with it.
    pub task: Option<TaskSession>,
}

/// Whose session of a role it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSession {
    /// ARN of the task.
    pub task_arn: String,
    /// Which of its roles.
    pub role: RoleKind,
}

/// How a request came in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Address of the client's end of the connection.
    pub source_ip: Option<IpAddr>,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// `Host`: what the client calls this server.
    pub host: Option<String>,
    /// Over TLS.
    pub secure: bool,
}

impl Caller {
    /// The root of an account: what the server does on its own behalf, and tests.
    pub fn root(account: impl Into<String>, region: impl Into<String>) -> Self {
        let account = account.into();
        Self {
            principal_arn: format!("arn:aws:iam::{account}:root"),
            account,
            region: region.into(),
            kind: PrincipalKind::Root,
            access_key_id: String::new(),
            request_id: String::new(),
            session: None,
            origin: Origin::default(),
        }
    }

    /// `arn:aws:SERVICE:REGION:ACCOUNT:RESOURCE` in the caller's region and account.
    pub fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:aws:{service}:{}:{}:{resource}", self.region, self.account)
    }

    /// The machine that sent it; none when it was no agent of a joined machine.
    pub fn machine(&self) -> Option<&Machine> {
        self.session.as_ref()?.machine.as_ref()
    }

    /// The role behind a session: `app` of `arn:aws:sts::000000000000:assumed-role/app/session`.
    pub fn role_name(&self) -> Option<&str> {
        let session = self.principal_arn.split_once(":assumed-role/")?.1;
        session.split('/').next()
    }
}
