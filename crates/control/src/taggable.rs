//! Resources that have tags, found by their ARN.

use std::collections::BTreeMap;

use bytes::Bytes;
use gantry_api::Fault;
use gantry_domain::{
    arn::{Arn, Name, Resource, Scope, TaskDefinitionKey},
    deployment::DeploymentId,
    tags::{TagError, Tags},
};
use gantry_store::{Revision, Txn};

use crate::{
    Control, EcsView, Plan,
    capacity_providers::BUILT_IN,
    control::active_cluster,
    fault,
    keys::{self, InstanceKey, ServiceKey, ServiceKind, TaskKey},
    records::{ServiceStatus, encode},
};

/// Which resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Taggable {
    Cluster(Name),
    CapacityProvider(Name),
    Service(ServiceKey),
    Task(TaskKey),
    Instance(InstanceKey),
    TaskDefinition(ServiceKind, TaskDefinitionKey),
    TaskSet(ServiceKey, DeploymentId),
}

impl Taggable {
    /// Reads the ARN of a request.
    pub(crate) fn parse(scope: &Scope, arn: Option<&str>) -> Result<Self, Fault> {
        let arn: Arn = arn.unwrap_or_default().parse().map_err(|_| fault::arn_invalid())?;
        scope.same_place(&arn.scope).map_err(|error| fault::elsewhere(&error))?;
        let scope = arn.scope;
        match arn.resource {
            Resource::Cluster(name) => Ok(Self::Cluster(name)),
            Resource::TaskDefinition(key) => Ok(Self::TaskDefinition(ServiceKind::Service, key)),
            Resource::DaemonTaskDefinition(key) => Ok(Self::TaskDefinition(ServiceKind::Daemon, key)),
            Resource::Daemon { cluster, daemon } => Ok(Self::Service(ServiceKey::daemon(scope, cluster, daemon))),
            Resource::Service { cluster: Some(cluster), service } => {
                Ok(Self::Service(ServiceKey::service(scope, cluster, service)))
            }
            Resource::Task { cluster: Some(cluster), task } => Ok(Self::Task(TaskKey { scope, cluster, id: task })),
            Resource::ContainerInstance { cluster: Some(cluster), instance } => {
                Ok(Self::Instance(InstanceKey { scope, cluster, id: instance }))
            }
            Resource::TaskSet { cluster, service, id } => {
                let id = DeploymentId::parse(&id).ok_or_else(fault::arn_invalid)?;
                Ok(Self::TaskSet(ServiceKey::service(scope, cluster, service), id))
            }
            Resource::Service { cluster: None, .. }
            | Resource::Task { cluster: None, .. }
            | Resource::ContainerInstance { cluster: None, .. } => Err(fault::long_arn_required()),
            // Fargate's belong to nobody, so they have no tags.
            Resource::CapacityProvider(name) if BUILT_IN.contains(&name.as_str()) => Err(fault::arn_invalid()),
            Resource::CapacityProvider(name) => Ok(Self::CapacityProvider(name)),
            // The rest has no tags of its own.
            _ => Err(fault::arn_invalid()),
        }
    }

    /// The resource's row, as far as its tags go.
    pub(crate) fn look(&self, view: &EcsView, scope: &Scope) -> Result<Tagged, Fault> {
        match self {
            Self::Cluster(name) => look_at_cluster(view, scope, name),
            Self::CapacityProvider(name) => look_at_capacity_provider(view, scope, name),
            Self::Service(key) => look_at_service(view, key),
            Self::Task(key) => look_at_task(view, key),
            Self::Instance(key) => look_at_instance(view, key),
            Self::TaskDefinition(kind, key) => look_at_task_definition(view, scope, *kind, key),
            Self::TaskSet(key, id) => look_at_task_set(view, key, *id),
        }
    }
}

/// The tags of a row, and how to write it with others.
pub(crate) struct Tagged {
    pub(crate) tags: BTreeMap<String, String>,
    path: String,
    revision: Revision,
    with: Box<dyn FnOnce(BTreeMap<String, String>) -> Bytes>,
}

/// Changes the tags of a resource.
pub(crate) async fn change(
    control: &Control,
    scope: &Scope,
    target: &Taggable,
    act: impl Fn(Tags) -> Result<Tags, TagError>,
) -> Result<(), Fault> {
    control
        .transact(|view| {
            let tagged = target.look(view, scope)?;
            let tags = act(Tags::from_stored(tagged.tags.clone())).map_err(|error| match error {
                TagError::TooMany => fault::tag_limit(),
                other => fault::tags(&other),
            })?;
            let tags: BTreeMap<String, String> = tags.into();
            if tags == tagged.tags {
                return Ok(Plan::Done(()));
            }
            let value = (tagged.with)(tags);
            Ok(Plan::Commit(Txn::new().require(&tagged.path, tagged.revision).put(tagged.path, value), ()))
        })
        .await
}

