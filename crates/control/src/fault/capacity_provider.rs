//! Refusals of the operations on capacity providers.

use gantry_api::{Fault, ecs::fault as wire};

use super::{client, invalid};

/// A name that no provider may have.
pub fn capacity_provider_name() -> Fault {
    client(
        "The specified capacity provider name is invalid. Up to 255 characters are allowed, including letters (upper and \
         lowercase), numbers, underscores, and hyphens. The name cannot be prefixed with \"aws\", \"ecs\", or \
         \"fargate\". Specify a valid name and try again.",
    )
}

/// Neither kind of provider was given.
pub fn capacity_provider_without_group() -> Fault {
    client("The capacity provider must have an autoScalingGroupProvider or a managedInstancesProvider.")
}

/// `cluster` with a provider that every cluster may use.
pub fn capacity_provider_cluster() -> Fault {
    client("The cluster parameter can only be specified for a capacity provider with managedInstancesProvider.")
}

/// The provider exists.
pub fn capacity_provider_exists() -> Fault {
    client(
        "The specified capacity provider already exists. To change the configuration of an existing capacity provider, \
         update the capacity provider.",
    )
}

/// More providers than an account may have.
pub fn capacity_provider_limit() -> Fault {
    wire::limit_exceeded_exception("The maximum number of capacity providers was reached.")
}

/// No provider of that name.
pub fn capacity_provider_not_found() -> Fault {
    invalid("The specified capacity provider was not found. Specify a valid name or ARN and try again.")
}

/// FARGATE and FARGATE_SPOT.
pub fn capacity_provider_reserved() -> Fault {
    client("The specified capacity provider is reserved and cannot be updated or deleted.")
}

/// An update or a deletion is under way.
pub fn capacity_provider_busy() -> Fault {
    client("The specified capacity provider is in a busy state and cannot be updated.")
}

/// DeleteCapacityProvider during an update.
pub fn capacity_provider_updating() -> Fault {
    wire::update_in_progress_exception("The specified capacity provider is in a busy state and cannot be deleted.")
}

/// A provider that scales its group belongs to one cluster.
pub fn capacity_provider_of_other_cluster(name: &str) -> Fault {
    invalid(format!(
        "The specified capacity provider '{name}' has managed scaling enabled and is already associated with another \
         cluster."
    ))
}

/// PutClusterCapacityProviders and others while attachments change.
pub fn cluster_busy() -> Fault {
    wire::update_in_progress_exception(
        "The specified cluster is in a busy state. Cluster attachments must be in UPDATE_COMPLETE or UPDATE_FAILED state \
         before they can be updated.",
    )
}

/// Neither a name nor an ARN of an Auto Scaling group.
pub fn auto_scaling_group_invalid() -> Fault {
    client("The specified Auto Scaling group ARN is invalid. Specify a valid Auto Scaling group ARN and try again.")
}

/// Steps that cannot be.
pub fn scaling_steps() -> Fault {
    invalid("The minimumScalingStepSize cannot be greater than the maximumScalingStepSize.")
}

/// Protection of instances that nobody scales.
pub fn termination_protection() -> Fault {
    client(
        "The managed termination protection setting for the capacity provider is invalid. To enable managed termination \
         protection for a capacity provider, managed scaling must be enabled.",
    )
}
