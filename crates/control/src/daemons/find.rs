//! Finds the managed daemon, or the part of one, that a request means.

use gantry_api::Fault;
use gantry_domain::arn::{Arn, Resource, Scope};

use crate::{
    control, fault,
    keys::ServiceKey,
    records::{ServiceRecord, ServiceStatus, SharedRow},
    services::find,
    view::EcsView,
};

/// Reads the ARN of a daemon.
pub(crate) fn key(scope: &Scope, text: Option<&str>) -> Result<ServiceKey, Fault> {
    match resource(scope, text.unwrap_or_default())? {
        Resource::Daemon { cluster, daemon } => Ok(ServiceKey::daemon(scope.clone(), cluster, daemon)),
        _ => Err(fault::arn_invalid()),
    }
}

/// Reads the ARN of a deployment of a daemon.
pub(crate) fn deployment(scope: &Scope, text: &str) -> Result<(ServiceKey, String), Fault> {
    match resource(scope, text)? {
        Resource::DaemonDeployment { cluster, daemon, id } => {
            Ok((ServiceKey::daemon(scope.clone(), cluster, daemon), id))
        }
        _ => Err(fault::arn_invalid()),
    }
}

/// Reads the ARN of a revision of a daemon.
pub(crate) fn revision(scope: &Scope, text: &str) -> Result<(ServiceKey, String), Fault> {
    match resource(scope, text)? {
        Resource::DaemonRevision { cluster, daemon, id } => {
            Ok((ServiceKey::daemon(scope.clone(), cluster, daemon), id))
        }
        _ => Err(fault::arn_invalid()),
    }
}

fn resource(scope: &Scope, text: &str) -> Result<Resource, Fault> {
    let arn: Arn = text.parse().map_err(|_| fault::arn_invalid())?;
    scope.same_place(&arn.scope).map_err(|error| fault::elsewhere(&error))?;
    Ok(arn.resource)
}

/// A daemon that is there, if only to be deleted.
pub(crate) fn present<'a>(view: &'a EcsView, key: &ServiceKey) -> Result<&'a SharedRow<ServiceRecord>, Fault> {
    control::active_cluster(view, &key.scope, &key.cluster)?;
    let row = find::row(view, key).filter(|row| row.status != ServiceStatus::Inactive);
    row.ok_or_else(fault::daemon_not_found)
}

/// A daemon that a request may change.
pub(crate) fn active<'a>(view: &'a EcsView, key: &ServiceKey) -> Result<&'a SharedRow<ServiceRecord>, Fault> {
    let row = present(view, key)?;
    if row.status == ServiceStatus::Active { Ok(row) } else { Err(fault::daemon_not_active()) }
}
