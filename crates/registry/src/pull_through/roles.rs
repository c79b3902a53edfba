//! The roles in which the registry reads registries of other accounts.

use gantry_api::Caller;

/// Whom the roles must trust.
pub const SERVICE: &str = "pullthroughcache.ecr.amazonaws.com";

/// Knows roles.
pub trait Roles: Send + Sync + 'static {
    /// A session of the role for the pull-through cache; none when there is no such role or it does not trust
    /// [`SERVICE`].
    fn assume(&self, role_arn: &str, region: &str) -> Option<Caller>;
}

/// Knows none.
#[derive(Debug, Clone, Copy)]
pub struct NoRoles;

impl Roles for NoRoles {
    fn assume(&self, _: &str, _: &str) -> Option<Caller> {
        None
    }
}
