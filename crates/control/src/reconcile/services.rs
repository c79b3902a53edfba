//! Keeps every service at its desired count: observe, plan, and one transaction.
//!
//! A run either changes what is (stops, counts failures, ends deployments) and is called again, or starts tasks through
//! the launcher, or finds nothing to do. Both kinds of change compare the service's row, so that of two plans made from
//! one picture only one is carried out. The decisions are in [`gantry_domain::service`].

use gantry_api::Fault;
use gantry_domain::{
    Timestamp,
    service::{Action, plan_service},
};
use gantry_store::{Txn, TxnError};

use super::{Reconciler, Wake};
use crate::{
    Control,
    control::Plan,
    fault,
    keys::{self, ServiceKey},
    launch::{LaunchError, Launched},
    records::{Scheduling, ServiceRecord, ServiceStatus, encode},
    services::{act::Act, find, observe, start},
    view::Change,
};

/// A service that found no room tries again after this long, or when its instances change.
const PLACEMENT_RETRY_SECONDS: i64 = 5;

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
        self.select(|_, _| true)
    }

    fn keys_of(&self, change: &Change) -> Vec<ServiceKey> {
        match change {
            Change::Service(key) => vec![key.clone()],
            Change::Task { key, service: Some(service), .. } => match service.parse() {
                Ok(service) => {
                    vec![ServiceKey { scope: key.scope.clone(), cluster: key.cluster.clone(), service }]
                }
                Err(_) => Vec::new(),
            },
            Change::Instance(instance) => {
                let view = self.control.read();
                let groups = view.host(instance).map(|host| host.groups().clone()).unwrap_or_default();
                drop(view);
                self.select(|key, row| {
                    row.placement_failed
                        || row.scheduling == Scheduling::Daemon
                        || groups.contains_key(&format!("service:{}", key.service))
                })
            }
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &ServiceKey) -> Result<Wake, Fault> {
        let now = self.control.now();
        let step = self.step(key, now);
        match step {
            Step::Nothing(wake) => Ok(wake),
            Step::Change(txn) => self.commit(txn).await,
            Step::Start(launch, wake_at) => self.start(key, *launch, wake_at, now).await,
        }
    }
}

/// What one run does.
enum Step {
    Nothing(Wake),
    Change(Txn),
    Start(Box<crate::launch::Launch>, Option<Timestamp>),
}

impl Services {
    /// Services for which `wanted` holds.
    fn select(&self, wanted: impl Fn(&ServiceKey, &ServiceRecord) -> bool) -> Vec<ServiceKey> {
        let view = self.control.read();
        let mut keys = Vec::new();
        for (scope, space) in view.namespaces() {
            for (cluster, cluster_view) in space.clusters() {
                for (service, row) in cluster_view.services() {
                    let key = ServiceKey { scope: scope.clone(), cluster: cluster.clone(), service: service.clone() };
                    if wanted(&key, row) {
                        keys.push(key);
                    }
                }
            }
        }
        keys
    }

    /// Observes and decides, on one picture.
    fn step(&self, key: &ServiceKey, now: Timestamp) -> Step {
        let view = self.control.read();
        let Some(observed) = observe::observe(&view, key, &self.control.settings, now) else {
            return forget(find::row(&view, key).filter(|row| row.status == ServiceStatus::Inactive), key, now);
        };
        let mut plan = plan_service(now, &observed.view);
        plan.wake_at = plan.wake_at.into_iter().chain(observed.protection_ends_at).min();
        if let Some(waiting_on) = &plan.waiting_on {
            tracing::debug!(cluster = %key.cluster, service = %key.service, ?waiting_on, "service is not steady");
        }
        let act = Act::new(&view, key, &observed, &self.control.random, now);
        if let Some(txn) = act.transaction(&plan.actions) {
            return Step::Change(txn);
        }
        let start = plan.actions.iter().find_map(|action| match action {
            Action::StartTasks { deployment, count } => Some((*deployment, start::Starts::Anywhere(*count))),
            Action::StartTasksOn { deployment, instances } => Some((*deployment, start::Starts::On(instances))),
            _ => None,
        });
        match start.and_then(|(deployment, starts)| start::launch(&view, key, &observed, deployment, starts)) {
            Some(launch) => Step::Start(Box::new(launch), plan.wake_at),
            None => Step::Nothing(Wake::from(plan.wake_at)),
        }
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
        launch: crate::launch::Launch,
        wake_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Wake, Fault> {
        let launched = match self.control.launch(launch).await {
            Ok(launched) => launched,
            Err(LaunchError::Overtaken { .. }) => return Ok(Wake::Again),
            Err(LaunchError::Fault(fault)) => return Err(fault),
        };
        self.tell(key, &launched, now).await?;
        if launched.unplaced > 0 {
            let retry = now.plus_seconds(PLACEMENT_RETRY_SECONDS);
            return Ok(Wake::At(wake_at.map_or(retry, |at| at.min(retry))));
        }
        Ok(Wake::Again)
    }

    /// Writes into the service what became of its launch. Lost in a crash, it costs an event and nothing else.
    async fn tell(&self, key: &ServiceKey, launched: &Launched, now: Timestamp) -> Result<(), Fault> {
        let random = &self.control.random;
        self.control
            .transact(|view| {
                let Some(row) = find::row(view, key) else { return Ok(Plan::Done(())) };
                let mut record = row.record.clone();
                if !start::record_outcome(&mut record, key, launched, random, now) {
                    return Ok(Plan::Done(()));
                }
                let txn = Txn::new().require(key.path(), row.revision).put(key.path(), encode(&record));
                Ok(Plan::Commit(txn, ()))
            })
            .await
    }
}

/// Deletes a service that has been INACTIVE for long enough, with its history.
fn forget(row: Option<&crate::records::SharedRow<ServiceRecord>>, key: &ServiceKey, now: Timestamp) -> Step {
    let Some((row, at)) = row.and_then(|row| Some((row, observe::forget_at(row)?))) else {
        return Step::Nothing(Wake::OnChange);
    };
    if at > now {
        return Step::Nothing(Wake::At(at));
    }
    let (scope, cluster, service) = (&key.scope, key.cluster.as_str(), key.service.as_str());
    let txn = Txn::new()
        .require(key.path(), row.revision)
        .delete(key.path())
        .delete_prefix(keys::service_revision(scope, cluster, service, ""))
        .delete_prefix(keys::service_deployment(scope, cluster, service, ""));
    Step::Change(txn)
}
