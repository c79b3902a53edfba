//! One statement of a policy.

use super::{
    action::ActionPattern,
    condition::Condition,
    evaluate::Asked,
    principal::{Grantee, Principals},
    resource::ResourcePattern,
};

/// What a statement does for the requests it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// They are allowed, unless denied elsewhere.
    Allow,
    /// They are denied.
    Deny,
}

/// A statement.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Statement {
    pub(super) sid: Option<String>,
    pub(super) effect: Effect,
    /// None in identity policies, which mean whoever they are attached to.
    pub(super) principals: Option<Principals>,
    /// `NotAction`
    pub(super) not_actions: bool,
    pub(super) actions: Vec<ActionPattern>,
    /// `NotResource`
    pub(super) not_resources: bool,
    /// None where the resource is what the policy is attached to.
    pub(super) resources: Option<Vec<ResourcePattern>>,
    pub(super) conditions: Vec<Condition>,
}

impl Statement {
    /// How the statement means the request's principal, when it matches the request.
    pub(super) fn matches(&self, asked: &Asked<'_>) -> Option<Grantee> {
        let grantee = match &self.principals {
            Some(principals) => principals.grantee(asked.request.principal)?,
            None => Grantee::Direct,
        };
        let action = self.actions.iter().any(|pattern| pattern.matches(&asked.action));
        if action == self.not_actions {
            return None;
        }
        if let Some(resources) = &self.resources {
            let resource = resources.iter().any(|pattern| pattern.matches(asked));
            if resource == self.not_resources {
                return None;
            }
        }
        self.conditions.iter().all(|condition| condition.holds(asked)).then_some(grantee)
    }
}