fn look_at_cluster(view: &EcsView, scope: &Scope, name: &Name) -> Result<Tagged, Fault> {
    let row = view.cluster(scope, name).and_then(|cluster| cluster.row()).ok_or_else(fault::cluster_not_found)?;
    if !row.is_active() {
        return Err(fault::resource_not_active("cluster", "inactive", "an active"));
    }
    let mut record = row.record.clone();
    Ok(Tagged {
        tags: record.tags.clone(),
        path: keys::cluster(scope, name.as_str()),
        revision: row.revision,
        with: Box::new(move |tags| {
            record.tags = tags;
            encode(&record)
        }),
    })
}

fn look_at_capacity_provider(view: &EcsView, scope: &Scope, name: &Name) -> Result<Tagged, Fault> {
    let row = view.namespace(scope).and_then(|space| space.capacity_providers().get(name));
    let row = row.filter(|row| row.is_active()).ok_or_else(|| fault::resource_not_found("capacity provider"))?;
    let mut record = row.record.clone();
    Ok(Tagged {
        tags: record.tags.clone(),
        path: keys::capacity_provider(scope, name.as_str()),
        revision: row.revision,
        with: Box::new(move |tags| {
            record.tags = tags;
            encode(&record)
        }),
    })
}

fn look_at_service(view: &EcsView, key: &ServiceKey) -> Result<Tagged, Fault> {
    let (cluster, _) = active_cluster(view, &key.scope, &key.cluster)?;
    let word = match key.kind {
        ServiceKind::Service => "service",
        ServiceKind::Daemon => "daemon",
    };
    let row = cluster.kept(key.kind).rows().get(&key.service).ok_or_else(|| fault::resource_not_found(word))?;
    if row.status == ServiceStatus::Inactive {
        return Err(fault::resource_not_active(word, "inactive", "an active"));
    }
    let mut record = row.record.clone();
    Ok(Tagged {
        tags: record.tags.clone(),
        path: key.path(),
        revision: row.revision,
        with: Box::new(move |tags| {
            record.tags = tags;
            encode(&record)
        }),
    })
}

fn look_at_task_set(view: &EcsView, key: &ServiceKey, id: DeploymentId) -> Result<Tagged, Fault> {
    let (cluster, _) = active_cluster(view, &key.scope, &key.cluster)?;
    let row = cluster.services().get(&key.service).ok_or_else(|| fault::resource_not_found("task-set"))?;
    let set = row.task_set(id).ok_or_else(|| fault::resource_not_found("task-set"))?;
    let mut record = row.record.clone();
    Ok(Tagged {
        tags: set.tags.clone(),
        path: key.path(),
        revision: row.revision,
        with: Box::new(move |tags| {
            if let Some(set) = record.task_set_mut(id) {
                set.tags = tags;
            }
            encode(&record)
        }),
    })
}

fn look_at_task(view: &EcsView, key: &TaskKey) -> Result<Tagged, Fault> {
    active_cluster(view, &key.scope, &key.cluster)?;
    let row = view.task(key).ok_or_else(|| fault::resource_not_found("task"))?;
    if row.is_stopped() {
        return Err(fault::resource_not_active("task", "stopped", "a running"));
    }
    let mut record = row.record.clone();
    Ok(Tagged {
        tags: record.tags.iter().cloned().collect(),
        path: key.path(),
        revision: row.revision,
        with: Box::new(move |tags| {
            record.tags = tags.into_iter().collect();
            encode(&record)
        }),
    })
}

fn look_at_instance(view: &EcsView, key: &InstanceKey) -> Result<Tagged, Fault> {
    active_cluster(view, &key.scope, &key.cluster)?;
    let row = view.host(key).and_then(|host| host.row.as_ref());
    let row = row.ok_or_else(|| fault::resource_not_found("container instance"))?;
    if !row.is_registered() {
        return Err(fault::resource_not_active("container instance", "inactive", "an active"));
    }
    let mut record = row.record.clone();
    Ok(Tagged {
        tags: record.tags.clone(),
        path: key.path(),
        revision: row.revision,
        with: Box::new(move |tags| {
            record.tags = tags;
            encode(&record)
        }),
    })
}

fn look_at_task_definition(
    view: &EcsView,
    scope: &Scope,
    kind: ServiceKind,
    key: &TaskDefinitionKey,
) -> Result<Tagged, Fault> {
    let row = view.namespace(scope).and_then(|space| space.definition(kind, key));
    let row = row.ok_or_else(|| fault::resource_not_found("task definition"))?;
    let mut record = row.record.clone();
    Ok(Tagged {
        tags: record.tags.clone(),
        path: keys::task_definition(scope, kind, key),
        revision: row.revision,
        with: Box::new(move |tags| {
            record.tags = tags;
            encode(&record)
        }),
    })
}
