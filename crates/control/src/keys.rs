//! Where each record lives in the store: `/ecs/ACCOUNT/REGION/KIND/…`.
//!
//! Names are typed before they get here, so none holds a slash; free text (principals, tokens, subnet ids) is escaped.
//! [`Key::parse`] is the inverse and what the view is built from.

use gantry_domain::arn::{ContainerInstanceId, Name, Revision, Scope, TaskDefinitionKey, TaskId};

/// Everything ECS keeps is below this.
pub const PREFIX: &str = "/ecs/";

/// Names a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterKey {
    /// Account and region.
    pub scope: Scope,
    /// The cluster's name.
    pub cluster: Name,
}

/// Names a task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    /// Account and region.
    pub scope: Scope,
    /// The cluster's name.
    pub cluster: Name,
    /// The task's id.
    pub id: TaskId,
}

/// Names a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// Account and region.
    pub scope: Scope,
    /// The cluster's name.
    pub cluster: Name,
    /// The service's name.
    pub service: Name,
}

/// Names a container instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceKey {
    /// Account and region.
    pub scope: Scope,
    /// The cluster's name.
    pub cluster: Name,
    /// The instance's id.
    pub id: ContainerInstanceId,
}

impl TaskKey {
    /// The task's ARN.
    pub fn arn(&self) -> String {
        self.scope.task_arn(self.cluster.as_str(), self.id)
    }

    /// Its place in the store.
    pub fn path(&self) -> String {
        task(&self.scope, self.cluster.as_str(), self.id)
    }
}

impl ServiceKey {
    /// The service's ARN.
    pub fn arn(&self) -> String {
        self.scope.service_arn(self.cluster.as_str(), self.service.as_str())
    }

    /// Its place in the store.
    pub fn path(&self) -> String {
        service(&self.scope, self.cluster.as_str(), self.service.as_str())
    }
}

impl InstanceKey {
    /// The container instance's ARN.
    pub fn arn(&self) -> String {
        self.scope.container_instance_arn(self.cluster.as_str(), self.id)
    }

    /// Its place in the store.
    pub fn path(&self) -> String {
        instance(&self.scope, self.cluster.as_str(), self.id)
    }

    /// The place of its placement counter: every placement on the instance writes it, so two plans that used the same
    /// free resources cannot both commit. It is apart from the instance to keep placements small.
    pub fn placements_path(&self) -> String {
        let Scope { account, region } = &self.scope;
        format!("{PREFIX}{account}/{region}/placements/{}/{}", self.cluster, self.id)
    }
}

fn path(scope: &Scope, kind: &str, parts: &[&str]) -> String {
    let mut path = format!("{PREFIX}{}/{}/{kind}", scope.account, scope.region);
    for part in parts {
        path.push('/');
        path.push_str(part);
    }
    path
}

/// Key of a cluster.
pub fn cluster(scope: &Scope, name: &str) -> String {
    path(scope, "clusters", &[name])
}

/// Key of a capacity provider.
pub fn capacity_provider(scope: &Scope, name: &str) -> String {
    path(scope, "capacity-providers", &[name])
}

/// Key of the counter of a family's revisions.
pub fn family(scope: &Scope, family: &str) -> String {
    path(scope, "families", &[family])
}

/// Key of one revision of a task definition. Padded, so that keys sort as revisions do.
pub fn task_definition(scope: &Scope, key: &TaskDefinitionKey) -> String {
    path(scope, "task-definitions", &[key.family.as_str(), &format!("{:010}", key.revision.get())])
}

/// Key of a task.
pub fn task(scope: &Scope, cluster: &str, id: TaskId) -> String {
    path(scope, "tasks", &[cluster, &id.to_string()])
}

/// Key of a service.
pub fn service(scope: &Scope, cluster: &str, name: &str) -> String {
    path(scope, "services", &[cluster, name])
}

