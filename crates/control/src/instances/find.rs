//! Finding the container instance a request names.

use gantry_api::Fault;
use gantry_domain::arn::{Name, ReferenceError, Scope};

use crate::{
    fault,
    keys::InstanceKey,
    view::{EcsView, Host},
};

/// The key of an instance's id or ARN.
pub(crate) fn instance_key(scope: &Scope, cluster: &Name, reference: Option<&str>) -> Result<InstanceKey, Fault> {
    let id =
        scope.container_instance(cluster.as_str(), reference.unwrap_or_default()).map_err(|error| match error {
            ReferenceError::Malformed | ReferenceError::Revision(_) => fault::instance_not_found(),
            other => fault::elsewhere(&other),
        })?;
    Ok(InstanceKey { scope: scope.clone(), cluster: cluster.clone(), id })
}

/// The host of an instance whose record exists, deregistered ones included.
pub(crate) fn known<'a>(view: &'a EcsView, key: &InstanceKey) -> Option<&'a Host> {
    view.host(key).filter(|host| host.row.is_some())
}

/// The registered instance of a machine.
pub(crate) fn instance_of(view: &EcsView, scope: &Scope, machine: &str) -> Option<InstanceKey> {
    let is_its = |host: &Host| {
        host.row.as_ref().is_some_and(|row| row.is_registered() && row.machine.as_deref() == Some(machine))
    };
    view.hosts().find(|(key, host)| key.scope == *scope && is_its(host)).map(|(key, _)| key.clone())
}
