//! Keeps every service at its desired count: observe, plan, and one transaction.
//!
//! A run either changes what is (stops, counts failures, ends deployments) and is called again, or starts tasks through
//! the launcher, or finds nothing to do. Both kinds of change compare the service's row, so that of two plans made from
//! one picture only one is carried out. The decisions are in [`gantry_domain::service`].

use gantry_api::Fault;
use gantry_domain::{
    Timestamp,
    arn::{Name, Scope},
    reason::{RoleNotAssumed, ServiceEvent},
    service::{Action, plan_service},
};
use gantry_store::{Txn, TxnError};

use super::{Reconciler, Wake};
use crate::{
    Control,
    control::Plan,
    fault,
    keys::{InstanceKey, ServiceKey, ServiceKind},
    launch::{Launch, LaunchError, Launched},
    records::{ServiceRecord, ServiceStatus, SharedRow, encode},
    services::{
        act::{self, Act, deactivate},
        alarms, find, images,
        observe::{self, Unit},
        start::{self, Starts},
    },
    view::{Change, ClusterView, EcsView},
};

/// A service that found no room tries again after this long, or when its instances change.
const PLACEMENT_RETRY_SECONDS: i64 = 5;

/// One that found no room for a task in the zone that lacks one tries again after this long.
const BALANCE_RETRY_SECONDS: i64 = 60;

/// The reconciler of services.
#[derive(Debug)]
pub struct Services {
    control: Control,
}

impl Services {
    /// The reconciler over `control`.
    pub fn new(control: Control) -> Self {
        Self { control }
    }
}

impl Reconciler for Services {
    type Key = ServiceKey;
    type Error = Fault;

    const NAME: &'static str = "services";

    fn keys(&self) -> Vec<ServiceKey> {
        let view = self.control.read();
        let clusters =
            view.namespaces().flat_map(|(scope, space)| space.clusters().iter().map(move |one| (scope, one)));
        let keys = clusters.flat_map(|(scope, (cluster, cluster_view))| keys_of_cluster(scope, cluster, cluster_view));
        keys.collect()
    }

    fn keys_of(&self, change: &Change) -> Vec<ServiceKey> {
        match change {
            Change::Service(key) => vec![key.clone()],
            Change::Task { service: Some(service), .. } => vec![service.clone()],
            Change::Instance(instance) => concerned(&self.control.read(), instance),
            Change::Alarm(scope, name) => watching(&self.control.read(), scope, name),
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &ServiceKey) -> Result<Wake, Fault> {
        if images::resolve(&self.control, key).await? {
            return Ok(Wake::Again);
        }
        let now = self.control.now();
        match self.step(key, now) {
            Step::Nothing(wake) => Ok(wake),
            Step::Change(txn) => self.commit(txn).await,
            Step::Start(starts, wake_at) => self.start(key, starts, wake_at, now).await,
        }
    }
}

/// Services for which a change of an instance can matter: those with tasks on it, those that wait for room, and daemons.
fn concerned(view: &EcsView, instance: &InstanceKey) -> Vec<ServiceKey> {
    let host = view.host(instance);
    let on_it = host.into_iter().flat_map(|host| host.tasks().values()).filter_map(|(cluster, task)| {
        let (kind, service) = task.keeper().filter(|_| !task.is_stopped())?;
        Some(service_key(kind, &cluster.scope, &cluster.cluster, &service.parse().ok()?))
    });
    let own =
        view.cluster(&instance.scope, &instance.cluster).map(|cluster| (&instance.scope, &instance.cluster, cluster));
    let daemons = own.into_iter().flat_map(|(scope, cluster, view)| {
        view.daemons().map(move |(kind, service, _)| service_key(kind, scope, cluster, service))
    });
    // The Fargate fleet of an account has room for all its clusters.
    let fleet = host.and_then(|host| host.row.as_ref()).is_some_and(|row| row.fargate);
    let spaces = view.namespaces().filter(|(scope, _)| fleet && scope.account == instance.scope.account);
    let others = spaces.flat_map(|(scope, space)| space.clusters().iter().map(move |(name, view)| (scope, name, view)));
    let waiting = own.into_iter().chain(others).flat_map(|(scope, cluster, view)| {
        view.waiting().map(move |(kind, service)| service_key(kind, scope, cluster, service))
    });
    on_it.chain(daemons).chain(waiting).collect()
}

/// Services whose deployments watch an alarm.
fn watching(view: &EcsView, scope: &Scope, alarm: &str) -> Vec<ServiceKey> {
    let clusters = view.namespace(scope).into_iter().flat_map(|space| space.clusters());
    let services = clusters.flat_map(|(cluster, view)| {
        let rows =
            ServiceKind::ALL.into_iter().flat_map(|kind| view.kept(kind).rows().iter().map(move |row| (kind, row)));
        let watching = rows.filter(|(_, (_, row))| watches(row, alarm));
        watching.map(move |(kind, (name, _))| service_key(kind, scope, cluster, name))
    });
    services.collect()
}

fn service_key(kind: ServiceKind, scope: &Scope, cluster: &Name, service: &Name) -> ServiceKey {
    ServiceKey { kind, scope: scope.clone(), cluster: cluster.clone(), service: service.clone() }
}

/// The services and managed daemons of a cluster.
fn keys_of_cluster<'a>(
    scope: &'a Scope,
    cluster: &'a Name,
    view: &'a ClusterView,
) -> impl Iterator<Item = ServiceKey> + 'a {
    let of = move |kind| view.kept(kind).rows().keys().map(move |name| service_key(kind, scope, cluster, name));
    ServiceKind::ALL.into_iter().flat_map(of)
}

