//! Where each record lives in the store: `/ecs/ACCOUNT/REGION/KIND/…`.
//!
//! Names are typed before they get here, so none holds a slash; free text (principals, tokens, subnet ids) is escaped.
//! [`Key::parse`] is the inverse and what the view is built from.

use gantry_domain::arn::{Arn, ContainerInstanceId, Name, Resource, Revision, Scope, TaskDefinitionKey, TaskId};

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

/// A service, or a managed daemon: it is kept as a DAEMON service is, has names of its own, and runs daemon task
/// definitions, which have names of their own too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "they say what they are")]
pub enum ServiceKind {
    #[default]
    Service,
    Daemon,
}

impl ServiceKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Service, Self::Daemon];

    /// What stands before `s`, `-deployments` and so on in keys.
    const fn word(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Daemon => "daemon",
        }
    }
}

/// Something of each kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PerKind<T> {
    of_services: T,
    of_daemons: T,
}

impl<T> PerKind<T> {
    /// The one of a kind.
    pub fn of(&self, kind: ServiceKind) -> &T {
        match kind {
            ServiceKind::Service => &self.of_services,
            ServiceKind::Daemon => &self.of_daemons,
        }
    }

    /// The same, to be changed.
    pub fn of_mut(&mut self, kind: ServiceKind) -> &mut T {
        match kind {
            ServiceKind::Service => &mut self.of_services,
            ServiceKind::Daemon => &mut self.of_daemons,
        }
    }
}

/// Names a service or a managed daemon.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// Which of the two.
    pub kind: ServiceKind,
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

impl ClusterKey {
    /// A task of the cluster.
    pub fn task(&self, id: TaskId) -> TaskKey {
        TaskKey { scope: self.scope.clone(), cluster: self.cluster.clone(), id }
    }
}

impl TaskKey {
    /// The task of an ARN that names its cluster.
    pub fn from_arn(text: &str) -> Option<Self> {
        let arn: Arn = text.parse().ok()?;
        match arn.resource {
            Resource::Task { cluster: Some(cluster), task } => Some(Self { scope: arn.scope, cluster, id: task }),
            _ => None,
        }
    }

    /// Its cluster.
    pub fn cluster_key(&self) -> ClusterKey {
        ClusterKey { scope: self.scope.clone(), cluster: self.cluster.clone() }
    }

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
    /// Its cluster.
    pub fn cluster_key(&self) -> ClusterKey {
        ClusterKey { scope: self.scope.clone(), cluster: self.cluster.clone() }
    }

    /// A service of that name.
    pub fn service(scope: Scope, cluster: Name, service: Name) -> Self {
        Self { kind: ServiceKind::Service, scope, cluster, service }
    }

    /// A managed daemon of that name.
    pub fn daemon(scope: Scope, cluster: Name, daemon: Name) -> Self {
        Self { kind: ServiceKind::Daemon, scope, cluster, service: daemon }
    }

    /// The service's ARN.
    pub fn arn(&self) -> String {
        let (cluster, name) = (self.cluster.as_str(), self.service.as_str());
        match self.kind {
            ServiceKind::Service => self.scope.service_arn(cluster, name),
            ServiceKind::Daemon => self.scope.daemon_arn(cluster, name),
        }
    }

    /// The ARN of a deployment of it.
    pub fn deployment_arn(&self, id: &str) -> String {
        let (cluster, name) = (self.cluster.as_str(), self.service.as_str());
        match self.kind {
            ServiceKind::Service => self.scope.service_deployment_arn(cluster, name, id),
            ServiceKind::Daemon => self.scope.daemon_deployment_arn(cluster, name, id),
        }
    }

    /// The ARN of a revision of it.
    pub fn revision_arn(&self, id: &str) -> String {
        let (cluster, name) = (self.cluster.as_str(), self.service.as_str());
        match self.kind {
            ServiceKind::Service => self.scope.service_revision_arn(cluster, name, id),
            ServiceKind::Daemon => self.scope.daemon_revision_arn(cluster, name, id),
        }
    }

    /// The group of its tasks.
    pub fn group(&self) -> String {
        format!("{}:{}", self.kind.word(), self.service)
    }

    /// Its place in the store.
    pub fn path(&self) -> String {
        path(&self.scope, &format!("{}s", self.kind.word()), &[self.cluster.as_str(), self.service.as_str()])
    }

    /// The place of a deployment of it; of all of them without an id.
    pub fn deployment_path(&self, id: &str) -> String {
        self.part_path("deployments", id)
    }

    /// The place of a revision of it; of all of them without an id.
    pub fn revision_path(&self, id: &str) -> String {
        self.part_path("revisions", id)
    }

    fn part_path(&self, parts: &str, id: &str) -> String {
        let kind = format!("{}-{parts}", self.kind.word());
        path(&self.scope, &kind, &[self.cluster.as_str(), self.service.as_str(), &escape(id)])
    }
}

