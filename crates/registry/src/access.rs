//! Who may do what, for both doors.
//!
//! A request is decided by the caller's own policies, which are looked up each time, together with the policies of the
//! repository and of the registry. It is decided before anything is looked up: whether a repository exists is nobody's
//! business who may not use it.

use std::sync::Arc;

use gantry_api::{Caller, PrincipalKind};
use gantry_domain::arn::Scope;
use gantry_domain::policy::{Decision, Document, Policies, Request, evaluate};
use gantry_protocol::principals;

use crate::fault::RegistryError;
use crate::metadata::{RepositoryKeys, RepositoryRow};
use crate::registry::Registry;

/// What the root of an account may always do in its own registry, so that no policy can lock it out for good.
const ALWAYS_OF_ROOT: [&str; 6] = [
    "DeleteRegistryPolicy",
    "DeleteRepositoryPolicy",
    "GetRegistryPolicy",
    "GetRepositoryPolicy",
    "PutRegistryPolicy",
    "SetRepositoryPolicy",
];

/// What a permission is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target<'a> {
    /// The registry itself: permissions that have no resource.
    Registry(&'a Scope),
    /// Its repositories, whatever they are called.
    Repositories(&'a Scope),
    /// One repository, whether it exists or not.
    Repository(&'a RepositoryKeys),
}

impl<'a> Target<'a> {
    pub(crate) fn scope(&self) -> &'a Scope {
        match self {
            Self::Registry(scope) | Self::Repositories(scope) => scope,
            Self::Repository(keys) => keys.scope(),
        }
    }

    fn arn(&self) -> String {
        match self {
            Self::Registry(_) => "*".to_owned(),
            Self::Repositories(scope) => {
                format!("arn:{}:ecr:{}:{}:repository/*", scope.partition(), scope.region, scope.account)
            }
            Self::Repository(keys) => keys.arn(),
        }
    }
}

/// A permission: an action's name without `ecr:`, and the condition keys that come with the request's input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Permission<'a> {
    pub(crate) action: &'static str,
    pub(crate) keys: &'a [(String, String)],
}

impl From<&'static str> for Permission<'_> {
    fn from(action: &'static str) -> Self {
        Self { action, keys: &[] }
    }
}

impl Registry {
    /// Refuses what the caller may not do.
    pub(crate) async fn authorize(
        &self,
        caller: &Caller,
        permission: Permission<'_>,
        target: Target<'_>,
    ) -> Result<(), RegistryError> {
        let documents = self.resource_policies(permission.action, target).await?;
        let root = caller.kind == PrincipalKind::Root && caller.account == target.scope().account;
        // Nothing but a policy of the resource can deny a root anything.
        if root && (documents.is_empty() || ALWAYS_OF_ROOT.contains(&permission.action)) {
            return Ok(());
        }
        self.decide(caller, permission, target, &documents).await
    }

    /// Refuses a role that is not of the registry's account, and a caller who may not hand it to the pull-through
    /// cache.
    pub(crate) fn authorize_role(&self, caller: &Caller, scope: &Scope, role: &str) -> Result<(), RegistryError> {
        if role.split(':').nth(4) != Some(scope.account.as_str()) {
            let constraint = "The role must be in the account of the rule".to_owned();
            return Err(RegistryError::Parameter { member: "customRoleArn", constraint });
        }
        let authority = self.principals.authority(caller);
        let context = principals::context(caller).with("iam:PassedToService", crate::pull_through::roles::SERVICE);
        let request = Request {
            principal: &authority.principal,
            action: "iam:PassRole",
            resource: role,
            account: &scope.account,
            now: self.now(),
            context: &context,
        };
        match evaluate(&request, &Policies::of(&authority.policies)) {
            Decision::Allow => Ok(()),
            Decision::Deny(denial) => Err(RegistryError::Denied(denial.sentence(&request))),
        }
    }

    /// The decision, were these the policies of the resource.
    pub(crate) async fn decide(
        &self,
        caller: &Caller,
        permission: Permission<'_>,
        target: Target<'_>,
        documents: &[Arc<Document>],
    ) -> Result<(), RegistryError> {
        let authority = self.principals.authority(caller);
        let mut context = principals::context(caller);
        for (key, value) in permission.keys {
            context.add(key, value.clone());
        }
        if let Target::Repository(keys) = target
            && let Some(found) = self.metadata.get::<RepositoryRow>(&keys.repository()).await?
        {
            for (key, value) in found.row.tags {
                context.add(&format!("ecr:ResourceTag/{key}"), value.clone());
                context.add(&format!("aws:ResourceTag/{key}"), value);
            }
        }
        let request = Request {
            principal: &authority.principal,
            action: &format!("ecr:{}", permission.action),
            resource: &target.arn(),
            account: &target.scope().account,
            now: self.now(),
            context: &context,
        };
        match evaluate(&request, &Policies { principal: &authority.policies, resource: documents }) {
            Decision::Allow => Ok(()),
            Decision::Deny(denial) => Err(RegistryError::Denied(denial.sentence(&request))),
        }
    }
}
