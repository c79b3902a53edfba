//! What was told last, and what of a new row is news.

use std::{collections::BTreeMap, sync::Arc};

use gantry_domain::{
    Timestamp,
    arn::TaskId,
    deployment::{DeploymentId, RolloutState},
    task::{ContainerStatus, DesiredStatus, HealthStatus, LastStatus},
};

use crate::{
    keys::{ClusterKey, InstanceKey, ServiceKey, ServiceKind, TaskKey},
    records::{
        AttachmentStatus, DeploymentRecord, EventRecord, InstanceRecord, InstanceStatus, ServiceRecord, SharedRow,
        TaskRecord,
    },
    view::{EcsView, TaskRow},
};

use super::position::Position;

/// An event of a service that was made this long before the position may have been committed after it.
const COMMIT_MS_MAX: i64 = 60_000;

/// The parts of a task whose change is an event.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TaskState {
    last_status: LastStatus,
    desired_status: DesiredStatus,
    health: HealthStatus,
    containers: Box<[(ContainerStatus, HealthStatus)]>,
    attachment: Option<AttachmentStatus>,
}

impl TaskState {
    fn of(record: &TaskRecord) -> Self {
        Self {
            last_status: record.life.last_status,
            desired_status: record.life.desired_status,
            health: record.health,
            containers: record.containers.iter().map(|one| (one.last_status, one.health)).collect(),
            attachment: record.network.as_ref().map(|network| network.status),
        }
    }
}

/// The parts of an instance whose change is an event, besides the tasks on it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct InstanceState {
    status: InstanceStatus,
    agent_connected: bool,
    attributes: usize,
    agent_version: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct ServiceState {
    newest_event: Option<String>,
    deployments: BTreeMap<DeploymentId, RolloutState>,
}

/// What is known of every row.
#[derive(Debug, Default)]
pub(super) struct Known {
    tasks: BTreeMap<ClusterKey, BTreeMap<TaskId, TaskState>>,
    instances: BTreeMap<InstanceKey, InstanceState>,
    services: BTreeMap<ServiceKey, ServiceState>,
}

/// What a task's new row means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TaskChange {
    /// It is an event.
    pub(super) told: bool,
    /// The task began or ceased to hold resources of its instance.
    pub(super) resources: bool,
}

/// What a service's new row tells.
#[derive(Debug, Default)]
pub(super) struct ServiceNews<'a> {
    /// Oldest first.
    pub(super) events: Vec<&'a EventRecord>,
    pub(super) deployments: Vec<&'a DeploymentRecord>,
}

impl Known {
    /// Takes everything in the picture that was committed up to `told` for told.
    pub(super) fn load(&mut self, view: &EcsView, told: Position) {
        each(view, |row| match row {
            Row::Instance(key, row) if row.revision <= told.revision => drop(self.instance_changed(&key, Some(row))),
            Row::Service(key, row) if row.revision <= told.revision => drop(self.service_news(&key, row, told.at())),
            Row::Task(key, row) if row.revision <= told.revision => drop(self.task_changed(&key, row)),
            _ => {}
        });
    }

    pub(super) fn task_changed(&mut self, key: &TaskKey, record: &TaskRecord) -> TaskChange {
        let state = TaskState::of(record);
        let stopped = |state: &TaskState| state.last_status.is_final();
        match self.tasks.entry(key.cluster_key()).or_default().insert(key.id, state.clone()) {
            None => TaskChange { told: true, resources: true },
            Some(before) => TaskChange { told: before != state, resources: stopped(&before) != stopped(&state) },
        }
    }

    pub(super) fn forget_task(&mut self, key: &TaskKey) {
        let cluster = key.cluster_key();
        if let Some(tasks) = self.tasks.get_mut(&cluster) {
            tasks.remove(&key.id);
            if tasks.is_empty() {
                self.tasks.remove(&cluster);
            }
        }
    }

