//! What an ECS ARN can name.

use std::fmt;
use std::str::FromStr;

use super::{ContainerInstanceId, Name, Scope, TaskDefinitionKey, TaskId, is_account};

/// Why a text is not an ECS ARN.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArnError {
    /// Not `arn:PARTITION:ecs:REGION:ACCOUNT:RESOURCE`.
    #[error("not an ECS ARN")]
    NotEcs,
    /// The resource part is of a kind or a shape that ECS does not have.
    #[error("no such kind of ECS resource")]
    Resource,
}

/// An ECS ARN taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arn {
    /// Account and region; the partition follows from the region.
    pub scope: Scope,
    /// What it names.
    pub resource: Resource,
}

impl FromStr for Arn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", partition, "ecs", region, account, resource] = parts[..] else { return Err(ArnError::NotEcs) };
        let scope = Scope::new(account, region);
        if !is_account(account) || region.is_empty() || scope.partition() != partition {
            return Err(ArnError::NotEcs);
        }
        Ok(Self { scope, resource: resource.parse()? })
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.scope.arn(&self.resource))
    }
}

/// The resource part of an ECS ARN. `cluster: None` is the short form from before 2018, which clients may still send.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is the ARN form of the ECS resource it is named after")]
pub enum Resource {
    Cluster(Name),
    Service { cluster: Option<Name>, service: Name },
    Task { cluster: Option<Name>, task: TaskId },
    ContainerInstance { cluster: Option<Name>, instance: ContainerInstanceId },
    Container { cluster: Name, task: TaskId, container: String },
    TaskDefinition(TaskDefinitionKey),
    CapacityProvider(Name),
    TaskSet { cluster: Name, service: Name, id: String },
    ServiceDeployment { cluster: Name, service: Name, id: String },
    ServiceRevision { cluster: Name, service: Name, id: String },
    Attachment(String),
    Daemon { cluster: Name, daemon: Name },
    DaemonDeployment { cluster: Name, daemon: Name, id: String },
    DaemonRevision { cluster: Name, daemon: Name, id: String },
    DaemonTaskDefinition(TaskDefinitionKey),
}

impl FromStr for Resource {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let parts: Vec<&str> = text.split('/').collect();
        let resource = match parts[..] {
            ["cluster", cluster] => Self::Cluster(part(cluster)?),
            ["service", service] => Self::Service { cluster: None, service: part(service)? },
            ["service", cluster, service] => Self::Service { cluster: Some(part(cluster)?), service: part(service)? },
            ["task", task] => Self::Task { cluster: None, task: part(task)? },
            ["task", cluster, task] => Self::Task { cluster: Some(part(cluster)?), task: part(task)? },
            ["container-instance", instance] => Self::ContainerInstance { cluster: None, instance: part(instance)? },
            ["container-instance", cluster, instance] => {
                Self::ContainerInstance { cluster: Some(part(cluster)?), instance: part(instance)? }
            }
            ["container", cluster, task, container] => {
                Self::Container { cluster: part(cluster)?, task: part(task)?, container: opaque(container)? }
            }
            ["task-definition", key] => Self::TaskDefinition(task_definition_key(key)?),
            ["capacity-provider", name] => Self::CapacityProvider(part(name)?),
            ["task-set", cluster, service, "ecs-svc", number] => {
                let id = format!("ecs-svc/{}", opaque(number)?);
                Self::TaskSet { cluster: part(cluster)?, service: part(service)?, id }
            }
            ["service-deployment", cluster, service, id] => {
                Self::ServiceDeployment { cluster: part(cluster)?, service: part(service)?, id: opaque(id)? }
            }
            ["service-revision", cluster, service, id] => {
                Self::ServiceRevision { cluster: part(cluster)?, service: part(service)?, id: opaque(id)? }
            }
            ["attachment", id] => Self::Attachment(opaque(id)?),
            ["daemon", cluster, daemon] => Self::Daemon { cluster: part(cluster)?, daemon: part(daemon)? },
            ["daemon-deployment", cluster, daemon, id] => {
                Self::DaemonDeployment { cluster: part(cluster)?, daemon: part(daemon)?, id: opaque(id)? }
            }
            ["daemon-revision", cluster, daemon, id] => {
                Self::DaemonRevision { cluster: part(cluster)?, daemon: part(daemon)?, id: opaque(id)? }
            }
            ["daemon-task-definition", key] => Self::DaemonTaskDefinition(task_definition_key(key)?),
            _ => return Err(ArnError::Resource),
        };
        Ok(resource)
    }
}

fn part<T: FromStr>(text: &str) -> Result<T, ArnError> {
    text.parse().map_err(|_| ArnError::Resource)
}

/// An id we only compare: the alphabet of names, and no more than one.
fn opaque(text: &str) -> Result<String, ArnError> {
    part::<Name>(text).map(String::from)
}

fn task_definition_key(text: &str) -> Result<TaskDefinitionKey, ArnError> {
    let (family, revision) = text.split_once(':').ok_or(ArnError::Resource)?;
    Ok(TaskDefinitionKey { family: part(family)?, revision: part(revision)? })
}

impl fmt::Display for Resource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster(name) => write!(formatter, "cluster/{name}"),
            Self::Service { cluster, service } => within(formatter, "service", cluster.as_ref(), service),
            Self::Task { cluster, task } => within(formatter, "task", cluster.as_ref(), task),
            Self::ContainerInstance { cluster, instance } => {
                within(formatter, "container-instance", cluster.as_ref(), instance)
            }
            Self::Container { cluster, task, container } => {
                write!(formatter, "container/{cluster}/{task}/{container}")
            }
            Self::TaskDefinition(key) => write!(formatter, "task-definition/{key}"),
            Self::CapacityProvider(name) => write!(formatter, "capacity-provider/{name}"),
            Self::TaskSet { cluster, service, id } => write!(formatter, "task-set/{cluster}/{service}/{id}"),
            Self::ServiceDeployment { cluster, service, id } => {
                write!(formatter, "service-deployment/{cluster}/{service}/{id}")
            }
            Self::ServiceRevision { cluster, service, id } => {
                write!(formatter, "service-revision/{cluster}/{service}/{id}")
            }
            Self::Attachment(id) => write!(formatter, "attachment/{id}"),
            Self::Daemon { cluster, daemon } => write!(formatter, "daemon/{cluster}/{daemon}"),
            Self::DaemonDeployment { cluster, daemon, id } => {
                write!(formatter, "daemon-deployment/{cluster}/{daemon}/{id}")
            }
            Self::DaemonRevision { cluster, daemon, id } => {
                write!(formatter, "daemon-revision/{cluster}/{daemon}/{id}")
            }
            Self::DaemonTaskDefinition(key) => write!(formatter, "daemon-task-definition/{key}"),
        }
    }
}

fn within(
    formatter: &mut fmt::Formatter<'_>,
    kind: &str,
    cluster: Option<&Name>,
    id: &dyn fmt::Display,
) -> fmt::Result {
    match cluster {
        Some(cluster) => write!(formatter, "{kind}/{cluster}/{id}"),
        None => write!(formatter, "{kind}/{id}"),
    }
}