/// What one run does.
enum Step {
    Nothing(Wake),
    Change(Txn),
    Start(Vec<Start>, Option<Timestamp>),
}

/// What to start for a unit of a service; the zone when it is for balance.
type Start = (Unit, Option<String>, Launch);

impl Services {
    /// Observes and decides, on one picture. The first unit that changes something is all that a run changes.
    fn step(&self, key: &ServiceKey, now: Timestamp) -> Step {
        let view = self.control.read();
        let Some(row) = find::row(&view, key) else { return Step::Nothing(Wake::OnChange) };
        match row.status {
            ServiceStatus::Inactive => return forget(row, key, now),
            ServiceStatus::Draining if row.external && row.task_sets.is_empty() => {
                let mut record = row.record.clone();
                deactivate(&mut record, now);
                return Step::Change(Txn::new().require(key.path(), row.revision).put(key.path(), encode(&record)));
            }
            _ => {}
        }
        let (mut starts, mut wake_at) = (Vec::new(), None::<Timestamp>);
        for unit in observe::units(row) {
            let Some(observed) = observe::observe(&view, key, unit, (&self.control.settings, now)) else { continue };
            let mut plan = plan_service(now, &observed.view);
            plan.wake_at = plan.wake_at.into_iter().chain(observed.protection_ends_at).min();
            if let Some(waiting_on) = &plan.waiting_on {
                tracing::debug!(cluster = %key.cluster, service = %key.service, ?waiting_on, "service is not steady");
            }
            let act = Act::new(&view, key, &observed, &self.control.random, now);
            if let Some(txn) = act.transaction(&plan.actions) {
                return Step::Change(txn);
            }
            let asked = plan.actions.iter().filter_map(|action| match action {
                Action::StartTasks { deployment, count } => Some((*deployment, Starts::Anywhere(*count))),
                Action::StartTasksOn { deployment, instances } => Some((*deployment, Starts::On(instances))),
                Action::StartTasksInZone { deployment, zone, count } => {
                    Some((*deployment, Starts::InZone(zone, *count)))
                }
                _ => None,
            });
            let launch = |(deployment, starts)| {
                let zone = if let Starts::InZone(zone, _) = starts { Some(zone.to_owned()) } else { None };
                Some((unit, zone, start::launch(&view, key, &observed, deployment, starts)?))
            };
            starts.extend(asked.filter_map(launch));
            wake_at = wake_at.into_iter().chain(plan.wake_at).min();
        }
        if starts.is_empty() { Step::Nothing(Wake::from(wake_at)) } else { Step::Start(starts, wake_at) }
    }