    pub(super) fn instance_changed(&mut self, key: &InstanceKey, record: Option<&InstanceRecord>) -> bool {
        let Some(record) = record else {
            self.instances.remove(key);
            return false;
        };
        let state = InstanceState {
            status: record.status,
            agent_connected: record.agent_connected,
            attributes: record.all_attributes().count(),
            agent_version: record.version_info.as_ref().and_then(|info| info.agent_version.clone()),
        };
        self.instances.insert(key.clone(), state.clone()).as_ref() != Some(&state)
    }

    /// What is new of a service. Of one that is not known, what was made before `since` is taken for told.
    pub(super) fn service_news<'a>(
        &mut self,
        key: &ServiceKey,
        record: &'a ServiceRecord,
        since: Timestamp,
    ) -> ServiceNews<'a> {
        let is_known = self.services.contains_key(key);
        let is_recent = |at: Timestamp| is_known || at >= since.plus_millis(-COMMIT_MS_MAX);
        let state = self.services.entry(key.clone()).or_default();
        let told = state.newest_event.take();
        let fresh = record.events.iter().take_while(|event| Some(&event.id) != told.as_ref() && is_recent(event.at));
        let mut events: Vec<&EventRecord> = fresh.collect();
        events.reverse();
        state.newest_event = record.events.front().map(|event| event.id.clone());
        let changed =
            |deployment: &&DeploymentRecord| state.deployments.get(&deployment.id) != Some(&deployment.rollout);
        let changed = record.deployments.iter().filter(changed).filter(|one| is_recent(one.updated_at));
        let deployments: Vec<&DeploymentRecord> = changed.collect();
        state.deployments = record.deployments.iter().map(|one| (one.id, one.rollout)).collect();
        ServiceNews { events, deployments }
    }

    pub(super) fn forget_service(&mut self, key: &ServiceKey) {
        self.services.remove(key);
    }
}

/// What changed after a position, as it is now.
#[derive(Debug, Default)]
pub(super) struct Changed {
    pub(super) tasks: Vec<(TaskKey, Arc<TaskRow>)>,
    pub(super) instances: Vec<(InstanceKey, SharedRow<InstanceRecord>)>,
    pub(super) services: Vec<(ServiceKey, SharedRow<ServiceRecord>)>,
}

impl Changed {
    pub(super) fn since(view: &EcsView, told: Position) -> Self {
        let mut changed = Self::default();
        each(view, |row| match row {
            Row::Instance(key, row) if row.revision > told.revision => changed.instances.push((key, row.clone())),
            Row::Service(key, row) if row.revision > told.revision => changed.services.push((key, row.clone())),
            Row::Task(key, row) if row.revision > told.revision => changed.tasks.push((key, row.clone())),
            _ => {}
        });
        changed
    }
}

/// A row of the picture that events tell of.
enum Row<'a> {
    Task(TaskKey, &'a Arc<TaskRow>),
    Instance(InstanceKey, &'a SharedRow<InstanceRecord>),
    Service(ServiceKey, &'a SharedRow<ServiceRecord>),
}

fn each<'a>(view: &'a EcsView, mut look: impl FnMut(Row<'a>)) {
    use crate::view::Phase::{Stopped, Stopping, Wanted};
    for (key, host) in view.hosts() {
        if let Some(row) = &host.row {
            look(Row::Instance(key.clone(), row));
        }
    }
    for (scope, space) in view.namespaces() {
        for (cluster, cluster_view) in space.clusters() {
            for kind in ServiceKind::ALL {
                for (service, row) in cluster_view.kept(kind).rows() {
                    let (scope, cluster, service) = (scope.clone(), cluster.clone(), service.clone());
                    look(Row::Service(ServiceKey { kind, scope, cluster, service }, row));
                }
            }
            let tasks = cluster_view.tasks();
            for task in tasks.walk(tasks.all(), &[Wanted, Stopping, Stopped], None) {
                let key = TaskKey { scope: scope.clone(), cluster: cluster.clone(), id: task.id };
                look(Row::Task(key, task));
            }
        }
    }
}
