//! Who may do what. There are two kinds of principals so far: the account, which may do everything, and the agent of
//! a container instance, which may pull.

use crate::fault::RegistryError;
use crate::token::Access;

/// The actions that pulling an image takes.
const PULL_ACTIONS: [&str; 4] =
    ["BatchCheckLayerAvailability", "BatchGetImage", "GetAuthorizationToken", "GetDownloadUrlForLayer"];

/// Refuses what `access` does not include. `action` is the permission's name without `ecr:`.
pub(crate) fn check(arn: &str, access: Access, action: &'static str, resource: &str) -> Result<(), RegistryError> {
    match access {
        Access::Full => Ok(()),
        Access::Pull if PULL_ACTIONS.contains(&action) => Ok(()),
        Access::Pull => Err(denied(arn, action, resource)),
    }
}

/// The refusal.
pub(crate) fn denied(arn: &str, action: &'static str, resource: &str) -> RegistryError {
    RegistryError::Denied { arn: arn.to_owned(), action, resource: resource.to_owned() }
}
