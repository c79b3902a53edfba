//! Removes task definitions that are DELETE_IN_PROGRESS once no task and no service uses them.
//!
//! The number stays used: the family's counter is raised in the same transaction. What may use a revision is looked for
//! in the picture of the moment; nothing new can begin to use it, because only ACTIVE revisions are accepted.

use gantry_domain::arn::{Scope, TaskDefinitionKey};
use gantry_store::{Txn, TxnError};

use super::{Reconciler, Wake};
use crate::{
    Control, EcsView,
    keys::{self, ServiceKind},
    records::{FamilyRecord, ServiceStatus, TaskDefinitionStatus, encode},
    view::{Change, ClusterView},
};

/// Deletes what was asked to be deleted.
#[derive(Debug)]
pub struct TaskDefinitions {
    control: Control,
}

impl TaskDefinitions {
    /// The reconciler over `control`.
    pub fn new(control: Control) -> Self {
        Self { control }
    }
}

impl Reconciler for TaskDefinitions {
    type Key = (Scope, ServiceKind, TaskDefinitionKey);
    type Error = TxnError;

    const NAME: &'static str = "task definitions";

    fn keys(&self) -> Vec<Self::Key> {
        let view = self.control.read();
        let all = view.namespaces().flat_map(|(scope, space)| space.deleting().iter().map(move |key| (scope, key)));
        all.map(|(scope, (kind, key))| (scope.clone(), *kind, key.clone())).collect()
    }

    /// The end of a task or a service is left to the sweep: nobody waits for a deletion.
    fn keys_of(&self, change: &Change) -> Vec<Self::Key> {
        match change {
            Change::TaskDefinition(scope, kind, key) => vec![(scope.clone(), *kind, key.clone())],
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, (scope, kind, key): &Self::Key) -> Result<Wake, TxnError> {
        let planned = plan(&self.control.read(), scope, *kind, key);
        if let Some(txn) = planned {
            self.control.commit(txn).await?;
        }
        Ok(Wake::OnChange)
    }
}

/// The transaction that removes the revision, when it is time.
fn plan(view: &EcsView, scope: &Scope, kind: ServiceKind, key: &TaskDefinitionKey) -> Option<Txn> {
    let space = view.namespace(scope)?;
    let row = space.definition(kind, key).filter(|row| row.status == TaskDefinitionStatus::DeleteInProgress)?;
    if space.clusters().values().any(|cluster| uses(cluster, kind, key)) {
        return None;
    }
    let counter = space.families_of(kind).get(&key.family).and_then(|family| family.counter());
    let last_revision = counter.map_or(0, |counter| counter.last_revision).max(key.revision.get());
    let family = keys::family(scope, kind, key.family.as_str());
    let path = keys::task_definition(scope, kind, key);
    let txn = Txn::new()
        .require(&path, row.revision)
        .require(&family, counter.map_or(0, |counter| counter.revision))
        .delete(path)
        .put(family, encode(&FamilyRecord { last_revision }));
    Some(txn)
}

/// Whether a task that is not STOPPED, or a deployment of a service that is not gone, runs this revision.
fn uses(cluster: &ClusterView, kind: ServiceKind, key: &TaskDefinitionKey) -> bool {
    let (tasks, kept) = (cluster.tasks(), cluster.kept(kind));
    let groups: Vec<_> = match kind {
        ServiceKind::Service => tasks.of_family(key.family.as_str()).into_iter().collect(),
        ServiceKind::Daemon => kept.rows().keys().filter_map(|name| tasks.kept_by(kind, name.as_str())).collect(),
    };
    let mut alive = groups.into_iter().flat_map(|group| group.alive()).filter_map(|id| tasks.get(id));
    if alive.any(|task| task.task_definition == *key) {
        return true;
    }
    kept.revisions().iter().any(|((service, number), revision)| {
        let Some(record) = kept.rows().get(service) else { return false };
        let kept = record.status != ServiceStatus::Inactive;
        let deployed = |number: u64| {
            record.deployments.iter().any(|deployment| deployment.revision == number)
                || record.completed_revision == Some(number)
        };
        revision.task_definition == *key && kept && number.parse().is_ok_and(deployed)
    })
}
