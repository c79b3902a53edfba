//! What authorization asks about the resources of ECS. Everything is answered from the picture in memory.

use std::collections::BTreeMap;

use gantry_api::Caller;
use gantry_domain::arn::Arn;

use crate::{Control, control::scope, keys::ServiceKind, taggable::Taggable, task_definition::find_of};

impl Control {
    /// The tags of the resource `arn`; none when it is not there.
    pub fn resource_tags(&self, arn: &str) -> BTreeMap<String, String> {
        let Ok(parsed) = arn.parse::<Arn>() else { return BTreeMap::new() };
        let Ok(target) = Taggable::parse(&parsed.scope, Some(arn)) else { return BTreeMap::new() };
        target.look(&self.read(), &parsed.scope).map(|tagged| tagged.tags).unwrap_or_default()
    }

    /// The ARN of the task definition that `reference` means now (of a daemon task definition when it is the ARN of one),
    /// and the roles that it names.
    pub fn task_definition_roles(&self, caller: &Caller, reference: &str) -> Option<(String, Vec<String>)> {
        let scope = scope(caller);
        let (kind, named) = match reference.contains(":daemon-task-definition/") {
            true => (ServiceKind::Daemon, scope.daemon_task_definition(reference)),
            false => (ServiceKind::Service, scope.task_definition(reference)),
        };
        let (key, row) = find_of(&self.read(), &scope, kind, &named.ok()?)?;
        let arn = match kind {
            ServiceKind::Service => scope.task_definition_arn(&key),
            ServiceKind::Daemon => scope.daemon_task_definition_arn(&key),
        };
        let document = row.document.to_wire();
        let roles = [document.task_role_arn, document.execution_role_arn].into_iter().flatten();
        Some((arn, roles.filter(|role| !role.is_empty()).collect()))
    }
}
