//! Finds the service a request means.

use gantry_api::Fault;
use gantry_domain::arn::{Arn, Name, Resource, Scope};

use crate::{
    control, fault,
    keys::ServiceKey,
    records::{
        ServiceDeploymentRecord, ServiceRecord, ServiceRevisionRecord, ServiceStatus, SharedRow, TaskDefinitionRecord,
    },
    view::EcsView,
};

/// Reads the `service` member of a request.
pub(crate) fn service_key(scope: &Scope, cluster: &Name, reference: Option<&str>) -> Result<ServiceKey, Fault> {
    let reference = reference.unwrap_or_default();
    if reference.is_empty() {
        return Err(fault::invalid("Service cannot be blank."));
    }
    let service = scope.service(cluster.as_str(), reference).map_err(|error| fault::elsewhere(&error))?;
    Ok(ServiceKey::service(scope.clone(), cluster.clone(), service))
}

/// The row of a service, deleted ones included.
pub(crate) fn row<'a>(view: &'a EcsView, key: &ServiceKey) -> Option<&'a SharedRow<ServiceRecord>> {
    view.cluster(&key.scope, &key.cluster)?.kept(key.kind).rows().get(&key.service)
}

/// Reads the ARN of a service deployment: its service and its id.
pub(crate) fn service_deployment(scope: &Scope, text: &str) -> Result<(ServiceKey, String), Fault> {
    let arn: Arn = text.parse().map_err(|_| fault::arn_invalid())?;
    scope.same_place(&arn.scope).map_err(|error| fault::elsewhere(&error))?;
    match arn.resource {
        Resource::ServiceDeployment { cluster, service, id } => {
            Ok((ServiceKey::service(scope.clone(), cluster, service), id))
        }
        _ => Err(fault::arn_invalid()),
    }
}

/// A service deployment, ended ones included.
pub(crate) fn history<'a>(
    view: &'a EcsView,
    key: &ServiceKey,
    id: &str,
) -> Result<&'a SharedRow<ServiceDeploymentRecord>, Fault> {
    let deployments = view.cluster(&key.scope, &key.cluster).map(|cluster| cluster.kept(key.kind).deployments());
    let row = deployments.and_then(|rows| rows.get(&(key.service.clone(), id.to_owned())));
    row.ok_or_else(fault::service_deployment_not_found)
}

/// What the tasks of a revision run.
pub(crate) fn definition<'a>(
    view: &'a EcsView,
    key: &ServiceKey,
    revision: &ServiceRevisionRecord,
) -> Option<&'a SharedRow<TaskDefinitionRecord>> {
    view.namespace(&key.scope)?.definition(key.kind, &revision.task_definition)
}

/// The service a change is for: it must be ACTIVE.
pub(crate) fn active<'a>(view: &'a EcsView, key: &ServiceKey) -> Result<&'a SharedRow<ServiceRecord>, Fault> {
    control::active_cluster(view, &key.scope, &key.cluster)?;
    match row(view, key) {
        None => Err(fault::service_not_found()),
        Some(row) if row.status == ServiceStatus::Active => Ok(row),
        Some(_) => Err(fault::service_not_active()),
    }
}
