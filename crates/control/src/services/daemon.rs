//! The instances of a DAEMON service, and what they must keep free for it.

use gantry_domain::{
    deployment::RolloutState,
    placement::{Conditions, Constraint, Instance, Needs},
    service::DaemonInstance,
};

use super::{start, wire};
use crate::{
    keys::{ClusterKey, ServiceKey},
    launch::{Candidate, TakenByHost, instance},
    records::{InstanceStatus, LaunchType, ServiceRecord, ServiceStatus},
    task_definition,
    view::{EcsView, Host},
};

/// The instances that satisfy the constraints of the service and of its primary deployment's task definition, ACTIVE
/// and DRAINING ones. Whether there is room on them does not matter here.
pub(crate) fn instances(view: &EcsView, key: &ServiceKey, record: &ServiceRecord) -> Vec<DaemonInstance> {
    let Some(wanted) = wanted(view, key, record) else { return Vec::new() };
    let (mut found, mut conditions) = (Vec::new(), Conditions::of(&wanted.needs));
    for (instance_key, host) in view.hosts_of_cluster(&key.scope, &key.cluster) {
        let Some(row) = host.row.as_deref().filter(|row| row.status != InstanceStatus::Inactive) else { continue };
        if row.external != (wanted.launch_type == LaunchType::External) {
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
}

impl Reserved {
    /// Of the cluster of `cluster`; `for_group` are the tasks that are being placed, which need no protection from
    /// themselves.
    pub(crate) fn of(view: &EcsView, cluster: &ClusterKey, for_group: &str) -> Self {
        let Some(cluster_view) = view.cluster(&cluster.scope, &cluster.cluster) else { return Self::default() };
        let daemons = cluster_view.daemons().filter(|(_, row)| {
            // A deployment that was given up starts nothing more.
            let starts = row.primary().is_some_and(|primary| primary.rollout != RolloutState::Failed);
            row.status == ServiceStatus::Active && starts
        });
        let wanted = daemons.filter_map(|(name, row)| {
            let (scope, cluster) = (cluster.scope.clone(), cluster.cluster.clone());
            wanted(view, &ServiceKey { scope, cluster, service: name.clone() }, row)
        });
        Self(wanted.filter(|wanted| wanted.needs.group != for_group).collect())
    }

    /// Whether no daemon needs anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
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
    /// Takes from `free` what daemons that have no task there yet will take.
    pub(crate) fn take(&mut self, (_, host, row): Candidate<'_>, free: &mut Instance<'_>) {
        for (wanted, conditions) in &mut self.0 {
            let (resources, group) = (&wanted.needs.resources, &wanted.needs.group);
            let claims = row.external == (wanted.launch_type == LaunchType::External)
                // What could never fit there holds nothing back.
                && resources.cpu_units <= row.resources.cpu
                && resources.memory_mib <= row.resources.memory
                && !is_there(host, group)
                && conditions.eligible(free);
            if claims {
                free.take(resources, group);
            }
        }
    }
}

/// Whether a task of the group is there, if only to stop.
fn is_there(host: &Host, group: &str) -> bool {
    host.groups().contains_key(group)
        || host.tasks().values().any(|(_, task)| !task.is_stopped() && task.group == group)
}

fn wanted(view: &EcsView, key: &ServiceKey, record: &ServiceRecord) -> Option<Wanted> {
    let revision = wire::revision(view, key, record.primary()?.revision)?;
    let definition = view.namespace(&key.scope)?.task_definition(&revision.task_definition)?;
    let requirements = task_definition::requirements(&definition.document);
    let mut constraints = start::constraints(record, &requirements.placement_expressions);
    constraints.retain(|constraint| !matches!(constraint, Constraint::DistinctInstance));
    let needs = Needs {
        resources: requirements.resources(),
        attributes: requirements.attributes.clone(),
        group: format!("service:{}", key.service),
        constraints,
        strategies: Vec::new(),
    };
    Some(Wanted { needs, launch_type: revision.launch_type })
}