    async fn commit(&self, txn: Txn) -> Result<Wake, Fault> {
        match self.control.commit(txn).await {
            // After a conflict the picture shows what was in the way; after a change there may be more to do.
            Ok(_) | Err(TxnError::Conflict { .. }) => Ok(Wake::Again),
            Err(TxnError::Store(error)) => Err(fault::store(error)),
        }
    }

    async fn start(
        &self,
        key: &ServiceKey,
        starts: Vec<Start>,
        wake_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Wake, Fault> {
        let mut wake = Wake::Again;
        let mut failed: Vec<Unit> = Vec::new();
        for (unit, zone, launch) in starts {
            let launched = match self.control.launch(launch).await {
                Ok(launched) => launched,
                // One launch of a service writes its row: the next one is planned on a newer picture.
                Err(LaunchError::Overtaken { .. }) => return Ok(Wake::Again),
                Err(LaunchError::Role(role)) => {
                    self.tell_role((key, unit), role, now).await?;
                    let retry = now.plus_seconds(PLACEMENT_RETRY_SECONDS);
                    wake = Wake::At(wake_at.map_or(retry, |at| at.min(retry)));
                    continue;
                }
                Err(LaunchError::Fault(fault)) => return Err(fault),
            };
            self.tell((key, unit), (zone.as_deref(), &launched), failed.contains(&unit), now).await?;
            if launched.unplaced > 0 {
                failed.push(unit);
                let pause = if zone.is_some() { BALANCE_RETRY_SECONDS } else { PLACEMENT_RETRY_SECONDS };
                let retry = now.plus_seconds(pause);
                wake = Wake::At(wake_at.map_or(retry, |at| at.min(retry)));
            }
        }
        Ok(wake)
    }

    /// Writes into the service that a role of its tasks cannot be taken on.
    async fn tell_role(
        &self,
        (key, unit): (&ServiceKey, Unit),
        role: RoleNotAssumed,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let (random, event) = (&self.control.random, ServiceEvent::RoleNotAssumed(role));
        self.control
            .transact(|view| {
                let Some(row) = find::row(view, key) else { return Ok(Plan::Done(())) };
                let mut record = row.record.clone();
                act::complain(&mut record, (key, unit), &event, random, now);
                if record == row.record {
                    return Ok(Plan::Done(()));
                }
                let txn = Txn::new().require(key.path(), row.revision).put(key.path(), encode(&record));
                Ok(Plan::Commit(txn, ()))
            })
            .await
    }

    /// Writes into the service what became of its launch. Lost in a crash, it costs an event and nothing else.
    async fn tell(
        &self,
        (key, unit): (&ServiceKey, Unit),
        outcome: (Option<&str>, &Launched),
        spoken: bool,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let random = &self.control.random;
        self.control
            .transact(|view| {
                let Some(row) = find::row(view, key) else { return Ok(Plan::Done(())) };
                let mut record = row.record.clone();
                if !start::record_outcome(&mut record, (key, unit), outcome, spoken, random, now) {
                    return Ok(Plan::Done(()));
                }
                let txn = Txn::new().require(key.path(), row.revision).put(key.path(), encode(&record));
                Ok(Plan::Commit(txn, ()))
            })
            .await
    }
}

/// Whether a deployment of the service watches the alarm.
fn watches(row: &ServiceRecord, alarm: &str) -> bool {
    let under_way = row.rollout.as_ref().map(|rollout| &rollout.configuration);
    let mut configurations = under_way.into_iter().chain([&row.deployment_configuration]);
    configurations.any(|configuration| alarms::names(configuration).iter().any(|name| name == alarm))
}

/// Deletes a service that has been INACTIVE for long enough, with its history.
fn forget(row: &SharedRow<ServiceRecord>, key: &ServiceKey, now: Timestamp) -> Step {
    let Some(at) = observe::forget_at(row) else { return Step::Nothing(Wake::OnChange) };
    if at > now {
        return Step::Nothing(Wake::At(at));
    }
    let txn = Txn::new()
        .require(key.path(), row.revision)
        .delete(key.path())
        .delete_prefix(key.revision_path(""))
        .delete_prefix(key.deployment_path(""));
    Step::Change(txn)
}
