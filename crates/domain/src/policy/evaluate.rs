//! The decision.

use std::sync::Arc;

use super::{
    context::{Context, Found},
    decision::{Decision, Denial, PolicyType},
    document::Document,
    principal::{Grantee, Identity, Principal},
    statement::Effect,
};
use crate::{iso8601, time::Timestamp};

/// One action on one resource.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// For instance `ecr:BatchGetImage`, in the service's own spelling, which the message repeats.
    pub action: &'a str,
    /// An ARN, or `*` for an action that has no resource.
    pub resource: &'a str,
    /// The account that owns the resource, twelve digits; of an action without one, the account it acts on.
    pub account: &'a str,
    /// When.
    pub now: Timestamp,
    /// Condition keys.
    pub context: &'a Context,
}

/// The policies that belong to a principal.
#[derive(Debug, Clone, Default)]
pub struct PrincipalPolicies {
    /// Of the user and its groups, or of the role; inline and attached. Nothing is needed for a root.
    pub identity: Vec<Arc<Document>>,
    /// The permissions boundary of the user or role.
    pub boundary: Option<Arc<Document>>,
    /// The policies that the session began with, when it began with some.
    pub session: Option<Vec<Arc<Document>>>,
}

/// Every policy that has a say in a request.
#[derive(Debug, Clone, Copy)]
pub struct Policies<'a> {
    /// The principal's own.
    pub principal: &'a PrincipalPolicies,
    /// Those of the resource, all of which may allow: for a repository its own and the registry's.
    pub resource: &'a [Arc<Document>],
}

impl<'a> Policies<'a> {
    /// For resources without policies.
    pub fn of(principal: &'a PrincipalPolicies) -> Self {
        Self { principal, resource: &[] }
    }

