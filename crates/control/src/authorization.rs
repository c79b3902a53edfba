//! What authorization asks about the resources of ECS. Everything is answered from the picture in memory.

use std::collections::BTreeMap;

use gantry_api::Caller;
use gantry_domain::arn::Arn;

use crate::{
    Control,
    control::scope,
    taggable::Taggable,
    task_definition::{find, wire},
};

impl Control {
    /// The tags of the resource `arn`; none when it is not there.
    pub fn resource_tags(&self, arn: &str) -> BTreeMap<String, String> {
        let Ok(parsed) = arn.parse::<Arn>() else { return BTreeMap::new() };
        let Ok(target) = Taggable::parse(&parsed.scope, Some(arn)) else { return BTreeMap::new() };
        target.look(&self.read(), &parsed.scope).map(|tagged| tagged.tags).unwrap_or_default()
    }

    /// The ARN of the task definition that `reference` means now, and the roles that it names.
    pub fn task_definition_roles(&self, caller: &Caller, reference: &str) -> Option<(String, Vec<String>)> {
        let scope = scope(caller);
        let reference = scope.task_definition(reference).ok()?;
        let (key, row) = find(&self.read(), &scope, &reference)?;
        let shown = wire(&scope, &key, &row);
        let roles = [shown.task_role_arn, shown.execution_role_arn].into_iter().flatten();
        Some((shown.task_definition_arn?, roles.filter(|role| !role.is_empty()).collect()))
    }
}
