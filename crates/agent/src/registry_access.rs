//! Which registry serves an image reference, and with which credentials.
//!
//! References to our own registry, in any of its spellings, are served by the control plane's endpoint with a token
//! from GetAuthorizationToken; everything else is pulled anonymously over HTTPS.

use std::{collections::BTreeMap, sync::Arc};

use gantry_domain::arn::Scope;
use gantry_runtime::image::{Password, RegistryAccess};
use tokio::sync::Mutex;

use crate::{
    aws::{AwsClient, AwsError},
    clock::Clock,
    credentials::{InRole, TaskCredentials},
    task::TaskSpec,
};

/// A token is renewed when less than this is left of its twelve hours.
const RENEW_BEFORE_MS: u64 = 3_600_000;

/// How the control plane's registry is recognised.
#[derive(Debug, Clone)]
pub(crate) struct OwnRegistry {
    pub(crate) endpoint: String,
    pub(crate) account: String,
    pub(crate) region: String,
    /// Further `host[:port]` names.
    pub(crate) hosts: Vec<String>,
}

impl OwnRegistry {
    /// The region whose repositories the reference means, when it is served by us.
    pub(crate) fn region_of(&self, reference: &str) -> Option<String> {
        let host = reference.split_once('/')?.0;
        if let Some(named) = Scope::of_registry_host(host).filter(|named| named.account == self.account) {
            return Some(named.region);
        }
        let endpoint_host = self.endpoint.split_once("://").map_or(self.endpoint.as_str(), |(_, host)| host);
        (host == endpoint_host || self.hosts.iter().any(|own| own == host)).then(|| self.region.clone())
    }
}

/// Finds access for references and keeps tokens.
pub(crate) struct RegistryAccesses {
    own: OwnRegistry,
    tokens: Option<Tokens>,
    clock: Clock,
}

struct Tokens {
    client: Arc<AwsClient>,
    credentials: Arc<TaskCredentials>,
    /// One lock: concurrent tasks share one call.
    known: Mutex<BTreeMap<Holder, Token>>,
}

/// Who pulls (an execution role, or the machine itself), and from which region.
type Holder = (Option<String>, String);

#[derive(Clone)]
struct Token {
    user: String,
    password: String,
    expires_ms: u64,
}

impl RegistryAccesses {
    /// Without a client (tests) our own registry is asked anonymously.
    pub(crate) fn new(own: OwnRegistry, client: Option<(Arc<AwsClient>, Arc<TaskCredentials>)>, clock: Clock) -> Self {
        let tokens = client.map(|(client, credentials)| Tokens { client, credentials, known: Mutex::default() });
        Self { own, tokens, clock }
    }

    /// How to reach the registry of `reference`: for `task` in its execution role, if it has one; else as this machine.
    pub(crate) async fn access(&self, reference: &str, task: Option<&TaskSpec>) -> Result<RegistryAccess, AwsError> {
        let Some(region) = self.own.region_of(reference) else { return Ok(RegistryAccess::default()) };
        let basic = match &self.tokens {
            Some(tokens) => {
                let token = tokens.get(region, task, self.clock.now_ms()).await?;
                Some((token.user, Password(token.password)))
            }
            None => None,
        };
        Ok(RegistryAccess { base_url: Some(self.own.endpoint.clone()), basic, prepared: true })
    }

    /// Drops the token of a reference that was refused, so that the next access asks for a new one.
    pub(crate) async fn refused(&self, reference: &str, task: &TaskSpec) {
        if let (Some(tokens), Some(region)) = (&self.tokens, self.own.region_of(reference)) {
            tokens.known.lock().await.remove(&(task.roles.execution.clone(), region));
        }
    }
}

impl Tokens {
    async fn get(&self, region: String, task: Option<&TaskSpec>, now_ms: u64) -> Result<Token, AwsError> {
        let signer = task.and_then(|task| InRole::execution(&self.credentials, task));
        if let Some(signer) = &signer {
            // They may have to be waited for, which must keep nobody else from pulling.
            signer.credentials().await?;
        }
        let mut known = self.known.lock().await;
        let holder = (task.and_then(|task| task.roles.execution.clone()), region);
        if let Some(token) = known.get(&holder).filter(|token| token.expires_ms > now_ms + RENEW_BEFORE_MS) {
            return Ok(token.clone());
        }
        let own;
        let client = match signer {
            Some(signer) => {
                own = self.client.signed_by(signer);
                &own
            }
            None => &*self.client,
        };
        let (user, password, expires_ms) = client.ecr_authorization(&holder.1).await?;
        let token = Token { user, password, expires_ms };
        known.retain(|_, token| token.expires_ms > now_ms);
        known.insert(holder, token.clone());
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_to_our_own_registry_are_recognised() {
        let own = OwnRegistry {
            endpoint: "http://127.0.0.1:4566".into(),
            account: "000000000000".into(),
            region: "us-east-1".into(),
            hosts: vec!["localhost:4566".into()],
        };
        for (reference, expected) in [
            ("000000000000.dkr.ecr.us-east-1.amazonaws.com/web:1", Some("us-east-1")),
            ("000000000000.dkr.ecr.eu-west-1.amazonaws.com/team/web@sha256:00", Some("eu-west-1")),
            ("000000000000.dkr.ecr.cn-north-1.amazonaws.com.cn/web", Some("cn-north-1")),
            ("111111111111.dkr.ecr.us-east-1.amazonaws.com/web:1", None),
            ("localhost:4566/web", Some("us-east-1")),
            ("127.0.0.1:4566/web", Some("us-east-1")),
            ("localhost:5000/web", None),
            ("busybox", None),
            ("library/busybox:1", None),
            ("public.ecr.aws/docker/library/busybox", None),
        ] {
            assert_eq!(own.region_of(reference).as_deref(), expected, "{reference}");
        }
    }
}
