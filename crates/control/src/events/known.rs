//! What was told last, and what of a new row is news.

use std::collections::BTreeMap;

use gantry_domain::{
    deployment::{DeploymentId, RolloutState},
    task::{ContainerStatus, DesiredStatus, HealthStatus, LastStatus},
};

use crate::{
    keys::{InstanceKey, ServiceKey, TaskKey},
    records::{
        AttachmentStatus, DeploymentRecord, EventRecord, InstanceRecord, InstanceStatus, ServiceRecord, TaskRecord,
    },
    view::EcsView,
};

/// The parts of a task whose change is an event.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TaskState {
    last_status: LastStatus,
    desired_status: DesiredStatus,
    health: HealthStatus,
    containers: Vec<(ContainerStatus, HealthStatus)>,
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
    tasks: BTreeMap<TaskKey, TaskState>,
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
    /// Takes everything in the picture for told.
    pub(super) fn load(&mut self, view: &EcsView) {
        for (key, host) in view.hosts() {
            if let Some(row) = &host.row {
                self.instance_changed(key, Some(row));
            }
        }
        for (scope, space) in view.namespaces() {
            for (cluster, cluster_view) in space.clusters() {
                for (service, row) in cluster_view.services() {
                    let key = ServiceKey { scope: scope.clone(), cluster: cluster.clone(), service: service.clone() };
                    self.service_news(&key, row);
                }
                use crate::view::Phase::{Stopped, Stopping, Wanted};
                let tasks = cluster_view.tasks();
                for task in tasks.walk(tasks.all(), &[Wanted, Stopping, Stopped], None) {
                    let key = TaskKey { scope: scope.clone(), cluster: cluster.clone(), id: task.id };
                    self.task_changed(&key, task);
                }
            }
        }
    }

    pub(super) fn task_changed(&mut self, key: &TaskKey, record: &TaskRecord) -> TaskChange {
        let state = TaskState::of(record);
        let stopped = |state: &TaskState| state.last_status.is_final();
        match self.tasks.insert(key.clone(), state.clone()) {
            None => TaskChange { told: true, resources: true },
            Some(before) => TaskChange { told: before != state, resources: stopped(&before) != stopped(&state) },
        }
    }

    pub(super) fn forget_task(&mut self, key: &TaskKey) {
        self.tasks.remove(key);
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

    pub(super) fn service_news<'a>(&mut self, key: &ServiceKey, record: &'a ServiceRecord) -> ServiceNews<'a> {
        let state = self.services.entry(key.clone()).or_default();
        let told = state.newest_event.take();
        let fresh = record.events.iter().take_while(|event| Some(&event.id) != told.as_ref());
        let mut events: Vec<&EventRecord> = fresh.collect();
        events.reverse();
        state.newest_event = record.events.front().map(|event| event.id.clone());
        let changed =
            |deployment: &&DeploymentRecord| state.deployments.get(&deployment.id) != Some(&deployment.rollout);
        let deployments: Vec<&DeploymentRecord> = record.deployments.iter().filter(changed).collect();
        state.deployments = record.deployments.iter().map(|one| (one.id, one.rollout)).collect();
        ServiceNews { events, deployments }
    }

    pub(super) fn forget_service(&mut self, key: &ServiceKey) {
        self.services.remove(key);
    }
}
