//! The tasks of one cluster and the ways to find them.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Bound, Deref},
    sync::Arc,
};

use gantry_domain::{Timestamp, arn::TaskId};
use gantry_store::Revision;

use super::{Counts, Group, Phase};
use crate::keys::{PerKind, ServiceKind};
use crate::records::{LaunchType, SharedRow, TaskDefinitionRecord, TaskRecord};

/// A task with the task definition it runs.
#[derive(Debug, Clone)]
pub struct TaskRow {
    /// Its id.
    pub id: TaskId,
    /// What a change must compare with.
    pub revision: Revision,
    /// Shared by all its tasks; none when the revision is deleted.
    pub definition: Option<SharedRow<TaskDefinitionRecord>>,
    /// The task.
    pub record: TaskRecord,
}

impl Deref for TaskRow {
    type Target = TaskRecord;
    fn deref(&self) -> &TaskRecord {
        &self.record
    }
}

/// The tasks of a cluster.
#[derive(Debug, Default)]
pub struct Tasks {
    rows: BTreeMap<TaskId, Arc<TaskRow>>,
    all: Group,
    by_launch_type: BTreeMap<LaunchType, Group>,
    by_family: BTreeMap<String, Group>,
    by_service: PerKind<BTreeMap<String, Group>>,
    by_started_by: BTreeMap<String, Group>,
    /// Ended tasks of services that the service has not taken into account yet.
    uncounted: PerKind<BTreeMap<String, BTreeSet<TaskId>>>,
    /// Tasks that wait for an instance, the oldest first.
    waiting: BTreeSet<(Timestamp, TaskId)>,
}

impl Tasks {
    /// The task.
    pub fn get(&self, id: TaskId) -> Option<&Arc<TaskRow>> {
        self.rows.get(&id)
    }

    /// The numbers of the cluster.
    pub fn counts(&self) -> &Counts {
        self.all.counts()
    }

    /// All tasks.
    pub fn all(&self) -> &Group {
        &self.all
    }

    /// Tasks of a launch type.
    pub fn of_launch_type(&self, launch_type: LaunchType) -> Option<&Group> {
        self.by_launch_type.get(&launch_type)
    }

    /// Tasks of a family of task definitions; families of daemon task definitions are others.
    pub fn of_family(&self, family: &str) -> Option<&Group> {
        self.by_family.get(family)
    }

    /// Tasks of a service.
    pub fn of_service(&self, service: &str) -> Option<&Group> {
        self.kept_by(ServiceKind::Service, service)
    }

    /// Tasks of a service or of a managed daemon.
    pub fn kept_by(&self, kind: ServiceKind, name: &str) -> Option<&Group> {
        self.by_service.of(kind).get(name)
    }

    /// Ended tasks of a service or of a managed daemon that it has not taken into account yet.
    pub fn uncounted_of(&self, kind: ServiceKind, name: &str) -> impl Iterator<Item = &Arc<TaskRow>> {
        self.uncounted.of(kind).get(name).into_iter().flatten().filter_map(|id| self.rows.get(id))
    }

    /// Tasks that wait for an instance of their capacity provider, the oldest first.
    pub fn waiting(&self) -> &BTreeSet<(Timestamp, TaskId)> {
        &self.waiting
    }

    /// Tasks of a starter: a deployment (`ecs-svc/N`) or whatever a caller wrote.
    pub fn started_by(&self, started_by: &str) -> Option<&Group> {
        self.by_started_by.get(started_by)
    }

    /// The tasks of a group in some phases, in the order of their ids, beginning after `after`.
    pub fn walk<'a>(
        &'a self,
        group: &'a Group,
        phases: &'a [Phase],
        after: Option<TaskId>,
    ) -> impl Iterator<Item = &'a Arc<TaskRow>> + 'a {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut ranges: Vec<_> = phases
            .iter()
            .map(|phase| group.in_phase(*phase).range((from, Bound::Unbounded)).copied().peekable())
            .collect();
        std::iter::from_fn(move || {
            let next = ranges.iter_mut().filter_map(|range| range.peek().copied().map(|id| (id, range)));
            next.min_by_key(|(id, _)| *id).and_then(|(_, range)| range.next())
        })
        .filter_map(|id| self.rows.get(&id))
    }

    pub(super) fn replace(&mut self, id: TaskId, new: Option<Arc<TaskRow>>) -> Option<Arc<TaskRow>> {
        let old = match &new {
            Some(row) => self.rows.insert(id, row.clone()),
            None => self.rows.remove(&id),
        };
        if let Some(old) = &old {
            self.each_group(old, |group| group.remove(id, old));
            self.drop_empty_groups(old);
            self.set_uncounted(id, old, false);
            self.waiting.remove(&(old.life.times.created_at, id));
        }
        if let Some(new) = &new {
            self.each_group(new, |group| group.add(id, new));
            self.set_uncounted(id, new, new.is_stopped() && !new.counted_by_service);
            if new.waiting.is_some() {
                self.waiting.insert((new.life.times.created_at, id));
            }
        }
        old
    }

    fn each_group(&mut self, task: &TaskRecord, mut act: impl FnMut(&mut Group)) {
        act(&mut self.all);
        act(self.by_launch_type.entry(task.launch_type).or_default());
        if task.kind() == ServiceKind::Service {
            act(entry(&mut self.by_family, task.task_definition.family.as_str()));
        }
        if let Some((kind, name)) = task.keeper() {
            act(entry(self.by_service.of_mut(kind), name));
        }
        if let Some(started_by) = &task.started_by {
            act(entry(&mut self.by_started_by, started_by));
        }
    }

    fn set_uncounted(&mut self, id: TaskId, task: &TaskRecord, uncounted: bool) {
        let Some((kind, name)) = task.keeper() else { return };
        let all = self.uncounted.of_mut(kind);
        if uncounted {
            all.entry(name.to_owned()).or_default().insert(id);
        } else if let Some(ids) = all.get_mut(name) {
            ids.remove(&id);
            if ids.is_empty() {
                all.remove(name);
            }
        }
    }

    /// Clients choose families and starters: groups that nobody uses any more must not pile up.
    fn drop_empty_groups(&mut self, task: &TaskRecord) {
        self.by_launch_type.retain(|_, group| !group.is_empty());
        drop_if_empty(&mut self.by_family, task.task_definition.family.as_str());
        if let Some((kind, name)) = task.keeper() {
            drop_if_empty(self.by_service.of_mut(kind), name);
        }
        task.started_by.as_deref().inspect(|started_by| drop_if_empty(&mut self.by_started_by, started_by));
    }
}

fn entry<'a>(groups: &'a mut BTreeMap<String, Group>, name: &str) -> &'a mut Group {
    if !groups.contains_key(name) {
        groups.insert(name.to_owned(), Group::default());
    }
    groups.entry(name.to_owned()).or_default()
}

fn drop_if_empty(groups: &mut BTreeMap<String, Group>, name: &str) {
    if groups.get(name).is_some_and(Group::is_empty) {
        groups.remove(name);
    }
}
