//! Every sentence with which the control plane refuses a whole request. The sentences are the real service's; clients
//! match on them.

mod account_setting;
mod attribute;
mod capacity_provider;
mod cluster;
mod daemon;
mod exec;
mod request;
mod service;
mod tagging;
mod task;
mod task_definition;

use gantry_api::{Fault, ecs::fault as wire};
use gantry_domain::{arn::ReferenceError, paging::BadToken};
use gantry_store::StoreError;

pub use account_setting::*;
pub use attribute::*;
pub use capacity_provider::*;
pub use cluster::*;
pub use daemon::*;
pub use exec::*;
pub use request::*;
pub use service::*;
pub use tagging::*;
pub use task::*;
pub use task_definition::*;

/// `InvalidParameterException` with a sentence.
pub fn invalid(message: impl Into<String>) -> Fault {
    wire::invalid_parameter_exception(message)
}

/// `ClientException` with a sentence.
pub fn client(message: impl Into<String>) -> Fault {
    wire::client_exception(message)
}

/// The store failed. The client learns that it was not its fault; the log learns why.
pub fn store(error: StoreError) -> Fault {
    wire::server_exception("Service Unavailable. Please try again later.").caused_by(error)
}

/// The store failed for several requests at once.
pub fn store_shared(error: &std::sync::Arc<StoreError>) -> Fault {
    wire::server_exception("Service Unavailable. Please try again later.").caused_by(error.clone())
}

/// A client token was used before, with another request.
pub fn token_conflict(task_arns: Vec<String>) -> Fault {
    wire::conflict_exception("The clientToken was already used with a different request.")
        .with_field("resourceIds", task_arns)
}

/// Too many others changed the same things at the same time.
pub fn overtaken() -> Fault {
    wire::server_exception("Concurrent modification, please try again.")
}

/// No cluster of that name, or `default` when none was named.
pub fn cluster_not_found() -> Fault {
    wire::cluster_not_found_exception("Cluster not found.")
}

/// The cluster was deleted.
pub fn cluster_inactive() -> Fault {
    wire::cluster_not_found_exception("The referenced cluster was inactive.")
}

/// The `cluster` member is neither a name nor an ARN of this account and region.
pub fn cluster_reference(error: &ReferenceError) -> Fault {
    match error {
        ReferenceError::Malformed | ReferenceError::Revision(_) => {
            invalid("Invalid identifier: Identifier is invalid.")
        }
        other => elsewhere(other),
    }
}

/// An ARN of another account, region or cluster.
pub fn elsewhere(error: &ReferenceError) -> Fault {
    match error {
        ReferenceError::Account { found, expected } => {
            invalid(format!("Invalid identifier: Identifier is for account {found}, your account is {expected}"))
        }
        ReferenceError::Region { found, expected } => {
            tracing::debug!(found, expected, "an ARN of another region");
            invalid("Invalid Region in ARN")
        }
        ReferenceError::Cluster { found, expected } => {
            invalid(format!("Invalid identifier: Identifier is for cluster {found}. Your cluster is {expected}"))
        }
        ReferenceError::Malformed | ReferenceError::Revision(_) => {
            invalid("Invalid identifier: Identifier is invalid.")
        }
    }
}

/// `nextToken` was not made by this list with these filters.
pub fn bad_token(_: BadToken) -> Fault {
    invalid("Invalid token.")
}

/// No service of that name.
pub fn service_not_found() -> Fault {
    wire::service_not_found_exception("Service not found.")
}

/// The service was deleted.
pub fn service_not_active() -> Fault {
    wire::service_not_active_exception("Service was not ACTIVE.")
}

/// No task set of that id in the service.
pub fn task_set_not_found() -> Fault {
    wire::task_set_not_found_exception("The specified task set does not exist.")
}

/// A member that the real service honours and Gantry does not yet: refused by name, never ignored.
pub fn unsupported(member: &str) -> Fault {
    wire::unsupported_feature_exception(format!("Gantry does not support {member} yet."))
}

/// No service deployment of that ARN.
pub fn service_deployment_not_found() -> Fault {
    wire::service_deployment_not_found_exception("Service deployment not found.")
}

/// The service deployment has ended, so it cannot be stopped.
pub fn service_deployment_finished() -> Fault {
    wire::conflict_exception("The service deployment is not in a state that can be stopped.")
}

/// No lifecycle hook of that id holds the deployment up.
pub fn lifecycle_hook_not_found(id: &str) -> Fault {
    invalid(format!("The lifecycle hook {id} was not found in the current lifecycle stage of the service deployment."))
}

/// The service deployment waits for nobody.
pub fn service_deployment_not_paused() -> Fault {
    invalid("The service deployment is not awaiting an action.")
}

/// A rollback needs an earlier deployment that was completed.
pub fn nothing_to_roll_back_to() -> Fault {
    wire::conflict_exception("The service has no previous service revision to roll back to.")
}
