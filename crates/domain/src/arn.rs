//! Names, ids and ARNs of ECS resources: the only place that takes an ARN apart or puts one together.
//!
//! A request may name a resource by its short name, its id or its ARN; the functions of [`Scope`] turn any of these into
//! a typed name, and refuse an ARN of another account, region or cluster. Nothing here knows whether a resource exists.

mod ids;
mod reference;
mod resource;

pub use ids::{ContainerInstanceId, Family, IdError, Name, Revision, TaskDefinitionKey, TaskId, uuid_text};
pub use reference::{ReferenceError, TaskDefinitionReference};
pub use resource::{Arn, ArnError, Resource};

/// The account and the region a resource lives in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// Twelve digits.
    pub account: String,
    /// For instance `us-east-1`.
    pub region: String,
}

/// Whether a text can be the id of an account: twelve digits.
pub fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl Scope {
    /// The scope of `account` in `region`.
    pub fn new(account: impl Into<String>, region: impl Into<String>) -> Self {
        Self { account: account.into(), region: region.into() }
    }

    /// The registry that `ACCOUNT.dkr.ecr.REGION.amazonaws.com` (or `.com.cn`) names.
    pub fn of_registry_host(host: &str) -> Option<Self> {
        let (account, rest) = host.split_once('.')?;
        let rest = rest.strip_prefix("dkr.ecr.")?;
        let region = rest.strip_suffix(".amazonaws.com").or_else(|| rest.strip_suffix(".amazonaws.com.cn"))?;
        let is_region = region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        (is_account(account) && is_region && !region.is_empty()).then(|| Self::new(account, region))
    }

    /// The ARN partition the region belongs to.
    pub fn partition(&self) -> &'static str {
        match self.region.as_str() {
            region if region.starts_with("cn-") => "aws-cn",
            region if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        }
    }

    /// The ARN of an ECS resource in this scope.
    pub fn arn(&self, resource: &Resource) -> String {
        format!("arn:{}:ecs:{}:{}:{resource}", self.partition(), self.region, self.account)
    }

    /// `arn:aws:ecs:REGION:ACCOUNT:cluster/NAME`
    pub fn cluster_arn(&self, cluster: &str) -> String {
        self.plain("cluster", &[cluster])
    }

    /// `…:service/CLUSTER/NAME`
    pub fn service_arn(&self, cluster: &str, service: &str) -> String {
        self.plain("service", &[cluster, service])
    }

    /// `…:task/CLUSTER/ID`
    pub fn task_arn(&self, cluster: &str, task: TaskId) -> String {
        self.plain("task", &[cluster, &task.to_string()])
    }

    /// `…:container/CLUSTER/TASK/UUID`
    pub fn container_arn(&self, cluster: &str, task: TaskId, container: &str) -> String {
        self.plain("container", &[cluster, &task.to_string(), container])
    }

    /// `…:container-instance/CLUSTER/ID`
    pub fn container_instance_arn(&self, cluster: &str, instance: ContainerInstanceId) -> String {
        self.plain("container-instance", &[cluster, &instance.to_string()])
    }

    /// `…:task-definition/FAMILY:REVISION`
    pub fn task_definition_arn(&self, key: &TaskDefinitionKey) -> String {
        self.plain("task-definition", &[&key.to_string()])
    }

    /// `…:daemon-task-definition/FAMILY:REVISION`
    pub fn daemon_task_definition_arn(&self, key: &TaskDefinitionKey) -> String {
        self.plain("daemon-task-definition", &[&key.to_string()])
    }

    /// `…:daemon/CLUSTER/NAME`
    pub fn daemon_arn(&self, cluster: &str, daemon: &str) -> String {
        self.plain("daemon", &[cluster, daemon])
    }

    /// `…:daemon-deployment/CLUSTER/DAEMON/ID`
    pub fn daemon_deployment_arn(&self, cluster: &str, daemon: &str, id: &str) -> String {
        self.plain("daemon-deployment", &[cluster, daemon, id])
    }

    /// `…:daemon-revision/CLUSTER/DAEMON/DIGITS`
    pub fn daemon_revision_arn(&self, cluster: &str, daemon: &str, id: &str) -> String {
        self.plain("daemon-revision", &[cluster, daemon, id])
    }

    /// `…:capacity-provider/NAME`
    pub fn capacity_provider_arn(&self, name: &str) -> String {
        self.plain("capacity-provider", &[name])
    }

    /// `…:service-deployment/CLUSTER/SERVICE/ID`
    pub fn service_deployment_arn(&self, cluster: &str, service: &str, id: &str) -> String {
        self.plain("service-deployment", &[cluster, service, id])
    }

    /// `…:service-revision/CLUSTER/SERVICE/DIGITS`
    pub fn service_revision_arn(&self, cluster: &str, service: &str, id: &str) -> String {
        self.plain("service-revision", &[cluster, service, id])
    }

    /// `…:task-set/CLUSTER/SERVICE/ecs-svc/DIGITS`; `id` holds the `ecs-svc/` prefix.
    pub fn task_set_arn(&self, cluster: &str, service: &str, id: &str) -> String {
        self.plain("task-set", &[cluster, service, id])
    }

    /// `…:attachment/UUID`
    pub fn attachment_arn(&self, id: &str) -> String {
        self.plain("attachment", &[id])
    }

    /// `arn:aws:iam::ACCOUNT:root`, the principal that account-wide settings are stored under.
    pub fn root_principal_arn(&self) -> String {
        format!("arn:{}:iam::{}:root", self.partition(), self.account)
    }

    fn plain(&self, kind: &str, parts: &[&str]) -> String {
        let mut arn = format!("arn:{}:ecs:{}:{}:{kind}", self.partition(), self.region, self.account);
        for part in parts {
            arn.push('/');
            arn.push_str(part);
        }
        arn
    }
}

#[cfg(test)]
mod tests;