    fn sets(&self, resource: PolicyType) -> [(PolicyType, &'a [Arc<Document>]); 4] {
        [
            (PolicyType::Identity, &self.principal.identity),
            (PolicyType::PermissionsBoundary, self.principal.boundary.as_slice()),
            (PolicyType::Session, self.principal.session.as_deref().unwrap_or_default()),
            (resource, self.resource),
        ]
    }
}

/// Whether the request is allowed.
pub fn evaluate(request: &Request<'_>, policies: &Policies<'_>) -> Decision {
    let asked = Asked::new(request);
    // Who one is may be asked by anyone who is somebody, whatever policies say.
    if asked.action == "sts:getcalleridentity" {
        return Decision::Allow;
    }
    if let Some(denied) = explicit_deny(&asked, policies, PolicyType::Resource) {
        return denied;
    }
    if asked.action == "sts:getsessiontoken" {
        return Decision::Allow;
    }
    let grant = strongest_allow(&asked, policies.resource);
    match request.principal.account() {
        None => implicit_unless(grant.is_some(), PolicyType::Resource),
        Some(account) if account == request.account => match grant {
            _ if request.principal.is_root() => Decision::Allow,
            Some(Grantee::Direct) => Decision::Allow,
            grant => own_policies(&asked, policies, grant == Some(Grantee::Role)),
        },
        Some(_) => match own_policies(&asked, policies, false) {
            Decision::Allow => implicit_unless(grant.is_some(), PolicyType::Resource),
            denied => denied,
        },
    }
}

/// Whether the principal may assume the role whose trust policy is the resource policy: a trust policy that does not
/// allow cannot be made up for, and one that names only the account leaves the rest to the account's own policies.
pub fn evaluate_trust(request: &Request<'_>, policies: &Policies<'_>) -> Decision {
    let asked = Asked::new(request);
    if let Some(denied) = explicit_deny(&asked, policies, PolicyType::RoleTrust) {
        return denied;
    }
    let Some(grant) = strongest_allow(&asked, policies.resource) else {
        return implicit_unless(false, PolicyType::RoleTrust);
    };
    match request.principal.account() {
        None => Decision::Allow,
        Some(account) if account == request.account && grant == Grantee::Direct => Decision::Allow,
        Some(account) => own_policies(&asked, policies, account == request.account && grant == Grantee::Role),
    }
}

fn explicit_deny(asked: &Asked<'_>, policies: &Policies<'_>, resource: PolicyType) -> Option<Decision> {
    let sets = policies.sets(resource);
    let (policy, _) = sets.iter().find(|(_, documents)| matching(asked, documents, Effect::Deny).next().is_some())?;
    Some(Decision::Deny(Denial { explicit: true, policy: *policy }))
}

/// What the principal's own policies say, `granted` being an Allow that counts as theirs.
fn own_policies(asked: &Asked<'_>, policies: &Policies<'_>, granted: bool) -> Decision {
    let principal = asked.request.principal;
    if principal.is_root() {
        return Decision::Allow;
    }
    let allows = |documents: &[Arc<Document>]| matching(asked, documents, Effect::Allow).next().is_some();
    let own = policies.principal;
    if !granted && !allows(&own.identity) {
        return implicit_unless(false, PolicyType::Identity);
    }
    if own.boundary.is_some() && !allows(own.boundary.as_slice()) {
        return implicit_unless(false, PolicyType::PermissionsBoundary);
    }
    let session = match &own.session {
        Some(session) => allows(session),
        // A federated user has what its session policies leave of the issuer's, and nothing without any.
        None => !matches!(principal.identity, Identity::FederatedUser { .. }),
    };
    implicit_unless(session, PolicyType::Session)
}

fn implicit_unless(allowed: bool, policy: PolicyType) -> Decision {
    if allowed { Decision::Allow } else { Decision::Deny(Denial { explicit: false, policy }) }
}

/// The strongest way in which an Allow that matches means the principal.
fn strongest_allow(asked: &Asked<'_>, documents: &[Arc<Document>]) -> Option<Grantee> {
    matching(asked, documents, Effect::Allow).max()
}

/// How each statement of `effect` that matches means the principal.
fn matching(asked: &Asked<'_>, documents: &[Arc<Document>], effect: Effect) -> impl Iterator<Item = Grantee> {
    let statements = documents.iter().flat_map(|document| &document.statements);
    statements.filter(move |statement| statement.effect == effect).filter_map(|statement| statement.matches(asked))
}

/// A request as statements look at it.
pub(super) struct Asked<'a> {
    pub(super) request: &'a Request<'a>,
    /// In lower case.
    pub(super) action: String,
    /// The resource's parts, when it is an ARN.
    pub(super) arn: Option<[&'a str; 6]>,
}

impl<'a> Asked<'a> {
    fn new(request: &'a Request<'a>) -> Self {
        let mut parts = request.resource.splitn(6, ':');
        let arn = std::array::from_fn(|_| parts.next());
        let arn = arn.iter().all(Option::is_some).then(|| arn.map(Option::unwrap_or_default));
        Self { request, action: request.action.to_ascii_lowercase(), arn }
    }

    /// The value of a condition key, given in lower case.
    pub(super) fn value(&self, key: &str) -> Option<Found<'a>> {
        let Request { principal, account, now, context, .. } = *self.request;
        let is_service = matches!(principal.identity, Identity::Service { .. });
        match key {
            "aws:principalarn" => principal.principal_arn().map(Found::One),
            "aws:principalaccount" => principal.account().map(Found::from),
            "aws:principaltype" => principal.principal_type().map(Found::from),
            "aws:principalisawsservice" => Some(Found::from(if is_service { "true" } else { "false" })),
            "aws:principalservicename" => is_service.then(|| Found::One(principal.arn())),
            "aws:userid" => principal.user_id().map(Found::One),
            "aws:username" => principal.user_name().map(Found::from),
            "aws:resourceaccount" => Some(Found::from(account)),
            "aws:currenttime" => Some(Found::from(iso8601::format(now))),
            "aws:epochtime" => Some(Found::from(now.as_millis().div_euclid(1000).to_string())),
            "aws:viaawsservice" => context.get(key).or(Some(Found::from("false"))),
            _ => match key.strip_prefix("aws:principaltag/") {
                Some(name) => {
                    let tag = principal.tags.iter().find(|(key, _)| key.to_lowercase() == name);
                    tag.map(|(_, value)| Found::from(value.as_str()))
                }
                None => context.get(key),
            },
        }
    }
}
