//! What authorization asks about the world, answered by whose business it is.

use std::collections::BTreeMap;

use gantry_api::Caller;
use gantry_companions::{application_autoscaling::AutoScaling, events::EventBridge, iam::Iam, ssm::Parameters};
use gantry_control::Control;
use gantry_protocol::access::{Facts, TaskDefinition};

/// ECS, EventBridge, IAM and Systems Manager.
pub(crate) struct World {
    pub(crate) control: Control,
    pub(crate) events: EventBridge,
    pub(crate) iam: Iam,
    pub(crate) scaling: AutoScaling,
    pub(crate) parameters: Parameters,
}

impl Facts for World {
    fn tags(&self, arn: &str) -> BTreeMap<String, String> {
        match arn.split(':').nth(2) {
            Some("ecs") => self.control.resource_tags(arn),
            Some("events") => self.events.resource_tags(arn),
            Some("application-autoscaling") => self.scaling.resource_tags(arn),
            Some("iam") => self.iam.resource_tags(arn),
            Some("ssm") => self.parameters.resource_tags(arn),
            _ => BTreeMap::new(),
        }
    }

    fn task_definition(&self, caller: &Caller, reference: &str) -> Option<TaskDefinition> {
        let (arn, roles) = self.control.task_definition_roles(caller, reference)?;
        Some(TaskDefinition { arn, roles })
    }

    fn iam_arn(&self, account: &str, kind: &str, name: &str) -> Option<String> {
        self.iam.arn_of(account, kind, name)
    }

    fn boundary(&self, account: &str, kind: &str, name: &str) -> Option<String> {
        self.iam.boundary_of(account, kind, name)
    }
}
