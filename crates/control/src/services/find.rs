//! Finds the service a request means.

use gantry_api::Fault;
use gantry_domain::arn::{Name, Scope};

use crate::{
    control, fault,
    keys::ServiceKey,
    records::{ServiceRecord, ServiceStatus, SharedRow},
    view::EcsView,
};

/// Reads the `service` member of a request.
pub(crate) fn service_key(scope: &Scope, cluster: &Name, reference: Option<&str>) -> Result<ServiceKey, Fault> {
    let reference = reference.unwrap_or_default();
    if reference.is_empty() {
        return Err(fault::invalid("Service cannot be blank."));
    }
    let service = scope.service(cluster.as_str(), reference).map_err(|error| fault::elsewhere(&error))?;
    Ok(ServiceKey { scope: scope.clone(), cluster: cluster.clone(), service })
}

/// The row of a service, deleted ones included.
pub(crate) fn row<'a>(view: &'a EcsView, key: &ServiceKey) -> Option<&'a SharedRow<ServiceRecord>> {
    view.cluster(&key.scope, &key.cluster)?.services().get(&key.service)
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
