//! Which agent may speak for which container instance.
//!
//! A machine that joined speaks for the one instance that it registered, and that instance listens to nobody else.
//! Instances that no machine registered (an agent with credentials of another kind, a test) belong to whoever the
//! policies let.

use gantry_api::{Caller, Fault};

use crate::{
    keys::{InstanceKey, TaskKey},
    records::InstanceRecord,
    view::EcsView,
};

/// Whether the caller is the agent of the instance.
pub(crate) fn speaks_for(caller: &Caller, record: &InstanceRecord) -> bool {
    record.machine.as_deref() == caller.machine().map(|machine| machine.id.as_str())
}

/// Refuses a machine that acts on an instance which is not its own. Whoever is no machine is a person, whom the policies
/// have let.
pub(crate) fn check_instance(
    caller: &Caller,
    action: &str,
    key: &InstanceKey,
    row: &InstanceRecord,
) -> Result<(), Fault> {
    if caller.machine().is_none() || speaks_for(caller, row) {
        return Ok(());
    }
    Err(denied(caller, action, &key.arn()))
}

/// Refuses a machine that reports on a task of another instance.
pub(crate) fn check_task(caller: &Caller, action: &str, view: &EcsView, key: &TaskKey) -> Result<(), Fault> {
    if caller.machine().is_none() {
        return Ok(());
    }
    let host = view.task(key).and_then(|task| view.host(task.host.as_ref()?));
    if host.and_then(|host| host.row.as_ref()).is_some_and(|row| speaks_for(caller, row)) {
        return Ok(());
    }
    Err(denied(caller, action, &key.arn()))
}

pub(crate) fn denied(caller: &Caller, action: &str, resource: &str) -> Fault {
    let message = format!(
        "User: {} is not authorized to perform: {action} on resource: {resource} because it belongs to another machine",
        caller.principal_arn
    );
    Fault::new("AccessDeniedException", 400, message)
}
