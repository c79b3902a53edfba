//! What IAM says when it refuses. The sentences are the real service's where they are known.

use std::error::Error;

use gantry_api::Fault;
use gantry_api::iam::fault;
use gantry_store::StoreError;

pub(super) fn no_user(name: &str) -> Fault {
    fault::no_such_entity_exception(format!("The user with name {name} cannot be found."))
}

pub(super) fn no_group(name: &str) -> Fault {
    fault::no_such_entity_exception(format!("The group with name {name} cannot be found."))
}

pub(super) fn no_role(name: &str) -> Fault {
    fault::no_such_entity_exception(format!("The role with name {name} cannot be found."))
}

pub(super) fn no_profile(name: &str) -> Fault {
    fault::no_such_entity_exception(format!("Instance Profile {name} cannot be found."))
}

pub(super) fn no_provider(arn: &str) -> Fault {
    fault::no_such_entity_exception(format!("OpenIDConnect Provider not found for arn {arn}"))
}

pub(super) fn no_policy(arn: &str) -> Fault {
    fault::no_such_entity_exception(format!("Policy {arn} was not found."))
}

pub(super) fn no_policy_version(arn: &str, version: &str) -> Fault {
    fault::no_such_entity_exception(format!("Policy {arn} version {version} does not exist or is not attachable."))
}

pub(super) fn not_attachable(arn: &str) -> Fault {
    fault::no_such_entity_exception(format!("Policy {arn} does not exist or is not attachable."))
}

pub(super) fn no_such_policy_for_boundary(arn: &str) -> Fault {
    fault::no_such_entity_exception(format!("Scope ARN: {arn} does not exist or is not attachable."))
}

pub(super) fn not_attached(arn: &str) -> Fault {
    fault::no_such_entity_exception(format!("Policy {arn} was not found."))
}

/// `holder` is `user`, `group` or `role`.
pub(super) fn no_inline_policy(holder: &str, name: &str) -> Fault {
    fault::no_such_entity_exception(format!("The {holder} policy with name {name} cannot be found."))
}

pub(super) fn no_access_key(id: &str) -> Fault {
    fault::no_such_entity_exception(format!("The Access Key with id {id} cannot be found."))
}

pub(super) fn no_boundary(role: &str) -> Fault {
    fault::no_such_entity_exception(format!("The role with name {role} has no permissions boundary."))
}

pub(super) fn not_in_group(user: &str, group: &str) -> Fault {
    fault::no_such_entity_exception(format!("User {user} is not in group {group}."))
}

pub(super) fn not_in_profile(role: &str, profile: &str) -> Fault {
    fault::no_such_entity_exception(format!("Role {role} in instance profile {profile} cannot be found."))
}

/// A thing of that `kind` (`User`, `Group`, `Role`) is there already.
pub(super) fn exists(kind: &str, name: &str) -> Fault {
    fault::entity_already_exists_exception(format!("{kind} with name {name} already exists."))
}

pub(super) fn profile_exists(name: &str) -> Fault {
    fault::entity_already_exists_exception(format!("Instance Profile {name} already exists."))
}

pub(super) fn provider_exists(url: &str) -> Fault {
    fault::entity_already_exists_exception(format!("Provider with url {url} already exists."))
}

pub(super) fn policy_exists(name: &str) -> Fault {
    fault::entity_already_exists_exception(format!(
        "A policy called {name} already exists. Duplicate names are not allowed."
    ))
}

/// `first` is what has to go before, for example `must detach all policies first`.
pub(super) fn delete_conflict(first: &str) -> Fault {
    fault::delete_conflict_exception(format!("Cannot delete entity, {first}."))
}

pub(super) fn policy_in_use(entities: usize) -> Fault {
    fault::delete_conflict_exception(format!("Cannot delete a policy attached to entities (it has {entities})."))
}

pub(super) fn policy_has_versions() -> Fault {
    fault::delete_conflict_exception(
        "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The \
         default version is deleted with the policy.",
    )
}

pub(super) fn default_version() -> Fault {
    fault::delete_conflict_exception("Cannot delete the default version of a policy.")
}

pub(super) fn quota(name: &str, most: usize) -> Fault {
    fault::limit_exceeded_exception(format!("Cannot exceed quota for {name}: {most}"))
}

pub(super) fn too_many_versions() -> Fault {
    fault::limit_exceeded_exception(
        "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing \
         version.",
    )
}

pub(super) fn inline_too_long(kind: &str, name: &str, most: usize) -> Fault {
    fault::limit_exceeded_exception(format!("Maximum policy size of {most} bytes exceeded for {kind} {name}"))
}

pub(super) fn protected_role(name: &str) -> Fault {
    fault::unmodifiable_entity_exception(format!(
        "Cannot perform the operation on the protected role '{name}' - this role is only modifiable by AWS"
    ))
}

pub(super) fn aws_managed() -> Fault {
    Fault::new("AccessDenied", 403, "Cannot modify AWS managed policies: they belong to the account 'aws'.")
}

pub(super) fn service_role_taken(name: &str) -> Fault {
    fault::invalid_input_exception(format!(
        "Service role name {name} has been taken in this account, please try a different suffix."
    ))
}

pub(super) fn malformed(message: impl Into<String>) -> Fault {
    fault::malformed_policy_document_exception(message)
}

pub(super) fn invalid(message: impl Into<String>) -> Fault {
    fault::invalid_input_exception(message)
}

/// Input that is against a rule which the model does not have.
pub(super) fn validation(message: impl Into<String>) -> Fault {
    Fault::new("ValidationError", 400, message)
}

pub(super) fn must_name_user() -> Fault {
    validation("Must specify userName when calling with non-User credentials")
}

pub(super) fn concurrent() -> Fault {
    fault::concurrent_modification_exception(
        "The request was rejected because multiple requests to change this object were submitted simultaneously.",
    )
}

/// The disk or the store failed; SDKs try again.
pub(super) fn unavailable(cause: impl Error + Send + Sync + 'static) -> Fault {
    fault::service_failure_exception("The request processing has failed because of an unknown error.").caused_by(cause)
}

pub(super) fn store(error: StoreError) -> Fault {
    unavailable(error)
}
