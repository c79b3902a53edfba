//! What an evaluation says, and the sentence a client reads.

use super::evaluate::Request;

/// The answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a decision that nobody looks at protects nothing"]
pub enum Decision {
    /// It may.
    Allow,
    /// It may not.
    Deny(Denial),
}

impl Decision {
    /// Whether it may.
    pub fn is_allowed(&self) -> bool {
        *self == Self::Allow
    }
}

/// Why a request may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denial {
    /// A statement denies it; otherwise none allows it.
    pub explicit: bool,
    /// Where that statement is, or is missing.
    pub policy: PolicyType,
}

/// The kinds of policies that messages tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are IAM's")]
pub enum PolicyType {
    Identity,
    Resource,
    PermissionsBoundary,
    Session,
    RoleTrust,
}

impl PolicyType {
    fn noun(self) -> &'static str {
        match self {
            Self::Identity => "identity-based policy",
            Self::Resource => "resource-based policy",
            Self::PermissionsBoundary => "permissions boundary",
            Self::Session => "session policy",
            Self::RoleTrust => "role trust policy",
        }
    }
}

impl Denial {
    /// The message of the service's AccessDenied. It names who asked, for what and on what, and the kind of policy,
    /// never a policy's content.
    pub fn sentence(&self, request: &Request<'_>) -> String {
        let (user, action, resource) = (request.principal.arn(), request.action, request.resource);
        let noun = self.policy.noun();
        let article = if noun.starts_with('i') { "an" } else { "a" };
        let because = if self.explicit {
            format!("with an explicit deny in {article} {noun}")
        } else {
            format!("because no {noun} allows the {action} action")
        };
        format!("User: {user} is not authorized to perform: {action} on resource: {resource} {because}")
    }
}
