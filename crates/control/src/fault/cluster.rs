//! Refusals of the cluster operations.

use gantry_api::{Fault, ecs::fault as wire};
use gantry_domain::limits::{CLUSTERS_MAX, DESCRIBE_MAX, STRATEGY_ITEMS_MAX};

use super::{client, invalid};

/// A name that is none.
pub fn cluster_name_invalid(name: &str) -> Fault {
    invalid(format!("Cluster must match ^[a-zA-Z0-9\\-_]{{1,255}}$, but was {name}"))
}

/// The quota of clusters.
pub fn too_many_clusters() -> Fault {
    client(format!("The maximum number of clusters, {CLUSTERS_MAX}, has been exceeded."))
}

/// CreateCluster of a name that exists, with other arguments.
pub fn cluster_inconsistent() -> Fault {
    invalid("Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
}

/// A Describe call that names more than it may.
pub fn describe_too_many(what: &str) -> Fault {
    invalid(format!("{what} cannot have more than {DESCRIBE_MAX} elements."))
}

/// A setting with a value it cannot have, or no setting at all.
pub fn cluster_setting(name: &str, value: &str) -> Fault {
    invalid(format!("Invalid value '{value}' for cluster setting '{name}'."))
}

/// `OVERRIDE` without saying by what.
pub fn log_configuration_missing() -> Fault {
    invalid("logConfiguration must be specified when executeCommandConfiguration.logging is OVERRIDE.")
}

/// `logConfiguration` where it would be ignored, or one that names no destination.
pub fn log_configuration_invalid() -> Fault {
    invalid("logConfiguration must name a log group or a bucket, and is allowed only when logging is OVERRIDE.")
}

/// A Cloud Map namespace that cannot be one.
pub fn namespace_invalid() -> Fault {
    invalid("Invalid namespace in serviceConnectDefaults.")
}

/// A provider that does not exist here.
pub fn capacity_provider_inactive(name: &str) -> Fault {
    invalid(format!(
        "The specified capacity provider '{name}' is not in an ACTIVE state. Specify a valid capacity provider and try \
         again."
    ))
}

/// More providers than a cluster may have.
pub fn too_many_capacity_providers() -> Fault {
    invalid("The maximum number of capacity providers per cluster has been exceeded.")
}

/// A strategy names a provider that the cluster does not have.
pub fn strategy_not_associated() -> Fault {
    invalid(
        "The specified capacity provider strategy cannot contain a capacity provider that is not associated with the \
         cluster. Associate the capacity provider with the cluster and try again.",
    )
}

/// A strategy names a provider that does not exist.
pub fn strategy_not_found(name: &str) -> Fault {
    invalid(format!("The specified capacity provider '{name}' was not found."))
}

/// Fargate's providers beside others.
pub fn strategy_mixed() -> Fault {
    invalid(
        "The specified capacity provider strategy cannot contain both FARGATE or FARGATE_SPOT and capacity providers of \
         Auto Scaling groups.",
    )
}

/// A strategy that is too long, names a provider twice, or has more than one base.
pub fn strategy_invalid() -> Fault {
    invalid(format!(
        "The specified capacity provider strategy is not valid. It can have at most {STRATEGY_ITEMS_MAX} items, each \
         capacity provider once, and a base for one of them."
    ))
}

/// A provider that tasks, services or the default strategy use.
pub fn capacity_provider_in_use() -> Fault {
    wire::resource_in_use_exception("The specified capacity provider is in use and cannot be removed.")
}

/// DeleteCluster: instances are registered.
pub fn cluster_has_instances() -> Fault {
    wire::cluster_contains_container_instances_exception(
        "The Cluster cannot be deleted while Container Instances are active or draining.",
    )
}

/// DeleteCluster: services are ACTIVE.
pub fn cluster_has_services() -> Fault {
    wire::cluster_contains_services_exception("The Cluster cannot be deleted while Services are active.")
}

/// DeleteCluster: tasks are not STOPPED.
pub fn cluster_has_tasks() -> Fault {
    wire::cluster_contains_tasks_exception("The Cluster cannot be deleted while Tasks are active.")
}
