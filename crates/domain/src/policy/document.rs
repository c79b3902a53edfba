//! A policy document.

use super::{
    error::PolicyError,
    parse,
    principal::{PrincipalPattern, Principals},
    statement::{Effect, Statement},
};

/// Bytes a text may have before it is looked at; each use has a lower limit of its own.
pub(super) const TEXT_LENGTH_MAX: usize = 128 * 1024;

/// What a policy is attached to, and therefore what it may contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// To a user, group or role, inline or managed; a permissions boundary; a session. No principal, a resource.
    Identity,
    /// To a registry, a secret and the like: a principal and a resource.
    Resource,
    /// To one thing that it need not name, such as a repository: a principal, no resource.
    Implied,
    /// To a role, saying who may assume it: a principal, no resource.
    Trust,
}

/// The version of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `2008-10-17`, also when none is given: `${…}` is text.
    V2008,
    /// `2012-10-17`
    V2012,
}

/// A policy, parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Which version of the language it is written in.
    pub version: Version,
    pub(super) statements: Vec<Statement>,
}

impl Document {
    /// Reads a policy of the kind given.
    ///
    /// # Errors
    /// The first thing the grammar does not allow. Length limits are the caller's: see [`significant_length`].
    pub fn parse(text: &str, kind: Kind) -> Result<Self, PolicyError> {
        parse::document(text, kind)
    }

    /// Every action pattern in lower case, `NotAction` included.
    pub fn actions(&self) -> impl Iterator<Item = &str> {
        self.statements.iter().flat_map(|statement| statement.actions.iter().map(|action| action.text.as_str()))
    }

    /// Whether a statement has `NotAction`.
    pub fn has_not_action(&self) -> bool {
        self.statements.iter().any(|statement| statement.not_actions)
    }

    /// Every principal named, `NotPrincipal` included.
    pub fn principals(&self) -> impl Iterator<Item = &PrincipalPattern> {
        self.statements.iter().flat_map(|statement| &statement.principals).flat_map(|principals| &principals.patterns)
    }

    /// Whether a statement allows something to anybody, without any condition.
    pub fn is_public(&self) -> bool {
        let anybody =
            |principals: &Principals| principals.not || principals.patterns.contains(&PrincipalPattern::Anyone);
        self.statements.iter().any(|statement| {
            statement.effect == Effect::Allow
                && statement.conditions.is_empty()
                && statement.principals.as_ref().is_some_and(anybody)
        })
    }

    /// Replaces principals, for instance the ARN of a role by its unique id.
    pub fn map_principals(&mut self, replace: impl Fn(&PrincipalPattern) -> PrincipalPattern) {
        let principals = self.statements.iter_mut().flat_map(|statement| &mut statement.principals);
        principals.flat_map(|principals| &mut principals.patterns).for_each(|pattern| *pattern = replace(pattern));
    }
}

/// The characters of a policy that count towards its limit: all but white space.
pub fn significant_length(text: &str) -> usize {
    text.chars().filter(|character| !character.is_whitespace()).count()
}
