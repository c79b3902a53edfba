//! The instances of a DAEMON service, and what they must keep free for it.

use gantry_domain::{
    deployment::{RolloutState, drained_at_once},
    placement::{Conditions, Constraint, GroupKey, Instance, Needs},
    service::DaemonInstance,
    task::{DesiredStatus, LastStatus},
    task_definition::TaskResources,
};
use gantry_store::Revision;

use super::{find, start, wire};
use crate::{
    keys::{ClusterKey, ServiceKey, ServiceKind},
    launch::{Candidate, TakenByHost, instance},
    records::{DaemonRecord, InstanceRecord, InstanceStatus, LaunchType, ServiceRecord, ServiceStatus},
    task_definition,
    view::{EcsView, Host, TaskRow},
    volumes,
};

/// The instances that satisfy the constraints of the service and of its primary deployment's task definition, ACTIVE
/// and DRAINING ones. Whether there is room on them does not matter here.
pub(crate) fn instances(view: &EcsView, key: &ServiceKey, record: &ServiceRecord) -> Vec<DaemonInstance> {
    let Some(wanted) = wanted(view, key, record) else { return Vec::new() };
    let (mut found, mut conditions) = (Vec::new(), Conditions::of(&wanted.needs));
    for (instance_key, host) in view.hosts_of_cluster(&key.scope, &key.cluster) {
        let Some(row) = host.row.as_deref().filter(|row| row.status != InstanceStatus::Inactive) else { continue };
        if !wanted.is_for(row) {
            continue;
        }
        if conditions.eligible(&instance((instance_key, host, row), &TakenByHost::new())) {
            found.push(DaemonInstance {
                id: instance_key.id.to_string(),
                active: row.status == InstanceStatus::Active,
                has_other_tasks: has_other_tasks(host, &wanted.needs.group),
            });
        }
    }
    found
}

fn has_other_tasks(host: &Host, own_group: &str) -> bool {
    host.tasks().values().any(|(_, task)| !task.is_stopped() && task.group != own_group)
}

/// What the daemons of a cluster still need on its instances: room that other tasks must leave.
#[derive(Debug, Default)]
pub(crate) struct Reserved(Vec<Wanted>);

#[derive(Debug)]
struct Wanted {
    needs: Needs,
    launch_type: LaunchType,
    /// Of a managed daemon: whose instances it is for.
    capacity_providers: Option<Vec<String>>,
    /// Of a managed daemon: other tasks are placed only where its task runs.
    critical: bool,
}

impl Wanted {
    /// Whether it is for instances of this kind, whatever its constraints say.
    fn is_for(&self, row: &InstanceRecord) -> bool {
        let of_provider = |providers: &Vec<String>| {
            row.capacity_provider.as_ref().is_some_and(|provider| providers.contains(provider))
        };
        match &self.capacity_providers {
            Some(providers) => of_provider(providers),
            None => row.external == (self.launch_type == LaunchType::External),
        }
    }
}

/// How many of the tasks of a managed daemon on `instances` may be missing at once.
pub(super) fn missing_max(daemon: &DaemonRecord, instances: u32) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 10,000")]
    let hundredths = (daemon.drain_percent.clamp(0.0, 100.0) * 100.0).round() as u32;
    drained_at_once(instances, hundredths)
}

impl Reserved {
    /// Of the cluster of `cluster`; `for_group` are the tasks that are being placed, which need no protection from
    /// themselves. A managed daemon waits for no other one.
    pub(crate) fn of(view: &EcsView, cluster: &ClusterKey, for_group: &str, kind: ServiceKind) -> Self {
        let Some(cluster_view) = view.cluster(&cluster.scope, &cluster.cluster) else { return Self::default() };
        let daemons = cluster_view.daemons().filter(|(.., row)| {
            // A deployment that was given up starts nothing more.
            let starts = row.primary().is_some_and(|primary| primary.rollout != RolloutState::Failed);
            row.status == ServiceStatus::Active && starts
        });
        let wanted = daemons.filter_map(|(kind, name, row)| {
            let (scope, cluster) = (cluster.scope.clone(), cluster.cluster.clone());
            wanted(view, &ServiceKey { kind, scope, cluster, service: name.clone() }, row)
        });
        let others = wanted.filter(|wanted| wanted.needs.group != for_group);
        let blocking = |wanted: Wanted| Wanted { critical: wanted.critical && kind == ServiceKind::Service, ..wanted };
        Self(others.map(blocking).collect())
    }

