//! What evaluation needs to know about whoever sent a request: who it is and which policies it has.

use std::sync::Arc;

use gantry_api::{Caller, PrincipalKind};
use gantry_domain::policy::{Context, Principal, PrincipalPolicies};

/// A principal with its own policies.
#[derive(Debug, Clone)]
pub struct Authority {
    /// Who.
    pub principal: Principal,
    /// Identity policies, boundary, session policies.
    pub policies: PrincipalPolicies,
}

/// Knows principals. Asked on every request, so an implementation answers from memory; a change of permissions shows in
/// the next answer.
pub trait Principals: Send + Sync {
    /// The authority of a caller. One that is not there any more has no policies.
    fn authority(&self, caller: &Caller) -> Arc<Authority>;
}

/// Knows roots only; whoever else comes has no policies. For tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct RootOnly;

impl Principals for RootOnly {
    fn authority(&self, caller: &Caller) -> Arc<Authority> {
        let principal = Principal::root(caller.account.clone());
        Arc::new(Authority { principal, policies: PrincipalPolicies::default() })
    }
}

/// The condition keys that come with every request of a caller.
pub fn context(caller: &Caller) -> Context {
    let mut context = Context::default();
    context.add("aws:SecureTransport", caller.origin.secure.to_string());
    context.add("aws:RequestedRegion", caller.region.clone());
    if let Some(address) = caller.origin.source_ip {
        context.add("aws:SourceIp", address.to_canonical().to_string());
    }
    if let Some(user_agent) = &caller.origin.user_agent {
        context.add("aws:UserAgent", user_agent.clone());
    }
    if let Some(session) = &caller.session {
        context.add("aws:TokenIssueTime", session.issued_at.to_string());
        context.add("aws:MultiFactorAuthPresent", "false");
        if let Some(identity) = &session.source_identity {
            context.add("aws:SourceIdentity", identity.clone());
        }
        if let Some(provider) = &session.federated_provider {
            context.add("aws:FederatedProvider", provider.clone());
        }
    }
    context
}

/// Whether a caller is the root of its account, which nothing but a policy of a resource can deny anything.
pub fn is_root(caller: &Caller) -> bool {
    caller.kind == PrincipalKind::Root
}