/// Key of a service deployment.
pub fn service_deployment(scope: &Scope, cluster: &str, service: &str, id: &str) -> String {
    path(scope, "service-deployments", &[cluster, service, &escape(id)])
}

/// Key of a service revision.
pub fn service_revision(scope: &Scope, cluster: &str, service: &str, id: &str) -> String {
    path(scope, "service-revisions", &[cluster, service, &escape(id)])
}

/// Key of a container instance.
pub fn instance(scope: &Scope, cluster: &str, id: ContainerInstanceId) -> String {
    path(scope, "instances", &[cluster, &id.to_string()])
}

/// Key of an account setting; `principal` is an ARN.
pub fn account_setting(scope: &Scope, principal: &str, name: &str) -> String {
    path(scope, "settings", &[&escape(principal), &escape(name)])
}

/// Key of the memory of a client token.
pub fn client_token(scope: &Scope, operation: &str, cluster: &str, token: &str) -> String {
    path(scope, "client-tokens", &[operation, cluster, &escape(token)])
}

/// Key of a subnet.
pub fn subnet(scope: &Scope, subnet: &str) -> String {
    path(scope, "subnets", &[&escape(subnet)])
}

/// Key of an alarm's row.
pub fn alarm(scope: &Scope, name: &str) -> String {
    gantry_api::alarm::key(&scope.account, &scope.region, name)
}

/// Key of a block of addresses. Blocks belong to no account: all subnets share the hosts' routing tables.
pub fn subnet_block(block: u16) -> String {
    format!("{PREFIX}-/-/subnet-blocks/{block:04}")
}

/// Slashes and percent signs of free text would change the shape of a key.
fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('/', "%2F")
}

fn unescape(text: &str) -> String {
    text.replace("%2F", "/").replace("%25", "%")
}

/// What a key names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say what the functions above say")]
pub enum Key {
    Cluster { name: Name },
    CapacityProvider { name: Name },
    Family { family: Name },
    TaskDefinition(TaskDefinitionKey),
    Task { cluster: Name, id: TaskId },
    Service { cluster: Name, name: Name },
    ServiceDeployment { cluster: Name, service: Name, id: String },
    ServiceRevision { cluster: Name, service: Name, id: String },
    Instance { cluster: Name, id: ContainerInstanceId },
    Placements { cluster: Name, id: ContainerInstanceId },
    AccountSetting { principal: String, name: String },
    ClientToken { operation: String, cluster: Name, token: String },
    Subnet { subnet: String },
    SubnetBlock { block: u16 },
    Alarm { name: String },
}

impl Key {
    /// Reads a key; `None` for one that is not ours (a newer version's, or damage: the caller logs it).
    pub fn parse(text: &str) -> Option<(Scope, Self)> {
        let mut parts = text.strip_prefix(PREFIX)?.split('/');
        let scope = Scope::new(parts.next()?, parts.next()?);
        let kind = parts.next()?;
        let key = Self::parse_parts(kind, &mut parts)?;
        parts.next().is_none().then_some((scope, key))
    }

