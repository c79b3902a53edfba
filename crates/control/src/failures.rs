//! Refusal of a part of a request: the entries of `failures`, answered with HTTP 200 beside what worked.

use gantry_api::ecs::Failure;
use gantry_domain::{
    arn::{Name, Scope},
    placement::Lack,
};

use crate::launch::{Refusal, Refused};

fn failure(arn: String, reason: &str) -> Failure {
    Failure { arn: Some(arn), reason: Some(reason.to_owned()), ..Failure::default() }
}

/// Nothing of that name is known.
pub fn missing(arn: String) -> Failure {
    failure(arn, "MISSING")
}

/// Protection of a task that is no service's, or that is stopping already.
pub fn task_not_valid(arn: String) -> Failure {
    failure(arn, "TASK_NOT_VALID")
}

/// More of a service's tasks would be protected than it is to have.
pub fn deployment_blocked(arn: String) -> Failure {
    failure(arn, "DEPLOYMENT_BLOCKED")
}

/// A deregistered container instance.
pub fn inactive(arn: String) -> Failure {
    failure(arn, "INACTIVE")
}

/// DeleteTaskDefinitions: the reference names no single revision.
pub fn invalid_task_definition(reference: &str) -> Failure {
    let reason = "The specified task definition identifier is invalid. Specify a valid name or ARN and try again.";
    failure(reference.to_owned(), reason)
}

/// DeleteTaskDefinitions: there is no such revision.
pub fn unknown_task_definition(arn: String) -> Failure {
    let reason =
        "The specified task definition does not exist. Specify a valid account, family, revision and try again.";
    failure(arn, reason)
}

/// DeleteTaskDefinitions: only INACTIVE revisions may go.
pub fn active_task_definition(arn: String) -> Failure {
    let reason = "The specified task definition is still in ACTIVE status. Please deregister the target and try again.";
    failure(arn, reason)
}

/// An instance that takes no task.
pub fn refused(refused: &Refused) -> Failure {
    let detail = match &refused.why {
        Refusal::Lacks(Lack::Attribute(name)) => Some(name.clone()),
        _ => None,
    };
    Failure { detail, ..failure(refused.instance.arn(), &refused.why.code()) }
}

/// The fleet has no room.
pub fn fleet_capacity() -> Failure {
    let reason = "Capacity is unavailable at this time. Please try again later or in a different availability zone";
    Failure { reason: Some(reason.to_owned()), ..Failure::default() }
}

/// The ARN a reference to a container instance stands for, whether it could exist or not.
pub fn instance_arn(scope: &Scope, cluster: &Name, reference: &str) -> String {
    if reference.starts_with("arn:") {
        return reference.to_owned();
    }
    format!("{}/{reference}", scope.cluster_arn(cluster.as_str()).replacen(":cluster/", ":container-instance/", 1))
}