impl InstanceKey {
    /// Its cluster.
    pub fn cluster_key(&self) -> ClusterKey {
        ClusterKey { scope: self.scope.clone(), cluster: self.cluster.clone() }
    }

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
pub fn family(scope: &Scope, kind: ServiceKind, family: &str) -> String {
    let families = match kind {
        ServiceKind::Service => "families",
        ServiceKind::Daemon => "daemon-families",
    };
    path(scope, families, &[family])
}

/// Key of one revision of a task definition, or of a daemon task definition. Padded, so that keys sort as revisions do.
pub fn task_definition(scope: &Scope, kind: ServiceKind, key: &TaskDefinitionKey) -> String {
    let definitions = match kind {
        ServiceKind::Service => "task-definitions",
        ServiceKind::Daemon => "daemon-task-definitions",
    };
    path(scope, definitions, &[key.family.as_str(), &format!("{:010}", key.revision.get())])
}

/// Key of a task.
pub fn task(scope: &Scope, cluster: &str, id: TaskId) -> String {
    path(scope, "tasks", &[cluster, &id.to_string()])
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

/// Key of a session of ECS Exec.
pub fn exec_session(scope: &Scope, id: &str) -> String {
    path(scope, "exec-sessions", &[&escape(id)])
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
    Family { kind: ServiceKind, family: Name },
    TaskDefinition(ServiceKind, TaskDefinitionKey),
    Task { cluster: Name, id: TaskId },
    Service { kind: ServiceKind, cluster: Name, name: Name },
    ServiceDeployment { kind: ServiceKind, cluster: Name, service: Name, id: String },
    ServiceRevision { kind: ServiceKind, cluster: Name, service: Name, id: String },
    Instance { cluster: Name, id: ContainerInstanceId },
    Placements { cluster: Name, id: ContainerInstanceId },
    AccountSetting { principal: String, name: String },
    ClientToken { operation: String, cluster: Name, token: String },
    ExecSession { id: String },
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
        use ServiceKind::{Daemon, Service};
        let mut text = || parts.next();
        Some(match kind {
            "clusters" => Self::Cluster { name: text()?.parse().ok()? },
            "capacity-providers" => Self::CapacityProvider { name: text()?.parse().ok()? },
            "families" => Self::Family { kind: Service, family: text()?.parse().ok()? },
            "daemon-families" => Self::Family { kind: Daemon, family: text()?.parse().ok()? },
            "task-definitions" | "daemon-task-definitions" => Self::TaskDefinition(
                if kind == "task-definitions" { Service } else { Daemon },
                TaskDefinitionKey { family: text()?.parse().ok()?, revision: Revision::new(text()?.parse().ok()?)? },
            ),
            "tasks" => Self::Task { cluster: text()?.parse().ok()?, id: text()?.parse().ok()? },
            "services" | "daemons" => Self::Service {
                kind: if kind == "services" { Service } else { Daemon },
                cluster: text()?.parse().ok()?,
                name: text()?.parse().ok()?,
            },
            "service-deployments" | "daemon-deployments" => Self::ServiceDeployment {
                kind: if kind == "service-deployments" { Service } else { Daemon },
                cluster: text()?.parse().ok()?,
                service: text()?.parse().ok()?,
                id: unescape(text()?),
            },
            "service-revisions" | "daemon-revisions" => Self::ServiceRevision {
                kind: if kind == "service-revisions" { Service } else { Daemon },
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
            "exec-sessions" => Self::ExecSession { id: unescape(text()?) },
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
        let web = ServiceKey::service(scope.clone(), name("c"), name("s"));
        let agent = ServiceKey::daemon(scope.clone(), name("c"), name("s"));
        let (kind, daemon) = (ServiceKind::Service, ServiceKind::Daemon);
        let (service, id_of) = (|| name("s"), |id: &str| id.to_owned());
        let table = [
            (cluster(&scope, "c"), Key::Cluster { name: c() }),
            (capacity_provider(&scope, "p"), Key::CapacityProvider { name: name("p") }),
            (family(&scope, kind, "f"), Key::Family { kind, family: name("f") }),
            (family(&scope, daemon, "f"), Key::Family { kind: daemon, family: name("f") }),
            (task_definition(&scope, kind, &definition(12)), Key::TaskDefinition(kind, definition(12))),
            (task_definition(&scope, daemon, &definition(12)), Key::TaskDefinition(daemon, definition(12))),
            (task(&scope, "c", id), Key::Task { cluster: c(), id }),
            (web.path(), Key::Service { kind, cluster: c(), name: service() }),
            (agent.path(), Key::Service { kind: daemon, cluster: c(), name: service() }),
            (
                web.deployment_path("ecs-svc/1"),
                Key::ServiceDeployment { kind, cluster: c(), service: service(), id: id_of("ecs-svc/1") },
            ),
            (
                agent.deployment_path("1"),
                Key::ServiceDeployment { kind: daemon, cluster: c(), service: service(), id: id_of("1") },
            ),
            (web.revision_path("12"), Key::ServiceRevision { kind, cluster: c(), service: service(), id: id_of("12") }),
            (
                agent.revision_path("12"),
                Key::ServiceRevision { kind: daemon, cluster: c(), service: service(), id: id_of("12") },
            ),
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
            (exec_session(&scope, "e-1"), Key::ExecSession { id: "e-1".into() }),
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
        let key = |revision| task_definition(&scope, ServiceKind::Service, &definition(revision));
        assert!(key(9) < key(10));
    }

    #[test]
    fn other_keys_are_nobodys() {
        for text in ["", "/ecs", "/ecs/a/r", "/ecs/a/r/tasks/c/zz", "/ecs/a/r/clusters/c/d", "/ecr/a/r/clusters/c"] {
            assert_eq!(Key::parse(text), None, "{text}");
        }
    }
}