    fn parse_parts<'a>(kind: &str, parts: &mut impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut text = || parts.next();
        Some(match kind {
            "clusters" => Self::Cluster { name: text()?.parse().ok()? },
            "capacity-providers" => Self::CapacityProvider { name: text()?.parse().ok()? },
            "families" => Self::Family { family: text()?.parse().ok()? },
            "task-definitions" => Self::TaskDefinition(TaskDefinitionKey {
                family: text()?.parse().ok()?,
                revision: Revision::new(text()?.parse().ok()?)?,
            }),
            "tasks" => Self::Task { cluster: text()?.parse().ok()?, id: text()?.parse().ok()? },
            "services" => Self::Service { cluster: text()?.parse().ok()?, name: text()?.parse().ok()? },
            "service-deployments" => Self::ServiceDeployment {
                cluster: text()?.parse().ok()?,
                service: text()?.parse().ok()?,
                id: unescape(text()?),
            },
            "service-revisions" => Self::ServiceRevision {
                cluster: text()?.parse().ok()?,
                service: text()?.parse().ok()?,
                id: unescape(text()?),
            },
            "instances" => Self::Instance { cluster: text()?.parse().ok()?, id: text()?.parse().ok()? },
            "placements" => Self::Placements { cluster: text()?.parse().ok()?, id: text()?.parse().ok()? },
            "settings" => Self::AccountSetting { principal: unescape(text()?), name: unescape(text()?) },
            "client-tokens" => Self::ClientToken {
                operation: text()?.to_owned(),
                cluster: text()?.parse().ok()?,
                token: unescape(text()?),
            },
            "subnets" => Self::Subnet { subnet: unescape(text()?) },
            "alarms" => Self::Alarm { name: unescape(text()?) },
            "subnet-blocks" => Self::SubnetBlock { block: text()?.parse().ok()? },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn definition(revision: u32) -> TaskDefinitionKey {
        TaskDefinitionKey { family: name("f"), revision: Revision::new(revision).unwrap() }
    }

    #[test]
    fn every_key_is_read_back() {
        let scope = Scope::new("000000000000", "us-east-1");
        let (id, host) = (TaskId::from_bytes([7; 16]), ContainerInstanceId::from_bytes([9; 16]));
        let instance_key = InstanceKey { scope: scope.clone(), cluster: name("c"), id: host };
        let principal = "arn:aws:iam::1:user/a%2Fb";
        let c = || name("c");
        let deployment = |id: &str| (c(), name("s"), id.to_owned());
        let table = [
            (cluster(&scope, "c"), Key::Cluster { name: c() }),
            (capacity_provider(&scope, "p"), Key::CapacityProvider { name: name("p") }),
            (family(&scope, "f"), Key::Family { family: name("f") }),
            (task_definition(&scope, &definition(12)), Key::TaskDefinition(definition(12))),
            (task(&scope, "c", id), Key::Task { cluster: c(), id }),
            (service(&scope, "c", "s"), Key::Service { cluster: c(), name: name("s") }),
            (service_deployment(&scope, "c", "s", "ecs-svc/1"), {
                let (cluster, service, id) = deployment("ecs-svc/1");
                Key::ServiceDeployment { cluster, service, id }
            }),
            (service_revision(&scope, "c", "s", "12"), {
                let (cluster, service, id) = deployment("12");
                Key::ServiceRevision { cluster, service, id }
            }),
            (instance(&scope, "c", host), Key::Instance { cluster: c(), id: host }),
            (instance_key.placements_path(), Key::Placements { cluster: c(), id: host }),
            (
                account_setting(&scope, principal, "n"),
                Key::AccountSetting { principal: principal.into(), name: "n".into() },
            ),
            (
                client_token(&scope, "RunTask", "c", "a/b%"),
                Key::ClientToken { operation: "RunTask".into(), cluster: c(), token: "a/b%".into() },
            ),
            (subnet(&scope, "subnet-1"), Key::Subnet { subnet: "subnet-1".into() }),
            (alarm(&scope, "a/b%2F"), Key::Alarm { name: "a/b%2F".into() }),
        ];
        for (text, key) in table {
            assert_eq!(Key::parse(&text), Some((scope.clone(), key)), "{text}");
        }
        assert_eq!(Key::parse(&subnet_block(17)), Some((Scope::new("-", "-"), Key::SubnetBlock { block: 17 })));
    }

    #[test]
    fn revisions_sort_as_numbers() {
        let scope = Scope::new("0", "r");
        assert!(task_definition(&scope, &definition(9)) < task_definition(&scope, &definition(10)));
    }

    #[test]
    fn other_keys_are_nobodys() {
        for text in ["", "/ecs", "/ecs/a/r", "/ecs/a/r/tasks/c/zz", "/ecs/a/r/clusters/c/d", "/ecr/a/r/clusters/c"] {
            assert_eq!(Key::parse(text), None, "{text}");
        }
    }
}