    /// Whether no daemon needs anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rows that other tasks of an instance rest on, with their revisions: the tasks of critical managed daemons.
    pub(crate) fn rests_on(&self, (_, host, row): Candidate<'_>) -> impl Iterator<Item = (String, Revision)> {
        let critical = self.0.iter().filter(|wanted| wanted.critical && wanted.is_for(row));
        critical.flat_map(|wanted| {
            let own = host.tasks().iter().filter(|(_, (_, task))| task.group == wanted.needs.group && runs(task));
            own.map(|(id, (cluster, task))| (cluster.task(*id).path(), task.revision))
        })
    }

    /// The same, ready to be asked of many instances.
    pub(crate) fn claims(&self) -> Claims<'_> {
        Claims(self.0.iter().map(|wanted| (wanted, Conditions::of(&wanted.needs))).collect())
    }
}

/// What daemons may take of instances.
#[derive(Debug)]
pub(crate) struct Claims<'a>(Vec<(&'a Wanted, Conditions<'a>)>);

impl Claims<'_> {
    /// Takes from `free` what daemons that have no task there yet will take, and holds it back while a critical managed
    /// daemon does not run there.
    pub(crate) fn take(&mut self, (_, host, row): Candidate<'_>, free: &mut Instance<'_>) {
        for (wanted, conditions) in &mut self.0 {
            // Before anything looks at tasks.
            if !wanted.is_for(row) {
                continue;
            }
            let (resources, group) = (&wanted.needs.resources, &wanted.needs.group);
            let missing = !is_there(host, group);
            let holds_back = wanted.critical && !runs_there(host, group);
            // Mostly all daemons are where they belong.
            if !(missing || holds_back) || !conditions.eligible(free) {
                continue;
            }
            free.held_back |= holds_back;
            // What could never fit there takes nothing.
            let fits = resources.cpu_units <= row.resources.cpu
                && resources.memory_mib <= row.resources.memory
                && row.volume_room_gib.is_none_or(|room| resources.volume_gib <= room)
                && usize::try_from(resources.gpus).is_ok_and(|gpus| gpus <= row.resources.gpus.len());
            if missing && fits {
                free.take(resources, group);
            }
        }
    }
}

/// Whether a task of the group is there, if only to stop.
fn is_there(host: &Host, group: &str) -> bool {
    host.groups().count(GroupKey::new(group)) > 0
        || host.tasks().values().any(|(_, task)| !task.is_stopped() && task.group == group)
}

/// Whether a task of the group is RUNNING there, and shall be.
fn runs_there(host: &Host, group: &str) -> bool {
    host.tasks().values().any(|(_, task)| task.group == group && runs(task))
}

fn runs(task: &TaskRow) -> bool {
    task.life.last_status == LastStatus::Running && task.life.desired_status == DesiredStatus::Running
}

fn wanted(view: &EcsView, key: &ServiceKey, record: &ServiceRecord) -> Option<Wanted> {
    let revision = wire::revision(view, key, record.primary()?.revision)?;
    let definition = find::definition(view, key, revision)?;
    let requirements = task_definition::requirements(&definition.document);
    let mut constraints = start::constraints(record, &requirements.placement_expressions);
    constraints.retain(|constraint| !matches!(constraint, Constraint::DistinctInstance));
    let needs = Needs {
        resources: TaskResources { volume_gib: volumes::size_gib(revision), ..requirements.resources() },
        attributes: requirements.attributes.clone(),
        group: key.group(),
        constraints,
        strategies: Vec::new(),
    };
    let daemon = revision.daemon.as_ref();
    Some(Wanted {
        needs,
        launch_type: revision.launch_type,
        capacity_providers: daemon.map(|daemon| daemon.capacity_providers.clone()),
        critical: daemon.is_some_and(|daemon| daemon.critical),
    })
}
