//! Which secret a call means, and whether the caller may do what it asks.
//!
//! One place for both: a secret is handed out only with the permission for the action. Who has no permission learns
//! nothing about whether there is such a secret.

use std::sync::Arc;

use gantry_api::{Caller, Fault, PrincipalKind};
use gantry_domain::policy::{Context, Decision, Policies, Request, evaluate};
use gantry_protocol::principals::{self, Authority};

use super::rows::{Scope, Secret};
use super::{Inner, fault};

/// What the root of an account may always do, so that no policy can lock it out for good.
const ALWAYS_OF_ROOT: [&str; 3] = ["DeleteResourcePolicy", "GetResourcePolicy", "PutResourcePolicy"];

/// Characters of the suffix of an ARN.
pub(super) const SUFFIX_LENGTH: usize = 6;

/// Who asks, with its policies.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) caller: &'a Caller,
    pub(super) authority: &'a Authority,
}

/// A permission: an action's name without `secretsmanager:`, and condition keys out of the request.
#[derive(Debug, Clone, Default)]
pub(super) struct Permission {
    action: &'static str,
    keys: Vec<(String, String)>,
}

impl Permission {
    pub(super) fn new(action: &'static str) -> Self {
        Self { action, keys: Vec::new() }
    }

    /// A condition key of the service, when the request has a value for it.
    pub(super) fn key(mut self, name: &str, value: Option<impl ToString>) -> Self {
        self.keys.extend(value.map(|value| (format!("secretsmanager:{name}"), value.to_string())));
        self
    }

    /// The request's tags.
    pub(super) fn tags<'t>(mut self, tags: impl IntoIterator<Item = (&'t str, &'t str)>) -> Self {
        for (key, value) in tags {
            self.keys.push((format!("aws:RequestTag/{key}"), value.to_owned()));
            self.keys.push(("aws:TagKeys".to_owned(), key.to_owned()));
        }
        self
    }

    /// The keys of tags in the request.
    pub(super) fn tag_keys<'t>(mut self, keys: impl IntoIterator<Item = &'t str>) -> Self {
        self.keys.extend(keys.into_iter().map(|key| ("aws:TagKeys".to_owned(), key.to_owned())));
        self
    }
}

impl Inner {
    /// The secret that `id` means, for a caller who may do this with it.
    pub(super) fn allowed(&self, caller: &Caller, id: &str, permission: &Permission) -> Result<Arc<Secret>, Fault> {
        let authority = self.principals.authority(caller);
        self.allowed_to(Asker { caller, authority: &authority }, id, permission)
    }

    /// As [`Self::allowed`], for somebody whose policies are known.
    pub(super) fn allowed_to(&self, asker: Asker<'_>, id: &str, permission: &Permission) -> Result<Arc<Secret>, Fault> {
        let (scope, rest) = parse(asker.caller, id);
        // The secrets of another region are asked for there: conditions on the region mean the one of the request.
        let here = scope.region == asker.caller.region;
        let found = self.find(&scope, rest, id.starts_with("arn:")).filter(|_| here);
        let arn = found.as_ref().map_or_else(|| scope.arn(rest), |secret| secret.arn());
        self.decide(asker, permission, &arn, &scope.account, found.as_deref())?;
        found.ok_or_else(fault::not_found)
    }

    /// Refuses what the caller may not do with `resource`, an ARN of its own account or `*`.
    pub(super) fn authorize(&self, caller: &Caller, resource: &str, permission: &Permission) -> Result<(), Fault> {
        let authority = self.principals.authority(caller);
        self.decide(Asker { caller, authority: &authority }, permission, resource, &caller.account, None)
    }

    fn decide(
        &self,
        asker: Asker<'_>,
        permission: &Permission,
        resource: &str,
        account: &str,
        secret: Option<&Secret>,
    ) -> Result<(), Fault> {
        let caller = asker.caller;
        let own_root = caller.kind == PrincipalKind::Root && caller.account == account;
        if own_root && ALWAYS_OF_ROOT.contains(&permission.action) {
            return Ok(());
        }
        let context = context(caller, permission, resource, secret);
        let policies: &[_] = secret.and_then(|secret| secret.policy.as_ref()).map_or(&[], std::slice::from_ref);
        let request = Request {
            principal: &asker.authority.principal,
            action: &format!("secretsmanager:{}", permission.action),
            resource,
            account,
            now: (self.clock)(),
            context: &context,
        };
        match evaluate(&request, &Policies { principal: &asker.authority.policies, resource: policies }) {
            Decision::Allow => Ok(()),
            Decision::Deny(denial) => Err(fault::denied(denial.sentence(&request))),
        }
    }

    /// A secret that is there: one whose recovery window is over is not.
    fn find(&self, scope: &Scope, rest: &str, by_arn: bool) -> Option<Arc<Secret>> {
        let picture = self.view.read();
        let now = self.now();
        let there = |secret: &&Arc<Secret>| secret.row.deletion_at.is_none_or(|at| at > now);
        if !by_arn {
            return picture.named(scope, rest).filter(there).cloned();
        }
        // With its suffix, which a name may happen to look like; or without.
        let whole = rest
            .rsplit_once('-')
            .and_then(|(name, suffix)| picture.named(scope, name).filter(|secret| secret.row.suffix == suffix));
        whole.or_else(|| picture.named(scope, rest)).filter(there).cloned()
    }
}

fn context(caller: &Caller, permission: &Permission, resource: &str, secret: Option<&Secret>) -> Context {
    let mut context = principals::context(caller);
    for (key, value) in &permission.keys {
        context.add(key, value.clone());
    }
    if resource != "*" {
        context.add("secretsmanager:SecretId", resource);
    }
    if let Some(secret) = secret {
        context.add("secretsmanager:SecretPrimaryRegion", secret.scope.region.clone());
        if let Some(kind) = &secret.row.kind {
            context.add("secretsmanager:resource/Type", kind.clone());
        }
        for (key, value) in &secret.row.tags {
            context.add(&format!("secretsmanager:ResourceTag/{key}"), value.clone());
            context.add(&format!("aws:ResourceTag/{key}"), value.clone());
        }
    }
    context
}

/// Whose secret an id means, and what it is called there: a name, or what an ARN has after `secret:`.
fn parse<'a>(caller: &Caller, id: &'a str) -> (Scope, &'a str) {
    let parts: Vec<&str> = id.splitn(7, ':').collect();
    match parts[..] {
        ["arn", _, "secretsmanager", region, account, "secret", rest] => {
            (Scope { account: account.to_owned(), region: region.to_owned() }, rest)
        }
        _ => (Scope::of(caller), id),
    }
}
